"""Labels on images: in OpenCV's font, which has ASCII alone, or in a font of the system that has the characters."""
from __future__ import annotations

import functools
import importlib.util
import logging
import re
from pathlib import Path

import cv2
import numpy as np
from PIL import ImageFont

LOG = logging.getLogger("centernet")

FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".fonts",
           Path.home() / ".local/share/fonts")
PACKAGE = "matplotlib"  # a required package that brings a font with the alphabets of Europe: DejaVu Sans
# Fonts with many scripts, in this order; the others of the system are hundreds of single scripts and styles.
KNOWN = ("notosanscjk", "sourcehansans", "wqy", "droidsansfallback", "uming", "simhei", "msyh", "notosans-regular",
         "unifont", "dejavusans")
MOST_FONTS = 40
UNASSIGNED = "\U0010fffe"  # fonts draw their sign for a missing character
PIXELS = 30  # height of a font for OpenCV's size 1


def drawable(name: str, index: int) -> str:
    """Return a category name, or the number of its class if no font has all characters. Say so once."""
    if name.isascii() or _font_file(name):
        return name
    _note_once()
    return str(index)


def text_size(label: str, size: float) -> tuple[int, int, int]:
    """Return width, height above the base line and height below it, in pixels; size is OpenCV's."""
    if label.isascii():
        (width, height), base = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, size, _stroke(size))
        return width, height, base
    left, top, right, bottom = _font(label, size).getbbox(label, anchor="ls")
    return int(right - left) + 1, int(-top) + 1, int(max(bottom, 1)) + 2


def put_text(picture: np.ndarray, label: str, place: tuple[int, int], size: float, color: tuple[int, int, int]) -> None:
    """Draw a label into a uint8 BGR image; place is the left end of its base line."""
    if label.isascii():
        cv2.putText(picture, label, place, cv2.FONT_HERSHEY_SIMPLEX, size, color, _stroke(size), cv2.LINE_AA)
        return
    font = _font(label, size)
    mask = font.getmask(label, mode="L", anchor="ls")
    left, top, *_ = font.getbbox(label, anchor="ls")
    cover = np.array(mask, np.float32).reshape(mask.size[::-1])[..., None] / 255
    x, y = place[0] + max(0, int(left)), place[1] + int(top)
    height, width = picture.shape[:2]
    cover = cover[max(0, -y):max(0, height - y), max(0, -x):max(0, width - x)]
    part = picture[max(0, y):max(0, y) + cover.shape[0], max(0, x):max(0, x) + cover.shape[1]]
    part[:] = np.round(part * (1 - cover) + np.array(color, np.float32) * cover).astype(np.uint8)


def _stroke(size: float) -> int:
    """Return the width of a letter's lines in pixels."""
    return max(1, round(size * 2))


def _font(label: str, size: float) -> ImageFont.FreeTypeFont:
    return _opened(_font_file(label) or "", max(9, round(size * PIXELS)))


@functools.lru_cache(maxsize=64)
def _opened(path: str, pixels: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, pixels)


@functools.lru_cache(maxsize=4096)
def _font_file(text: str) -> str | None:
    """Return the first font file that has all characters of a text; None if there is none."""
    return next((path for path in _candidates() if all(_has(path, letter) for letter in set(text) - {" "})), None)


@functools.lru_cache(maxsize=1)
def _candidates() -> tuple[str, ...]:
    package = importlib.util.find_spec(PACKAGE)
    places = package.submodule_search_locations if package else None
    own = [Path(place) / "mpl-data/fonts/ttf" for place in places or ()]
    files = [path for folder in (*FOLDERS, *own) if folder.is_dir() for path in sorted(folder.rglob("*"))
             if path.suffix.lower() in (".ttf", ".ttc", ".otf")]
    ranked = [(rank, str(path)) for path in files for rank, name in enumerate(KNOWN)
              if re.sub(r"[ _]", "", path.name.lower()).startswith(name)]
    return tuple(path for _, path in sorted(ranked)[:MOST_FONTS])


@functools.lru_cache(maxsize=8192)
def _has(path: str, letter: str) -> bool:
    try:
        font = _opened(path, 16)
        drawn, missing = (bytes(font.getmask(text)) for text in (letter, UNASSIGNED))
    except (OSError, ValueError):  # a damaged font, or a character that no text can have
        return False
    return drawn != missing


@functools.lru_cache(maxsize=1)
def _note_once() -> None:
    LOG.warning("note: a font with their characters was not found for some category names: pictures show the number "
                "of the class (from 0) instead. Install one, for example: apt-get install fonts-noto-cjk")
