"""Two pictures of a data set: images with their boxes, and training samples with the heatmaps of their targets."""
from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from centernet.config.schema import Config
from centernet.config.sections import DOWN_RATIO
from centernet.data.coco import CocoDataset, CocoImage
from centernet.data.convert import convert
from centernet.data.orientation import read_annotated
from centernet.data.pipeline import COLUMNS, open_training_data
from centernet.detection.visualize import category_colors, draw_boxes
from centernet.errors import UserError

TILE = (360, 480)   # height and width of an image on a sheet, in pixels
COLUMN_COUNT = 4
IMAGES = 12         # on a sheet
SHARD_IMAGES = 64   # images that the samples are drawn from
PREFIX = "sample.mind"


def choose(images: Sequence[CocoImage], count: int, seed: int) -> list[CocoImage]:
    """Return some images with boxes, in the order of the data set; another seed gives others."""
    labelled = [image for image in images if len(image.boxes)]
    order = np.random.default_rng(seed).permutation(len(labelled))[:count]
    return [labelled[index] for index in sorted(order.tolist())]


def sheet_of_boxes(dataset: CocoDataset, seed: int) -> np.ndarray | None:
    """Return a sheet of images with their boxes, uint8 BGR; None without a usable image. Ignored boxes are grey."""
    tiles = []
    for image in choose(dataset.images, IMAGES, seed):
        try:
            pixels = read_annotated(image.path, image.width, image.height, [])
        except UserError:  # the check of the files says so
            continue
        scale = min(TILE[0] / pixels.shape[0], TILE[1] / pixels.shape[1])
        size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        objects = ~image.ignored
        drawn = draw_boxes(small, image.boxes[objects] * scale, image.classes[objects].tolist(),
                           dataset.categories.names)
        for x1, y1, x2, y2 in (image.boxes[image.ignored] * scale).round().astype(int).tolist():
            cv2.rectangle(drawn, (x1, y1), (x2, y2), (160, 160, 160), 1)
        tiles.append(_padded(drawn, TILE))
    return _grid(tiles)


def sheet_of_samples(dataset: CocoDataset, config: Config) -> np.ndarray | None:
    """Return a sheet of samples of the first epoch, uint8 BGR; None without an image with boxes.

    Some images become shards in a temporary folder, and the training's own input pipeline reads them: the crops,
    colours, heatmaps, sizes and offsets are those that the training gets for these images.
    """
    chosen = choose(dataset.images, SHARD_IMAGES, config.seed)
    if not chosen:
        return None
    count = min(IMAGES, len(chosen))
    with tempfile.TemporaryDirectory(prefix="centernet-check-") as name:
        summary = convert(dataclasses.replace(dataset, images=tuple(chosen)), Path(name), PREFIX, 1)
        data = dataclasses.replace(config.dataset_config, heatmap_on_device=False)
        training = open_training_data(name, PREFIX, data, min(count, len(summary.image_ids)), config.seed,
                                      verify=False, hm_gaussian=config.net_config.hm_gaussian,
                                      margin=config.net_config.margin)
        batch = next(training.epoch(0))
    named = dict(zip(COLUMNS, batch))
    colors = category_colors(training.categories.names)
    tiles = [_sample({key: value[index] for key, value in named.items()}, batch[len(COLUMNS)][index], colors)
             for index in range(len(named["image"]))]
    fitted = [_fitted(tile) for tile in tiles]
    return _grid([_padded(tile, (tile.shape[0], tile.shape[1])) for tile in fitted])


def _sample(target: dict[str, np.ndarray], heatmap: np.ndarray,
            colors: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Return a training image in its training colours, with the heatmap over it and the boxes of the targets."""
    pixels = target["image"].astype(np.float32) @ target["colors"][:, :3].T + target["colors"][:, 3]
    picture = np.clip(pixels, 0, 1) * 160  # darker, so that the peaks are seen
    for index in range(heatmap.shape[0]):
        over = cv2.resize(heatmap[index], pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST)[..., None]
        picture = picture * (1 - 0.8 * over) + 0.8 * over * np.array(colors[index], np.float32)
    drawn = np.ascontiguousarray(picture.astype(np.uint8))
    width = heatmap.shape[2]
    for slot in np.flatnonzero(target["reg_mask"] > 0).tolist():
        y, x = divmod(int(target["ind"][slot]), width)
        center = (np.array([x, y]) + target["reg"][slot]) * DOWN_RATIO
        half = target["wh"][slot] * DOWN_RATIO / 2
        corners = np.concatenate([center - half, center + half]).round().astype(int).tolist()
        cv2.rectangle(drawn, corners[:2], corners[2:], colors[int(target["cls"][slot])], 1)
    return drawn


def _fitted(picture: np.ndarray) -> np.ndarray:
    """Return a sample at the size of a tile. All samples have one size. Enlarged ones keep sharp pixels."""
    scale = TILE[1] / max(picture.shape[:2])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)


def _padded(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    tile = np.full((size[0] + 4, size[1] + 4, 3), 255, np.uint8)
    top, left = (size[0] - picture.shape[0]) // 2, (size[1] - picture.shape[1]) // 2
    tile[2 + top:2 + top + picture.shape[0], 2 + left:2 + left + picture.shape[1]] = picture
    return tile


def _grid(tiles: list[np.ndarray]) -> np.ndarray | None:
    if not tiles:
        return None
    columns = min(COLUMN_COUNT, len(tiles))
    tiles = tiles + [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return np.concatenate([np.concatenate(tiles[row:row + columns], axis=1) for row in range(0, len(tiles), columns)])
