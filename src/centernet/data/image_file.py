"""Decoder of image files, and a check for truncated files, which OpenCV would fill up with grey."""
from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np

from centernet.data.image_size import PNG_SIGNATURE, ImageTooLarge, allowed_size, jpeg_segments
from centernet.errors import UserError
from centernet.files import read_bytes

# OpenCV decodes these formats. Searches of folders go by the name, files that are named are read in any case.
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jpe", ".jp2", ".png", ".bmp", ".webp", ".tif", ".tiff")
LARGEST_FILE = 1 << 29  # bytes; 128 million pixels without compression take 384 MB


def decode(data: bytes | np.ndarray) -> np.ndarray | None:
    """Decode the bytes of an image file to (h, w, 3) uint8 BGR; None if they are not an image.

    Raises:
        ImageTooLarge: the header claims more pixels than the limits allow. Nothing was decoded.
    """
    content = bytes(data)
    # OpenCV takes as much memory as a PNG chunk claims, up to 4 GB, also if the file is shorter.
    if allowed_size(content) is None or content.startswith(PNG_SIGNATURE) and not _png_ends(content):
        return None
    return _pixels(content)


def decode_whole(data: bytes) -> np.ndarray | None:
    """Return what decode returns, for a file that is_cut has checked: the checksums of a PNG file take time."""
    return None if allowed_size(data) is None else _pixels(data)


def _pixels(content: bytes) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # no bytes, or more pixels than OpenCV accepts
        return None


def read_image(path: Path) -> np.ndarray:
    """Read an image file as (h, w, 3) uint8 BGR. Raise UserError if it cannot be read completely."""
    return decode_file(read_file(path), path)


def decode_file(data: bytes, path: Path) -> np.ndarray:
    """Decode the content of the image file `path`, with the result and the UserError of read_image."""
    if is_cut(data):
        raise UserError(f"image {path} is cut off after {len(data)} bytes: copy it again, or remove it")
    try:
        image = decode_whole(data)
    except ImageTooLarge as error:
        raise UserError(f"image {path}: {error}") from error
    if image is None and (name := foreign_format(data)):
        raise UserError(f"image {path} is in the format {name}, which is not supported: convert it to JPEG or PNG")
    if image is None:
        raise UserError(f"image {path} ({len(data)} bytes) is not an image file that OpenCV can decode: replace it, "
                        "or remove it")
    return image


def read_file(path: Path) -> bytes:
    """Return the content of an image file. Raise UserError if it is not readable, or above LARGEST_FILE."""
    return read_bytes(path, LARGEST_FILE, f"image {path}")


def foreign_format(data: bytes) -> str:
    """Return the name of a format that OpenCV may not decode, from the first bytes of a file; "" for all others."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    known = ((data.startswith(b"GIF8"), "GIF"), (brand in (b"avif", b"avis"), "AVIF"),
             (brand in (b"heic", b"heix", b"mif1", b"msf1"), "HEIC"), (data.startswith(b"%PDF"), "PDF"),
             (data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")), "JPEG XL"),
             (data.lstrip()[:4] == b"<svg" or b"<svg" in data[:300] and data.lstrip()[:5] == b"<?xml", "SVG"))
    return next((name for found, name in known if found), "")


def is_dark(data: bytes) -> bool:
    """Return whether an image has 16 bit, of which it uses less than a tenth. 8 bit of it are taken: value / 256.

    Only PNG and TIFF files are looked at. Such images usually hold 10 or 12 bit.
    """
    sixteen_bit = data.startswith(PNG_SIGNATURE) and data[24:25] == b"\x10"
    if not sixteen_bit and not data.startswith((b"II*\0", b"MM\0*")):
        return False
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return False
    return pixels is not None and pixels.dtype == np.uint16 and 0 < pixels.max() < 6554


def is_cut(data: bytes) -> bool:
    """Return whether a JPEG or PNG file is truncated, or a checksum of a PNG file is wrong.

    OpenCV's decoders of other formats return nothing for truncated files. So False is safe for these formats.
    """
    if data.startswith(b"\xff\xd8"):
        return not _jpeg_ends(data)
    return data.startswith(PNG_SIGNATURE) and not _png_ends(data)


def _jpeg_ends(data: bytes) -> bool:
    """Return whether the segments reach the end-of-image marker."""
    return any(marker == 0xD9 for marker, _ in jpeg_segments(data))


def _png_ends(data: bytes) -> bool:
    """Return whether the chunks (length, name, body, CRC-32) are valid up to IEND."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position:position + 4], "big")
        if zlib.crc32(data[position + 4:end]) != int.from_bytes(data[end:end + 4], "big"):
            return False
        if data[position + 4:position + 8] == b"IEND":
            return True
        position = end + 4
    return False
