"""The frame of annotated images: as EXIF turns them, or as the file stores them, whichever fits the annotation file.

OpenCV turns images as their EXIF orientation says. Many annotation tools do not, and then boxes belong to the stored
pixels. The size in the annotation file tells which (for orientations that swap width and height).
"""
from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from centernet.data.image_file import decode, decode_file, is_dark, read_file
from centernet.data.image_size import PNG_SIGNATURE, jpeg_segments
from centernet.errors import UserError
from centernet.program import command

STORED = "image turned by EXIF whose annotations fit the stored pixels: not turned"
DARK = "image of 16 bit that uses less than a tenth of their range: it becomes nearly black, image kept"
_ORIENTATION = 0x0112


def in_frame(data: bytes, pixels: np.ndarray, width: int, height: int) -> tuple[bytes, np.ndarray]:
    """Return the file and pixels of an image in the frame of its annotations.

    Args:
        data, pixels: content of the file, and (h, w, 3) uint8 BGR as decoded from it.
        width, height: of the annotation file.

    Returns:
        Both unchanged; or if only the stored pixels fit width and height, the file without orientation, and they.
    """
    if pixels.shape[:2] != (height, width) and pixels.shape[:2] == (width, height):
        stored = without_orientation(data)
        turned = decode(stored) if stored != data else None
        if turned is not None and turned.shape[:2] == (height, width):
            return stored, turned
    return data, pixels


def read_annotated(path: Path, width: int, height: int, found: list[tuple[str, str]]) -> np.ndarray:
    """Read an image file as read_image does, in the frame of its annotations.

    Args:
        path: the file.
        width, height: of the annotation file.
        found: what is unusual is appended: (kind, example), as Defects.add takes them.

    Raises:
        UserError: the file cannot be read completely. The message names the command that lists all such files.
    """
    try:
        data = read_file(path)
        pixels = decode_file(data, path)
    except UserError as error:
        raise UserError(f"{error}. `{command('check_data')} --data DATA` lists all such files of a data set") from error
    _, fitting = in_frame(data, pixels, width, height)
    if fitting is not pixels:
        found.append((STORED, str(path)))
    if fitting.shape[:2] != (height, width):
        found.append(("image of another size than its entry says: the annotated boxes will not match",
                      f"{path} has {pixels.shape[1]} x {pixels.shape[0]} pixels (width x height), but the annotation "
                      f"file says {width} x {height}"))
    if is_dark(data):
        found.append((DARK, str(path)))
    return fitting


def displayed_size(data: bytes, stored: tuple[int, int]) -> tuple[int, int] | None:
    """Return (height, width) of an image as EXIF turns it.

    Args:
        data: the file, or its first bytes.
        stored: (height, width) as image_size returns them.

    Returns:
        The size; None if the bytes end before it is clear.
    """
    tiff = _exif(data)
    if tiff is None:
        return None
    place = _orientation_place(data, tiff) if tiff else None
    return stored[::-1] if place and _number(data, tiff, place, 2) in (5, 6, 7, 8) else stored


def without_orientation(data: bytes) -> bytes:
    """Return a JPEG or PNG file with its EXIF orientation set to 1 (not turned).

    Other files, and those without an orientation, are returned unchanged.
    """
    tiff = _exif(data)
    place = _orientation_place(data, tiff) if tiff else None
    if not tiff or not place:
        return data
    changed = data[:place] + (b"\1\0" if data[tiff:tiff + 2] == b"II" else b"\0\1") + data[place + 2:]
    if not data.startswith(PNG_SIGNATURE):
        return changed
    end = tiff + int.from_bytes(data[tiff - 8:tiff - 4], "big")
    return changed[:end] + zlib.crc32(changed[tiff - 4:end]).to_bytes(4, "big") + changed[end + 4:]


def _exif(data: bytes) -> int | None:
    """Return where the EXIF data (a TIFF header) of a JPEG or PNG file begins, as OpenCV finds it.

    0: the file has none that OpenCV reads. None: the bytes end before that is clear.
    """
    if data.startswith(b"\xff\xd8"):
        for marker, start in jpeg_segments(data):
            if marker == 0xE1:  # OpenCV takes the first APP1 for EXIF, and no other: an XMP before EXIF hides it
                return start + 8 if int.from_bytes(data[start:start + 2], "big") > 8 else 0
            if marker == 0xDA:
                return 0
        return None
    if not data.startswith(PNG_SIGNATURE):
        return 0
    position = len(PNG_SIGNATURE)
    while position + 8 <= len(data):
        name = data[position + 4:position + 8]
        if name in (b"eXIf", b"IEND"):
            return position + 8 if name == b"eXIf" else 0
        position += 12 + int.from_bytes(data[position:position + 4], "big")
    return None


def _orientation_place(data: bytes, tiff: int) -> int | None:
    """Return where the value of the orientation is in the first directory of the TIFF header at `tiff`."""
    if data[tiff:tiff + 4] not in (b"II*\0", b"MM\0*"):
        return None
    directory = tiff + _number(data, tiff, tiff + 4, 4)
    entries = _number(data, tiff, directory, 2)
    for entry in range(directory + 2, min(directory + 2 + 12 * entries, len(data) - 11), 12):
        if _number(data, tiff, entry, 2) == _ORIENTATION:
            return entry + 8
    return None


def _number(data: bytes, tiff: int, at: int, size: int) -> int:
    """Return the number of `size` bytes at `at`, in the byte order of the TIFF header at `tiff`."""
    return int.from_bytes(data[at:at + size], "little" if data[tiff:tiff + 2] == b"II" else "big")
