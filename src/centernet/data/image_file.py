"""Decoder of image files, and a check for truncated files, which OpenCV would fill up with grey."""
from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np

from centernet.data.image_size import PNG_SIGNATURE, ImageTooLarge, allowed_size, jpeg_segments
from centernet.errors import UserError
from centernet.files import user_errors


def decode(data: bytes | np.ndarray) -> np.ndarray | None:
    """Decode the bytes of an image file to (h, w, 3) uint8 BGR; None if they are not an image.

    Raises:
        ImageTooLarge: the header claims more pixels than the limits allow. Nothing was decoded.
    """
    content = bytes(data)
    # OpenCV takes as much memory as a PNG chunk claims, up to 4 GB, also if the file is shorter.
    if allowed_size(content) is None or content.startswith(PNG_SIGNATURE) and not _png_ends(content):
        return None
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # no bytes, or more pixels than OpenCV accepts
        return None


def read_image(path: Path) -> np.ndarray:
    """Read an image file as (h, w, 3) uint8 BGR. Raise UserError if it cannot be read completely."""
    with user_errors(f"image {path}"):
        data = path.read_bytes()
    if is_cut(data):
        raise UserError(f"image {path} is cut off after {len(data)} bytes: copy it again, or remove it from the "
                        "data set")
    try:
        image = decode(data)
    except ImageTooLarge as error:
        raise UserError(f"image {path}: {error}") from error
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
