"""Boxes, category names and scores drawn onto images."""
from __future__ import annotations

import colorsys
import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from centernet.detection.labels import drawable, put_text, text_size
from centernet.files import user_errors

GOLDEN_RATIO = 0.61803398875
READABLE = 400       # pixels of the longer side of a picture that has space for labels
MOST_ENLARGED = 10
SMALLEST_TEXT = 0.4  # OpenCV's size of letters
OTHER_LABEL = 4      # a covered pixel of another label counts as this many of a box
ORDER = 0.02         # share of a label that it may cover to have an earlier place: they are in order of preference


@functools.lru_cache(maxsize=8)
def category_colors(names: tuple[str, ...]) -> tuple[tuple[int, int, int], ...]:
    """Return the BGR colour of each category, by its place among the sorted names.

    Data sets, models and annotation files have the same categories in different orders. A category has one colour in
    the pictures of all commands.
    """
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    return tuple(_place_color(places[name]) for name in names)


def _place_color(index: int) -> tuple[int, int, int]:
    """Return a BGR colour. Neighbouring places have very different hues."""
    red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN_RATIO % 1, 0.85, 1.0 if index % 2 == 0 else 0.75)
    return int(blue * 255), int(green * 255), int(red * 255)


def enlargement(image: np.ndarray) -> int:
    """Return by which factor to enlarge a picture of an image (h, w, 3) so that labels fit on it; 1 for most images."""
    return min(MOST_ENLARGED, -(-READABLE // max(image.shape[:2])))


def draw_boxes(image: np.ndarray, boxes: np.ndarray, classes: Sequence[int], names: Sequence[str],
               scores: Sequence[float] | None = None, enlarge: int = 1) -> np.ndarray:
    """Return a copy of an image with boxes and labels drawn on it.

    Args:
        image: (h, w, 3) uint8 BGR.
        boxes: (N, 4) x1, y1, x2, y2 in pixels; they may extend beyond the image.
        classes: N classes, positions in names.
        names: names of all categories; see labels.drawable for names that are not ASCII.
        scores: N scores to show; the box with the highest score is drawn last, on top, and its label gets its place
            first.
        enlarge: factor of the picture's height and width, see enlargement.
    """
    picture, colors = image.copy(), category_colors(tuple(names))
    if enlarge > 1:
        picture = cv2.resize(image, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
    height, width = picture.shape[:2]
    # Corners far outside of the image would overflow the fixed-point numbers of OpenCV.
    corners = np.clip(np.round(np.asarray(boxes).reshape(-1, 4) * enlarge), -5, [width + 5, height + 5] * 2).astype(int)
    order = list(range(len(boxes))) if scores is None else np.argsort(-np.asarray(scores), kind="stable").tolist()
    size, thickness = max(SMALLEST_TEXT, (height + width) / 2800), max(1, round((height + width) / 800))
    for position in reversed(order):
        x1, y1, x2, y2 = corners[position].tolist()
        cv2.rectangle(picture, (x1, y1), (x2, y2), colors[int(classes[position])], thickness)
    drawn = [drawable(names[int(classes[position])], int(classes[position])) for position in order]
    texts = drawn if scores is None else [f"{name} {scores[position]:.2f}" for name, position in zip(drawn, order)]
    places = place_labels(corners[order], [text_size(text, size)[:2] for text in texts],
                          [text_size(text, size)[2] for text in texts], height, width)
    for text, place, position in reversed(list(zip(texts, places, order))):
        _draw_label(picture, text, place, size, colors[int(classes[position])])
    return picture


def place_labels(boxes: np.ndarray, texts: Sequence[tuple[int, int]], bases: Sequence[int], height: int,
                 width: int) -> list[tuple[int, int]]:
    """Return for each box the top left corner of its label, where it covers least of other labels and of boxes.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the picture. Earlier ones choose their place first.
        texts: width of each label, and its height above the base line, in pixels.
        bases: height of each label below the base line.
        height: of the picture.
        width: of the picture.
    """
    taken = np.zeros((0, 4))
    places: list[tuple[int, int]] = []
    for (x1, y1, x2, y2), (wide, above), base in zip(boxes.tolist(), texts, bases):
        high = above + base
        tries = [(x, y) for y in (y1 - high, y1 - 2 * high, y2 + 1, y2 + 1 + high) for x in (x1, x2 - wide)]
        tries += [(x2 + 1, y1), (x1 - wide, y1), (x1, y1), (x1, y2 - high)]
        corners = np.clip(tries, 0, [max(0, width - wide), max(0, height - high)])
        areas = np.concatenate([corners, corners + [wide, high]], axis=1)
        later = wide * high * ORDER * np.arange(len(areas))
        cost = OTHER_LABEL * _covered(areas, taken) + _covered(areas, boxes) + later
        best = int(cost.argmin())
        taken = np.concatenate([taken, areas[best:best + 1]])
        places.append((int(corners[best][0]), int(corners[best][1])))
    return places


def _covered(areas: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return for each area (N, 4) how many pixels of other areas (M, 4) it covers, counted for each: (N,)."""
    low, high = np.maximum(areas[:, None, :2], others[None, :, :2]), np.minimum(areas[:, None, 2:], others[None, :, 2:])
    return np.prod(np.maximum(high - low, 0), axis=2).sum(axis=1)


def _draw_label(picture: np.ndarray, label: str, place: tuple[int, int], size: float,
                color: tuple[int, int, int]) -> None:
    left, top = place
    text_width, text_height, base = text_size(label, size)
    bottom = top + text_height + base
    cv2.rectangle(picture, (left, top), (left + text_width, bottom), color, -1)
    bright = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] > 128
    put_text(picture, label, (left, bottom - base // 2 - 1), size, (0, 0, 0) if bright else (255, 255, 255))


def picture_path(path: Path) -> Path:
    """Return the path with the suffix of a format that save_picture writes: .jpg is added to names of other formats."""
    return path if path.suffix.lower() in (".jpg", ".jpeg", ".png") else path.with_name(path.name + ".jpg")


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Write a .jpg or .png file and create its folder; see picture_path for other names.

    Raises:
        UserError: the file cannot be written. A part of it, for example on a full disk, is removed.
    """
    path = picture_path(path)
    with user_errors(f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:  # files.replacing would flush the disk for each picture
            path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
