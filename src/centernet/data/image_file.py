"""Decoding image files, and telling a cut file, which OpenCV fills up with grey, from a whole one."""
from __future__ import annotations

import re
import zlib
from pathlib import Path

import cv2
import numpy as np

from centernet.errors import UserError
from centernet.files import user_errors

# In compressed data 0xFF is followed by 0 (a plain 0xFF), a restart marker D0..D7 or another 0xFF (filling).
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode(data: bytes | np.ndarray) -> np.ndarray | None:
    """The (h, w, 3) uint8 BGR pixels of an image file's bytes, or None if they are not an image."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # no bytes at all, or more pixels than OpenCV accepts
        return None


def read_image(path: Path) -> np.ndarray:
    """Read an image file as (h, w, 3) uint8 BGR; raises UserError naming the file if it cannot be read whole."""
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
    """Whether a JPEG or PNG file ends early (a PNG also: whether a checksum is wrong).

    OpenCV's other decoders return nothing for cut files, so False is safe for them.
    """
    if data.startswith(b"\xff\xd8"):
        return not _jpeg_ends(data)
    return data.startswith(_PNG_SIGNATURE) and not _png_ends(data)


def _jpeg_ends(data: bytes) -> bool:
    """Walk the segments (ITU-T T.81, annex B) up to the end-of-image marker; thumbnails inside segments are skipped."""
    position = 2
    while position + 4 <= len(data) + 2:
        marker = _JPEG_MARKER.search(data, position)
        if marker is None:
            return False
        position = marker.end()
        if data[position - 1] == 0xD9:
            return True
        # The length counts its own two bytes; after a start of scan the search passes over the compressed data.
        position += int.from_bytes(data[position:position + 2], "big")
    return False


def _png_ends(data: bytes) -> bool:
    """Walk the chunks (length, name, body, CRC-32) up to IEND."""
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position:position + 4], "big")
        if zlib.crc32(data[position + 4:end]) != int.from_bytes(data[end:end + 4], "big"):
            return False
        if data[position + 4:position + 8] == b"IEND":
            return True
        position = end + 4
    return False
