"""Decoder of image files, and a check for truncated files, which OpenCV would fill up with grey."""
from __future__ import annotations

import re
import zlib
from pathlib import Path

import cv2
import numpy as np

from centernet.errors import UserError
from centernet.files import user_errors

# In compressed data, 0xFF is followed by 0 (a data byte 0xFF), a restart marker D0..D7 or another 0xFF (padding).
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode(data: bytes | np.ndarray) -> np.ndarray | None:
    """Decode the bytes of an image file to (h, w, 3) uint8 BGR; None if they are not an image."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # no bytes, or more pixels than OpenCV accepts
        return None


def read_image(path: Path) -> np.ndarray:
    """Read an image file as (h, w, 3) uint8 BGR. Raise UserError if it cannot be read completely."""
    with user_errors(f"image {path}"):
        data = path.read_bytes()
    if is_cut(data):
        raise UserError(f"image {path} is cut off after {len(data)} bytes: copy it again, or remove it from the "
                        "data set")
    image = decode(data)
    if image is None:
        raise UserError(f"image {path} ({len(data)} bytes) is not an image file that OpenCV can decode: replace it, "
                        "or remove it from the data set")
    return image


def is_cut(data: bytes) -> bool:
    """Return whether a JPEG or PNG file is truncated, or a checksum of a PNG file is wrong.

    OpenCV's decoders of other formats return nothing for truncated files. So False is safe for these formats.
    """
    if data.startswith(b"\xff\xd8"):
        return not _jpeg_ends(data)
    return data.startswith(_PNG_SIGNATURE) and not _png_ends(data)


def _jpeg_ends(data: bytes) -> bool:
    """Return whether the segments (ITU-T T.81, annex B) reach the end-of-image marker. It skips embedded thumbnails."""
    position = 2
    while position + 4 <= len(data) + 2:
        marker = _JPEG_MARKER.search(data, position)
        if marker is None:
            return False
        position = marker.end()
        if data[position - 1] == 0xD9:
            return True
        # The length includes its own two bytes. After a start of scan, the search skips the compressed data.
        position += int.from_bytes(data[position:position + 2], "big")
    return False


def _png_ends(data: bytes) -> bool:
    """Return whether the chunks (length, name, body, CRC-32) are valid up to IEND."""
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position:position + 4], "big")
        if zlib.crc32(data[position + 4:end]) != int.from_bytes(data[end:end + 4], "big"):
            return False
        if data[position + 4:position + 8] == b"IEND":
            return True
        position = end + 4
    return False
