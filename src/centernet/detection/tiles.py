"""Detection in large images by overlapping tiles, and the rule that makes one box of the boxes of several tiles.

A box is "cut" if it ends at a border of its tile that is not a border of the image: its object may go on in the next
tile. Two boxes of the same class and of different tiles show one object if they overlap enough inside the area that
both tiles see. Then an uncut box replaces a cut one, the better one of two uncut boxes stays, and two cut boxes become
the smallest box around both. Boxes of the same tile are not compared: the detector has done that.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Window = tuple[int, int, int, int]  # x1, y1, x2, y2 of a tile, in pixels of the image

SAME = 0.5        # overlap (intersection over union) of two uncut boxes of one object
SAME_PART = 0.6   # the same with a cut box, as intersection over the smaller box: parts of objects have inexact boxes
MARGIN = 0.01     # of the side of a tile: a box that ends so near to an inner border is cut
LEAST_MARGIN = 4  # pixels, one output cell


def tile_windows(height: int, width: int, tile: int, overlap: float) -> list[Window]:
    """Return tiles that cover an image of height x width pixels, row by row.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        tile: side of a tile in pixels. All tiles have this size, except in an image that is smaller.
        overlap: least share of a tile's side that it has in common with the next tile, 0 to below 1.
    """
    return [(x, y, min(x + tile, width), min(y + tile, height))
            for y in _starts(height, tile, overlap) for x in _starts(width, tile, overlap)]


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    if length <= tile:
        return [0]
    count = math.ceil((length - tile) / max(1, int(tile * (1 - overlap)))) + 1
    return [round(index * (length - tile) / (count - 1)) for index in range(count)]


def detect_tiles(rows: Callable[[np.ndarray], np.ndarray], image: np.ndarray, tile: int, overlap: float) -> np.ndarray:
    """Detect objects in an image tile by tile.

    Args:
        rows: from an image (h, w, 3) to its boxes (N, 6), as Detector.rows.
        image: (h, w, 3) uint8 BGR.
        tile: side of a tile in pixels, see tile_windows.
        overlap: see tile_windows.

    Returns:
        (N, 6) float32 by descending score: x1, y1, x2, y2 in pixels of the image, score, class.
    """
    height, width = image.shape[:2]
    windows = tile_windows(height, width, tile, overlap)
    found = []
    for x1, y1, x2, y2 in windows:
        boxes = np.array(rows(np.ascontiguousarray(image[y1:y2, x1:x2])), np.float32)
        boxes[:, :4] += np.array([x1, y1, x1, y1], np.float32)
        found.append(boxes)
    return merge_tiles(windows, found, height, width)


def merge_tiles(windows: Sequence[Window], found: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Join the boxes of tiles by the rule at the top of this file.

    Args:
        windows: the tiles.
        found: for each tile (N, 6) float32: x1, y1, x2, y2 in pixels of the image, score, class.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Returns:
        (M, 6) float32 by descending score.
    """
    boxes = np.concatenate([np.asarray(rows, np.float32).reshape(-1, 6) for rows in found])
    tiles = np.repeat(np.array(windows, np.float32), [len(rows) for rows in found], axis=0)
    cut = _is_cut(boxes, tiles, height, width)
    order = np.lexsort((-boxes[:, 4], cut))  # uncut boxes first, then by score
    boxes, tiles, cut = boxes[order], tiles[order], cut[order]
    group = np.full(len(boxes), -1)  # position of the box that shows the object; -1: another box replaces this one
    joined = boxes.copy()
    for index in range(len(boxes)):
        same = np.flatnonzero(group[:index] >= 0)
        same = same[_same_object(boxes, tiles, cut, index, same)]
        firsts = np.unique(group[same])
        if len(firsts) and not cut[firsts].all():
            continue
        group[index] = first = min([index, *firsts.tolist()])
        for other in firsts:
            group[group == other] = first
        members = group == first
        joined[first, :2], joined[first, 2:4] = boxes[members, :2].min(axis=0), boxes[members, 2:4].max(axis=0)
    kept = joined[group == np.arange(len(boxes))]
    return kept[np.argsort(-kept[:, 4], kind="stable")]


def _is_cut(boxes: np.ndarray, tiles: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return for each box whether it ends at an inner border of its tile: (N,) bool."""
    sides = np.concatenate([tiles[:, 2:] - tiles[:, :2]] * 2, axis=1)
    margin = np.maximum(sides * MARGIN, LEAST_MARGIN)
    inner = tiles != np.array([0, 0, width, height], np.float32)
    inside = np.concatenate([boxes[:, :2] - tiles[:, :2], tiles[:, 2:] - boxes[:, 2:4]], axis=1)
    return (inner & (inside < margin)).any(axis=1)


def _same_object(boxes: np.ndarray, tiles: np.ndarray, cut: np.ndarray, index: int, others: np.ndarray) -> np.ndarray:
    """Return which of the boxes at the positions `others` show the object of the box at `index`: bool."""
    shared = np.concatenate([np.maximum(tiles[index, :2], tiles[others, :2]),
                             np.minimum(tiles[index, 2:], tiles[others, 2:])], axis=1)
    one, two = _clipped(np.broadcast_to(boxes[index, :4], shared.shape), shared), _clipped(boxes[others, :4], shared)
    common = _area(_clipped(one, two))
    first, second = _area(one), _area(two)
    tiny = np.finfo(np.float32).tiny
    # An object that is not cut is no part of a larger one: it must cover the part of the cut one.
    smaller = np.maximum(np.where(cut[others], np.minimum(first, second), first), tiny)
    union = np.maximum(first + second - common, tiny)
    partly = cut[index] | cut[others]
    enough = np.where(partly, common >= SAME_PART * smaller, common >= SAME * union) & (common > 0)
    elsewhere = (tiles[others] != tiles[index]).any(axis=1)
    return enough & elsewhere & (boxes[others, 5] == boxes[index, 5])


def _clipped(boxes: np.ndarray, area: np.ndarray) -> np.ndarray:
    return np.concatenate([np.maximum(boxes[:, :2], area[:, :2]), np.minimum(boxes[:, 2:4], area[:, 2:4])], axis=1)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[:, 2:4] - boxes[:, :2], 0), axis=1)
