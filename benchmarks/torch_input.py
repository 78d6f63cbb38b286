"""Training images and targets in PyTorch, written from the paper's description (Zhou et al. 2019, section 5).

It shares no code with centernet.data: that is what benchmarks/real_data.py compares. Colours change one after the
other in float32, targets are dense heatmaps, and boxes are moved by scale and shift.
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from centernet.config.schema import DatasetConfig
from centernet.files import read_json

SCALES = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
BORDER = 128  # pixels between a crop's centre and the border; halved for small images
OVERLAP = 0.7  # smallest IoU of a box whose corners lie within the radius
Key = tuple[int, int]  # epoch, position of an image


class TorchImages(Dataset):
    """Augmented training images with boxes of a COCO-format data set; images without boxes are left out.

    Args:
        annotation_file: COCO-format annotations.
        image_dir: folder of the images.
        data: sizes, normalisation, principal components of the colours, max_objs.
        seed: with the epoch and the image's position it determines all random numbers.
    """

    def __init__(self, annotation_file: Path, image_dir: Path, data: DatasetConfig, seed: int):
        document = read_json(annotation_file)
        kinds = {number: kind for kind, number in enumerate(sorted(row["id"] for row in document["categories"]))}
        boxes: dict[int, list[list[float]]] = {}
        for row in document["annotations"]:
            x, y, width, height = row["bbox"]
            boxes.setdefault(row["image_id"], []).append([x, y, x + width, y + height, kinds[row["category_id"]]])
        self.classes = len(kinds)
        self.rows = [(image_dir / row["file_name"], np.array(boxes[row["id"]], np.float32))
                     for row in document["images"] if row["id"] in boxes]
        self.data = data
        self.seed = seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Key) -> dict[str, np.ndarray]:
        """Return image (3,H,W), hm (C,h,w), wh and reg (M,2), mask (M,1) float32 and ind (M,) int64."""
        rng = np.random.default_rng((self.seed, *key))
        path, boxes = self.rows[key[1]]
        image = cv2.imread(str(path))
        if image is None:
            raise ValueError(f"{path} cannot be decoded")
        center, side, flip = draw_crop(rng, *image.shape[:2])
        boxes = boxes.copy()
        if flip:
            image = image[:, ::-1]
            boxes[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]] - 1
        height, width = self.data.input_res_train
        shift = np.array([width, height]) / 2 - center * width / side
        matrix = np.array([[width / side, 0, shift[0]], [0, width / side, shift[1]]])
        pixels = cv2.warpAffine(np.ascontiguousarray(image), matrix, (width, height), flags=cv2.INTER_LINEAR)
        pixels = pixels.astype(np.float32) / 255
        if self.data.color_aug:
            pixels = change_colors(rng, pixels, np.array(self.data.eig_val), np.array(self.data.eig_vec))
        pixels = (pixels - np.array(self.data.mean, np.float32)) / np.array(self.data.std, np.float32)
        boxes[:, :4] = (boxes[:, :4] * (width / side) + np.tile(shift, 2)) / 4
        return {"image": np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32),
                **targets(boxes, self.classes, (height // 4, width // 4), self.data.max_objs)}


def draw_crop(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, float, bool]:
    """Draw the square region of an image that becomes the input.

    Returns:
        Its centre x, y in pixels (of the mirrored image if flip), its side in pixels, and flip.
    """
    side = max(height, width) * rng.choice(SCALES)
    center = []
    for size in (width, height):
        border = BORDER
        while size - border <= border and border > 0:
            border //= 2
        center.append(float(rng.integers(border, size - border)))
    flip = bool(rng.random() < 0.5)
    if flip:
        center[0] = width - center[0] - 1
    return np.array(center), side, flip


def change_colors(rng: np.random.Generator, image: np.ndarray, eig_val: np.ndarray, eig_vec: np.ndarray) -> np.ndarray:
    """Change brightness, contrast and saturation by up to 0.4 in random order, then add lighting.

    Args:
        rng: source of the random numbers.
        image: (H,W,3) float32 BGR in 0..1; the result may leave that range.
        eig_val, eig_vec: principal components of the colours of BGR pixels.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[:, :, None]
    for change in rng.permutation(["brightness", "contrast", "saturation"]):
        factor = np.float32(1 + rng.uniform(-0.4, 0.4))
        image = image * factor
        if change == "contrast":
            image = image + (1 - factor) * gray.mean()
        elif change == "saturation":
            image = image + (1 - factor) * gray
    return image + (eig_vec @ (eig_val * rng.normal(0, 0.1, 3))).astype(np.float32)


def targets(boxes: np.ndarray, classes: int, size: tuple[int, int], slots: int) -> dict[str, np.ndarray]:
    """Return the targets of boxes (N,5) x1, y1, x2, y2, class in output cells; size is (height, width) of the map."""
    height, width = size
    found: dict[str, np.ndarray] = {
        "hm": np.zeros((classes, height, width), np.float32), "wh": np.zeros((slots, 2), np.float32),
        "reg": np.zeros((slots, 2), np.float32), "mask": np.zeros((slots, 1), np.float32),
        "ind": np.zeros(slots, np.int64)}
    rows, columns = np.mgrid[:height, :width]
    for slot, (x1, y1, x2, y2, kind) in enumerate(boxes[:slots]):
        x1, x2 = np.clip([x1, x2], 0, width - 1)
        y1, y2 = np.clip([y1, y2], 0, height - 1)
        if x2 <= x1 or y2 <= y1:
            continue
        center = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
        x, y = center.astype(int)
        reach = max(0, int(radius(np.ceil(y2 - y1), np.ceil(x2 - x1))))
        sigma = (2 * reach + 1) / 6
        peak = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma ** 2))
        peak[(abs(columns - x) > reach) | (abs(rows - y) > reach)] = 0
        found["hm"][int(kind)] = np.maximum(found["hm"][int(kind)], peak)
        found["wh"][slot] = x2 - x1, y2 - y1
        found["reg"][slot] = center - (x, y)
        found["mask"][slot] = 1
        found["ind"][slot] = y * width + x
    return found


def radius(height: float, width: float) -> float:
    """Return the radius of CornerNet's released code: the smallest of three cases (both corners in, out, one each)."""
    total, area, o = height + width, height * width, OVERLAP
    cases = ((1, total, area * (1 - o) / (1 + o)), (4, 2 * total, (1 - o) * area),
             (4 * o, -2 * o * total, (o - 1) * area))
    return min((b + (b * b - 4 * a * c) ** 0.5) / 2 for a, b, c in cases)


def shuffled(count: int, batch: int, epochs: int, seed: int) -> list[list[Key]]:
    """Return the keys of all batches: each epoch is a new order of `count` images, without the incomplete batch."""
    batches = []
    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch)).permutation(count).tolist()
        batches += [[(epoch, index) for index in order[start:start + batch]]
                    for start in range(0, count - batch + 1, batch)]
    return batches


def load(images: TorchImages, batch: int, epochs: int, workers: int) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the batches of all epochs. workers is a number of processes; 0: this process prepares the images."""
    order = shuffled(len(images), batch, epochs, images.seed)
    yield from DataLoader(images, batch_sampler=order, num_workers=workers)
