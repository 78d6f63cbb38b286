"""Boxes, category names and scores drawn onto images."""
from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from centernet.detection.labels import drawable, put_text, text_size
from centernet.files import user_errors

GOLDEN_RATIO = 0.61803398875


def class_color(index: int) -> tuple[int, int, int]:
    """Return the BGR colour of a class. Neighbouring classes have very different hues."""
    red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN_RATIO % 1, 0.85, 1.0 if index % 2 == 0 else 0.75)
    return int(blue * 255), int(green * 255), int(red * 255)


def draw_boxes(image: np.ndarray, boxes: np.ndarray, classes: Sequence[int], names: Sequence[str],
               scores: Sequence[float] | None = None) -> np.ndarray:
    """Return a copy of an image with boxes and labels drawn on it.

    Args:
        image: (h, w, 3) uint8 BGR.
        boxes: (N, 4) x1, y1, x2, y2 in pixels; they may extend beyond the image.
        classes: N classes, positions in names.
        names: names of all categories; see labels.drawable for names that are not ASCII.
        scores: N scores to show; the box with the highest score is drawn last, on top.
    """
    picture = image.copy()
    for position in reversed(range(len(boxes))) if scores is None else np.argsort(np.asarray(scores), kind="stable"):
        index = int(classes[position])
        name = drawable(names[index], index)
        label = name if scores is None else f"{name} {scores[position]:.2f}"
        _draw_box(picture, boxes[position], label, class_color(index))
    return picture


def _draw_box(picture: np.ndarray, box: np.ndarray, label: str, color: tuple[int, int, int]) -> None:
    height, width = picture.shape[:2]
    # Corners far outside of the image would overflow the fixed-point numbers of OpenCV.
    x1, y1, x2, y2 = np.clip(np.round(box), -5, [width + 5, height + 5] * 2).astype(int).tolist()
    thickness = max(1, round((height + width) / 800))
    size = max(0.35, (height + width) / 2800)
    cv2.rectangle(picture, (x1, y1), (x2, y2), color, thickness)
    text_width, text_height, base = text_size(label, size)
    left = max(0, min(x1, width - text_width))
    bottom = y1 if y1 >= text_height + base else min(y1 + text_height + base, height)
    bottom = max(bottom, text_height + base)
    cv2.rectangle(picture, (left, bottom - text_height - base), (left + text_width, bottom), color, -1)
    bright = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] > 128
    put_text(picture, label, (left, bottom - base // 2 - 1), size, (0, 0, 0) if bright else (255, 255, 255))


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Write a .jpg or .png file and create its folder. Other names get the suffix .jpg. Raise UserError on failure."""
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        path = path.with_name(path.name + ".jpg")
    with user_errors(f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())
