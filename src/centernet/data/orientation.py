"""The frame of annotated images: as EXIF turns them, or as the file stores them, whichever fits the annotation file.

OpenCV turns images as their EXIF orientation says. Many annotation tools do not, and then boxes belong to the stored
pixels. The size in the annotation file tells which (for orientations that swap width and height).
"""
from __future__ import annotations

from pathlib import Path

import numpy as np

from centernet.data.image_file import decode, decode_file, is_dark, read_file
from centernet.data.image_size import jpeg_segments

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
    """
    data = read_file(path)
    pixels = decode_file(data, path)
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
    if not data.startswith(b"\xff\xd8"):
        return stored
    for marker, start in jpeg_segments(data):
        if marker == 0xE1 and data[start + 2:start + 8] == b"Exif\0\0":
            place = _orientation_place(data, start + 8)
            turned = place is not None and max(data[place:place + 2], default=0) in (5, 6, 7, 8)
            return stored[::-1] if turned else stored
        if 0xC0 <= marker <= 0xCF or marker == 0xDA:
            return stored
    return None


def without_orientation(data: bytes) -> bytes:
    """Return a JPEG file with its EXIF orientation set to 1 (not turned); other files, and those without, unchanged."""
    if not data.startswith(b"\xff\xd8"):
        return data
    for marker, start in jpeg_segments(data):
        if marker == 0xE1 and data[start + 2:start + 8] == b"Exif\0\0":
            place = _orientation_place(data, start + 8)
            if place is None:
                return data
            one = b"\1\0" if data[start + 8:start + 10] == b"II" else b"\0\1"
            return data[:place] + one + data[place + 2:]
        if marker == 0xDA:
            break
    return data


def _orientation_place(data: bytes, tiff: int) -> int | None:
    """Return where the value of the orientation is in the first directory of the TIFF header at `tiff`."""
    if data[tiff:tiff + 2] not in (b"II", b"MM"):
        return None

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at:at + size], "little" if data[tiff:tiff + 2] == b"II" else "big")

    directory = tiff + number(tiff + 4, 4)
    for entry in range(directory + 2, min(directory + 2 + 12 * number(directory, 2), len(data) - 11), 12):
        if number(entry, 2) == _ORIENTATION and number(entry + 2, 2) == 3:  # one number of 16 bit
            return entry + 8
    return None
