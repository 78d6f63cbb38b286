"""Numbers about one split of a data set: sizes of boxes as the training sees them, balance of the classes, and more."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from centernet.config.schema import DatasetConfig
from centernet.config.sections import DOWN_RATIO
from centernet.data.augment import whole_view
from centernet.data.coco import CocoDataset, CocoImage
from centernet.data.targets import encode, to_output_boxes

SAME = 0.95  # intersection over union from which two boxes of a class are the same object, labelled twice


@dataclass(frozen=True)
class Statistics:
    """Numbers about the images and boxes of one split. Boxes to ignore are counted alone."""

    images: int
    empty: int                   # images without boxes
    ignored: int                 # boxes marked iscrowd or ignore
    sides: np.ndarray            # (I, 2) int64 width, height of the images in pixels
    boxes: np.ndarray            # (N, 2) float64 width, height in pixels of the image
    input_boxes: np.ndarray      # (N, 2) float64 width, height in pixels of the network's input, whole image
    counts: np.ndarray           # (I,) int64 boxes of each image, with those to ignore: they take slots too
    class_boxes: dict[str, int]
    class_images: dict[str, int]
    collisions: int              # boxes whose centre has the cell of another box of their class
    shared_cells: int            # boxes whose centre has the cell of any other box
    repeated: tuple[str, ...]    # "FILE: CLASS" of boxes that are labelled twice
    thin: tuple[str, ...]        # "FILE: CLASS" of boxes with a side below a cell of the output map
    past: int                    # boxes that reach more than a pixel past their image


def statistics(dataset: CocoDataset, data: DatasetConfig, margin: int) -> Statistics:
    """Count the images and boxes of a split.

    Args:
        dataset: the split.
        data: input_res_train, output_res and max_objs decide how large boxes are, and where their centres are.
        margin: net_config.margin.
    """
    names, images = dataset.categories.names, dataset.images
    objects = [image.classes[~image.ignored] for image in images]
    classes = Counter(np.concatenate([*objects, np.zeros(0, np.int32)]).tolist())
    class_images = Counter(index for found in objects for index in np.unique(found).tolist())
    placed = [_placed(image, data, margin) for image in images]
    boxes = [image.boxes[~image.ignored] for image in images]
    factors = [_factor(image, data) for image in images]
    sizes = [(found[:, 2:] - found[:, :2]).astype(np.float64) for found in boxes]
    return Statistics(
        len(images), sum(not len(image.boxes) for image in images), sum(int(image.ignored.sum()) for image in images),
        np.array([(image.width, image.height) for image in images], np.int64).reshape(-1, 2), _rows(sizes),
        _rows(size * factor for size, factor in zip(sizes, factors)),
        np.array([len(image.boxes) for image in images], np.int64),
        {name: classes[index] for index, name in enumerate(names)},
        {name: class_images[index] for index, name in enumerate(names)},
        sum(_repeats(rows) for rows in placed), sum(_repeats(rows[:, 1:]) for rows in placed),
        tuple(text for image in images for text in _labelled_twice(image, names)),
        tuple(text for image, factor in zip(images, factors) for text in _thin(image, factor, names)),
        sum(_past(image) for image in images))


def _rows(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([*parts, np.zeros((0, 2))])


def _factor(image: CocoImage, data: DatasetConfig) -> float:
    """Return how many pixels of the input one pixel of a whole image becomes."""
    return float(whole_view(image.height, image.width, data.input_res_train).matrix(data.input_res_train)[0, 0])


def _placed(image: CocoImage, data: DatasetConfig, margin: int) -> np.ndarray:
    """Return (N, 2): class and cell of each object, as the training places them on the whole image."""
    matrix = whole_view(image.height, image.width, data.input_res_train).matrix(data.output_res)
    boxes = to_output_boxes(image.boxes[~image.ignored], matrix, 0, data.output_res, 0, margin)
    targets = encode(boxes, image.classes[~image.ignored], data.output_res, max(1, len(boxes)))
    kept = targets.reg_mask > 0
    return np.stack([targets.cls[kept], targets.ind[kept]], axis=1)


def _repeats(rows: np.ndarray) -> int:
    """Return how many rows are equal to another one."""
    _, counts = np.unique(rows, axis=0, return_counts=True)
    return int(counts[counts > 1].sum())


def _past(image: CocoImage) -> int:
    limits = np.array([image.width + 1, image.height + 1])
    return int(((image.boxes[:, :2] < -1).any(1) | (image.boxes[:, 2:] > limits).any(1)).sum())


def _thin(image: CocoImage, factor: float, names: Sequence[str]) -> list[str]:
    """Return a text for each box with a side below a cell: its file, class and size in pixels of the image."""
    sides = image.boxes[:, 2:] - image.boxes[:, :2]
    rows = np.flatnonzero((sides.min(axis=1, initial=np.inf) * factor < DOWN_RATIO) & ~image.ignored)
    return [f"{image.path.name}: {names[image.classes[row]]} of {sides[row][0]:g} x {sides[row][1]:g}" for row in rows]


def _labelled_twice(image: CocoImage, names: Sequence[str]) -> list[str]:
    """Return a text for each box that covers another one of its class almost exactly."""
    boxes, classes = image.boxes[~image.ignored].astype(np.float64), image.classes[~image.ignored]
    found = []
    for index in range(1, len(boxes)):
        others = boxes[:index][classes[:index] == classes[index]]
        inner = np.maximum(0, np.minimum(others[:, 2:], boxes[index, 2:]) - np.maximum(others[:, :2],
                                                                                      boxes[index, :2])).prod(1)
        areas = (others[:, 2:] - others[:, :2]).prod(1) + (boxes[index, 2:] - boxes[index, :2]).prod()
        if (inner > SAME / (1 + SAME) * areas).any():
            found.append(f"{image.path.name}: {names[classes[index]]}")
    return found


def quantiles(values: np.ndarray) -> str:
    """Return the smallest value, the 10th, 50th and 90th percentile and the largest value as text."""
    if not len(values):
        return "none"
    return " / ".join(f"{value:.4g}" for value in np.quantile(values, (0, 0.1, 0.5, 0.9, 1)))


def cells(found: Statistics) -> np.ndarray:
    """Return (N,) float64: the shorter side of each box in cells of the output map."""
    return found.input_boxes.min(axis=1) / DOWN_RATIO


def ratios(found: Statistics) -> np.ndarray:
    """Return (N,) float64: width / height of each box."""
    return found.boxes[:, 0] / np.maximum(found.boxes[:, 1], 1e-9)
