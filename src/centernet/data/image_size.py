"""Size of an image file from its header, and the limit for it. It is checked before a decoder takes memory.

A JPEG file of 631 bytes can claim 32767 x 32767 pixels, and a decoder would take 6 GB and 40 s for it.
"""
from __future__ import annotations

import io
import re
import struct
import threading
from collections.abc import Iterator

from centernet.config.schema import Config
from centernet.errors import UserError

MAX_SIDE = 32766  # pixels; OpenCV's warpAffine accepts no longer side
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# In compressed data, 0xFF is followed by 0 (a data byte 0xFF), a restart marker D0..D7 or another 0xFF (padding).
# The marker 1 (TEM) has no length either: what follows it is the next marker.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # the markers between C0 and CF that do not begin a frame

# Pillow's plugins raise all of them for a damaged header (UnidentifiedImageError is an OSError).
FAULTS = (OSError, ValueError, SyntaxError, RuntimeError, TypeError, AttributeError, LookupError, ArithmeticError,
          EOFError, struct.error)

# The one setting that is not passed on as a value. It protects the process, as a limit of its memory would: every
# decoder of this process must obey it, also in a module that somebody adds later. As an argument it would go through
# about forty calls (readers, finder of sizes, conversion, input pipeline, detector, evaluation, quantization), and each
# of them could leave it out. All workers that decode are threads, so they see the value. run_entry sets it once, before
# the work.
_limit = Config().max_image_pixels
_PILLOW = threading.Lock()


class ImageTooLarge(UserError):
    """The header of an image file claims more pixels than the limits allow."""


def set_pixel_limit(pixels: int) -> None:
    """Set the largest number of pixels of an image file, for this process. The default is that of the settings."""
    global _limit
    _limit = pixels


def allowed_size(data: bytes) -> tuple[int, int] | None:
    """Return what image_size returns. Raise ImageTooLarge if that is more than the limits allow."""
    found = image_size(data)
    if found is None:
        return None
    height, width = found
    if height * width > _limit:
        raise ImageTooLarge(f"{width} x {height} pixels (width x height) are more than max_image_pixels {_limit}: make "
                            "the image smaller, or set --max_image_pixels if you trust the file")
    if max(height, width) > MAX_SIDE:
        raise ImageTooLarge(f"{width} x {height} pixels (width x height): a side may have at most {MAX_SIDE} pixels: "
                            "make the image smaller, or cut it into tiles")
    return found


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return (height, width) in pixels as the file stores them, before an EXIF rotation; None if it has no header."""
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    if data.startswith(PNG_SIGNATURE):
        width, height = (int.from_bytes(data[start:start + 4], "big") for start in (16, 20))
        return (height, width) if len(data) >= 24 else None
    return _size_by_pillow(data)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker of each segment of a JPEG file (ITU-T T.81, annex B), and the position behind the marker.

    It skips embedded thumbnails, and ends behind the end-of-image marker (0xD9) or where the file is cut.
    """
    position = 2
    while position + 4 <= len(data) + 2:
        found = _JPEG_MARKER.search(data, position)
        if found is None:
            return
        position = found.end()
        yield data[position - 1], position
        if data[position - 1] == 0xD9:
            return
        # The length includes its own two bytes. After a start of scan, the search skips the compressed data.
        position += int.from_bytes(data[position:position + 2], "big")


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return the size in the first frame header. libjpeg accepts only one."""
    for marker, start in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = (int.from_bytes(data[at:at + 2], "big") for at in (start + 3, start + 5))
            return height, width
    return None


def _size_by_pillow(data: bytes) -> tuple[int, int] | None:
    from PIL import Image

    # Pillow's own limit (a warning above it, an error above twice of it) must not be lower than ours. It is a variable
    # of the process, which may belong to a program that only uses this package.
    with _PILLOW:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, _limit
        try:
            with Image.open(io.BytesIO(data)) as image:  # reads the header only
                return image.height, image.width
        except Image.DecompressionBombError as error:
            raise ImageTooLarge(f"{error}. Make the image smaller, or set --max_image_pixels if you trust the file"
                                ) from error
        except FAULTS:
            return None
        finally:
            Image.MAX_IMAGE_PIXELS = before
