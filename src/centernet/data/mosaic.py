"""Strong augmentation with several images: mosaic and mixup."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from centernet.config.schema import DatasetConfig
from centernet.config.sections import DOWN_RATIO
from centernet.data.augment import draw_view, warp
from centernet.data.targets import clip_boxes, move_boxes, visible_part

TILES = 4  # images of a mosaic


class Labelled(NamedTuple):
    """An image and its boxes: in pixels for a stored image, in output cells for a training image."""

    image: np.ndarray    # (h, w, 3) uint8 BGR
    boxes: np.ndarray    # (N, 4) float32 x1, y1, x2, y2
    classes: np.ndarray  # (N,) int32


def draw_partners(rng: np.random.Generator, count: int, data: DatasetConfig) -> list[np.ndarray]:
    """Draw the partners of all images of an epoch: three for a mosaic if mosaic is above 0, then one for mixup.

    Returns:
        (count,) int64 each: the partner of each image. An image without a partner is its own. Images are numbers in the
        order of their ids, so that the number of shards does not matter.
    """
    own = np.arange(count)
    others = [(own + step) % count for step in rng.integers(1, max(count, 2), (TILES, count))]
    tiled, mixed = (draws < chance for draws, chance in zip(rng.random((2, count)), (data.mosaic, data.mixup)))
    partners = [np.where(tiled, other, own) for other in others[1:]] if data.mosaic else []
    return [*partners, np.where(mixed, others[0], own)] if data.mixup else partners


def most_images(data: DatasetConfig) -> int:
    """Return the largest number of images in one training image: four of a mosaic, and one more of mixup."""
    return (TILES if data.mosaic else 1) + (data.mixup > 0)


def mosaic(images: Sequence[Labelled], data: DatasetConfig, rng: np.random.Generator, margin: int = 1) -> Labelled:
    """Return a training image of four tiles that meet at a random point, at least a quarter of the sides from a border.

    Each tile is a random view of its image, with the tile in place of the network's input. Boxes end at the border of
    their tile. Boxes without area, or with less than min_visible of it, are left out.

    Args:
        images: TILES stored images: for top left, top right, bottom left, bottom right.
        margin: see targets.to_output_boxes.
    """
    height, width = data.output_res
    # Whole cells, so that each tile has its own part of the output map.
    x, y = (int(rng.integers(side // 4, side - side // 4 + 1)) for side in (width, height))
    tiles = [(0, 0, y, x), (0, x, y, width), (y, 0, height, x), (y, x, height, width)]
    canvas = np.empty((*data.input_res_train, 3), np.uint8)
    placed = [_draw_tile(item, tile, canvas, data, rng) for item, tile in zip(images, tiles)]
    boxes, classes = (np.concatenate(parts) for parts in zip(*placed))
    return Labelled(canvas, clip_boxes(boxes, height - margin, width - margin), classes)


def _draw_tile(item: Labelled, tile: tuple[int, int, int, int], canvas: np.ndarray, data: DatasetConfig,
               rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a random view of an image into a tile (top, left, bottom, right in cells). Return its boxes and classes."""
    top, left, bottom, right = tile
    cells = bottom - top, right - left
    size = cells[0] * DOWN_RATIO, cells[1] * DOWN_RATIO
    view = draw_view(rng, item.image.shape[0], item.image.shape[1], dataclasses.replace(data, input_res_train=size))
    canvas[top * DOWN_RATIO:bottom * DOWN_RATIO, left * DOWN_RATIO:right * DOWN_RATIO] = warp(item.image, view, size)
    moved = move_boxes(item.boxes, view.matrix(cells), item.image.shape[1] if view.flip else 0)
    visible = visible_part(moved, *cells)
    kept = (visible > 0) & (visible >= np.where(item.classes < 0, 0, data.min_visible))  # ignored regions stay
    placed = clip_boxes(moved[kept], *cells) + np.array([left, top, left, top], np.float32)
    return placed, item.classes[kept]


def mix(one: Labelled, other: Labelled) -> Labelled:
    """Return the average of two training images, with the boxes of both (mixup with equal weights, as in YOLOX).

    With equal weights both images stay visible, so their boxes need no weights in the loss.
    """
    kept = [(item.boxes[:, 2:] > item.boxes[:, :2]).all(axis=1) for item in (one, other)]
    boxes, classes = (np.concatenate([one[k][kept[0]], other[k][kept[1]]]) for k in (1, 2))
    return Labelled(cv2.addWeighted(one.image, 0.5, other.image, 0.5, 0), boxes, classes)
