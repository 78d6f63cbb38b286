"""Generator of a COCO-format data set for the demo: no download, and the same files for the same random seed.

    python -m tools.synthetic OUTPUT_DIR --train 400 --val 100

Images have a background of noise and textured shapes of four classes, with random size, aspect ratio, rotation and
texture. Later shapes hide earlier ones. Boxes enclose the visible part, as in COCO.
"""
from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

CLASSES = ("disc", "block", "wedge", "ring")
HUES = {"disc": 0, "block": 60, "wedge": 105, "ring": 150}  # typical hue (OpenCV's 0..179) of a class
HUE_SPREAD = 14   # standard deviation; the colours of neighbouring classes overlap, so the shape is needed, too
MIN_VISIBLE = 0.4  # smallest visible fraction of an annotated shape


def make_dataset(directory: Path, num_train: int, num_val: int, seed: int = 1) -> None:
    """Write annotations/instances_{train,val}2017.json and {train,val}2017/*.jpg under directory."""
    first_id = 1
    for split, count in (("train", num_train), ("val", num_val)):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        folder = directory / f"{split}2017"
        folder.mkdir(parents=True, exist_ok=True)
        for image_id in tqdm(range(first_id, first_id + count), desc=f"generate {split}", unit="img", disable=None):
            pixels, shapes = draw_image(np.random.default_rng((seed, image_id)))
            name = f"{image_id:012d}.jpg"
            cv2.imwrite(str(folder / name), pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])
            images.append({"id": image_id, "file_name": name, "height": pixels.shape[0], "width": pixels.shape[1]})
            for category_id, box, area in shapes:
                annotations.append({"id": len(annotations) + 1, "image_id": image_id, "category_id": category_id,
                                    "bbox": box, "area": area, "iscrowd": 0})
        categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
        path = directory / "annotations" / f"instances_{split}2017.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"info": {"description": "generated shapes"}, "images": images,
                                    "annotations": annotations, "categories": categories}), encoding="utf-8")
        first_id += count


def draw_image(rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, list[float], float]]]:
    """Draw an image (h, w, 3) uint8 BGR. Return it and its shapes: (category id, [x, y, w, h] pixels, visible area)."""
    height, width = (int(rng.integers(136, 217)) for _ in range(2))
    canvas = _noise(rng, height, width, octaves=5) * 0.75 + 32
    owner = np.zeros((height, width), np.int32)  # number of the shape at each pixel; 0: background
    full_area, classes = [], []
    for number in range(1, int(rng.integers(1, 6)) + 1):
        category = int(rng.integers(len(CLASSES)))
        mask = _shape_mask(rng, CLASSES[category], height, width)
        alpha = mask[..., None].astype(np.float32) / 255
        shade = np.clip(_fill(rng, HUES[CLASSES[category]], height, width), 0, 255)
        canvas = canvas * (1 - alpha) + shade * alpha
        owner[mask > 127] = number
        full_area.append(int((mask > 127).sum()))
        classes.append(category)
    shapes = []
    for number, (category, area) in enumerate(zip(classes, full_area), start=1):
        visible = (owner == number).astype(np.uint8)
        if visible.sum() >= max(MIN_VISIBLE * area, 40):
            box = [float(value) for value in cv2.boundingRect(visible)]
            shapes.append((category + 1, box, float(visible.sum())))
    return np.clip(canvas, 0, 255).astype(np.uint8), shapes


def _noise(rng: np.random.Generator, height: int, width: int, octaves: int) -> np.ndarray:
    """Return smooth coloured noise (h, w, 3) float32 in 0..255."""
    image = np.zeros((height, width, 3), np.float32)
    for octave in range(octaves):
        cells = 2 ** (octave + 1)
        coarse = rng.uniform(0, 255, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * 0.5 ** (octave + 1)
    return np.clip(image, 0, 255)


def _fill(rng: np.random.Generator, typical_hue: int, height: int, width: int) -> np.ndarray:
    """Return the texture of a shape (h, w, 3) float32: a saturated colour with stripes, checks or noise."""
    hue = round(rng.normal(typical_hue, HUE_SPREAD)) % 180
    colour = cv2.cvtColor(np.array([[[hue, rng.integers(120, 256), rng.integers(110, 256)]]], np.uint8),
                          cv2.COLOR_HSV2BGR).astype(np.float32)[0, 0]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle, period = rng.uniform(0, math.pi), rng.uniform(4, 14)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    kind = rng.integers(3)
    if kind == 0:
        pattern = np.sign(np.sin(along * 2 * math.pi / period))
    elif kind == 1:
        pattern = np.sign(np.sin(along * 2 * math.pi / period) * np.sin(across * 2 * math.pi / period))
    else:
        pattern = rng.normal(0, 0.7, (height, width)).astype(np.float32)
    return colour * (1 + 0.22 * pattern[..., None])


def _shape_mask(rng: np.random.Generator, name: str, height: int, width: int) -> np.ndarray:
    """Return an anti-aliased mask (h, w) uint8 of a shape at a random position, perhaps partly outside of the image."""
    side = min(height, width) * math.exp(rng.uniform(math.log(0.16), math.log(0.6)))
    aspect = math.exp(rng.uniform(-0.6, 0.6))
    half_w, half_h = 0.5 * side * math.sqrt(aspect), 0.5 * side / math.sqrt(aspect)
    center = (rng.uniform(0.6 * half_w, width - 0.6 * half_w), rng.uniform(0.6 * half_h, height - 0.6 * half_h))
    degrees = float(rng.uniform(-25, 25))
    mask = np.zeros((height, width), np.uint8)
    if name in ("disc", "ring"):
        cv2.ellipse(mask, (center, (2 * half_w, 2 * half_h), degrees), (255,), -1, cv2.LINE_AA)
        if name == "ring":
            cv2.ellipse(mask, (center, (1.1 * half_w, 1.1 * half_h), degrees), (0,), -1, cv2.LINE_AA)
        return mask
    corners = {"block": [(-1, -1), (1, -1), (1, 1), (-1, 1)], "wedge": [(0, -1), (1, 1), (-1, 1)]}[name]
    turn = np.array([[math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))],
                     [math.sin(math.radians(degrees)), math.cos(math.radians(degrees))]])
    points = np.array(corners, np.float64) * (half_w, half_h) @ turn.T + center
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], (255,), cv2.LINE_AA, shift=4)
    return mask


def main(argv: list[str] | None = None) -> int:
    """Generate the data set of the command line and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--train", type=int, default=400, help="training images (default: 400)")
    parser.add_argument("--val", type=int, default=100, help="validation images (default: 100)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    make_dataset(arguments.directory, arguments.train, arguments.val, arguments.seed)
    print(f"wrote {arguments.train} training and {arguments.val} validation images to {arguments.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
