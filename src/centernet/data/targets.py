"""Training targets of an image: centre positions, offsets, sizes and Gaussian peaks."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from centernet.geometry import ELLIPSE_SHARE, IGNORED, gaussian_radius, transform_points


class Targets(NamedTuple):
    """Targets in M = max_objs slots. Slot k belongs to object k. Dropped boxes and unused slots are zero.

    Ignored regions come after the objects. Their slots have the size and cell of the box, and the reg_mask 0.
    """

    cls: np.ndarray       # (M,) int32, 0..C-1
    radius: np.ndarray    # (M,) int32, output cells
    ind: np.ndarray       # (M,) int32, y * W_out + x of the output cell that contains the centre
    wh: np.ndarray        # (M, 2) float32, width and height in output cells
    reg: np.ndarray       # (M, 2) float32, offset x, y of the centre within its output cell, 0 <= reg < 1
    reg_mask: np.ndarray  # (M,) int32, 1 for a kept box


def to_output_boxes(boxes: np.ndarray, matrix: np.ndarray, flip_width: int, output_res: tuple[int, int],
                    min_visible: float | np.ndarray = 0.0, margin: int = 1) -> np.ndarray:
    """Move boxes from an image to the output map.

    Args:
        boxes: (N, 4) float32 x1, y1, x2, y2 in pixels of the stored image.
        matrix: (2, 3) affine map from the (already mirrored) image to the output map.
        flip_width: the image's width in pixels if the image is mirrored first, otherwise 0.
        output_res: (height, width) of the output map.
        min_visible: boxes with a smaller part of their area on the map become zero; one number, or one of each box.
        margin: cells at the right and bottom border that boxes do not reach: 1 in the paper's code.

    Returns:
        (N, 4) float32 in output cells: the bounding boxes of the four moved corners, clipped to [0, W - margin] x
        [0, H - margin].
    """
    moved = move_boxes(boxes, matrix, flip_width)
    placed = clip_boxes(moved, output_res[0] - margin, output_res[1] - margin)
    if np.any(min_visible):
        placed[visible_part(moved, *output_res) < min_visible] = 0
    return placed


def move_boxes(boxes: np.ndarray, matrix: np.ndarray, flip_width: int) -> np.ndarray:
    """Return boxes moved as in to_output_boxes, but not clipped; (N, 4) float32."""
    x1, y1, x2, y2 = boxes.T
    if flip_width:
        x1, x2 = flip_width - x2 - 1, flip_width - x1 - 1
    corners = np.stack([x1, y1, x2, y1, x1, y2, x2, y2], axis=1).reshape(-1, 4, 2)
    moved = transform_points(corners, matrix)
    return np.concatenate([moved.min(1), moved.max(1)], axis=1)


def clip_boxes(boxes: np.ndarray, height: float, width: float) -> np.ndarray:
    """Return (N, 4) boxes clipped to [0, width] x [0, height]."""
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float32))


def visible_part(boxes: np.ndarray, height: float, width: float) -> np.ndarray:
    """Return the part of each box's area in [0, width] x [0, height], 0..1; 0 for boxes without area."""
    clipped = clip_boxes(boxes, height, width)
    area, inside = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (boxes, clipped))
    return np.divide(inside, area, out=np.zeros_like(area), where=area > 0)


def seen_boxes(boxes: np.ndarray, classes: np.ndarray, max_objs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes and classes for encode: of more than max_objs boxes, only those with area.

    Otherwise boxes outside of the crop take the slots of those that it shows, and these become background. encode
    itself cuts first, as the paper's code does. With at most max_objs boxes each one keeps its slot.

    Args:
        boxes: (N, 4) float32 from to_output_boxes.
        classes: (N,) int32.
    """
    if len(boxes) <= max_objs:
        return boxes, classes
    seen = (boxes[:, 2:] - boxes[:, :2] > 0).all(axis=1)
    return boxes[seen], classes[seen]


def encode(boxes: np.ndarray, classes: np.ndarray, output_res: tuple[int, int], max_objs: int) -> Targets:
    """Compute the targets of clipped boxes on the output map. A box is kept if its width and height are > 0.

    Args:
        boxes: (N, 4) float32 from to_output_boxes; only the first max_objs are used.
        classes: (N,) int32, 0..C-1; ~c (-1 - c) for an ignored region of class c.
        output_res: (height, width) of the output map.
        max_objs: number of slots M.
    """
    if classes.min(initial=0) < 0:
        order = np.argsort(classes < 0, kind="stable")
        boxes, classes = boxes[order], classes[order]
    boxes, classes = boxes[:max_objs], classes[:max_objs]
    sizes = boxes[:, 2:] - boxes[:, :2]
    kept = np.flatnonzero((sizes > 0).all(axis=1))
    centers = ((boxes[:, :2] + boxes[:, 2:]) / 2)[kept]
    # A thin box at the border of the map can round to a centre on the border itself.
    cells = np.minimum(centers.astype(np.int32), np.array(output_res[::-1], np.int32) - 1)
    cls, radius, ind, reg_mask = np.zeros((4, max_objs), np.int32)
    wh, reg = np.zeros((2, max_objs, 2), np.float32)
    targets = Targets(cls, radius, ind, wh, reg, reg_mask)
    ignored = classes[kept] < 0
    targets.cls[kept] = np.where(ignored, ~classes[kept], classes[kept])
    targets.radius[kept] = np.maximum(0, gaussian_radius(*np.ceil(sizes[kept].T[::-1].astype(np.float64))))
    targets.ind[kept] = cells[:, 1] * output_res[1] + cells[:, 0]
    targets.wh[kept] = sizes[kept]
    targets.reg[kept] = centers - cells
    targets.reg_mask[kept] = ~ignored
    return targets


def draw_heatmap(cls: np.ndarray, radius: np.ndarray, ind: np.ndarray, reg_mask: np.ndarray,
                 num_classes: int, height: int, width: int, wh: np.ndarray | None = None,
                 regions: np.ndarray | None = None) -> np.ndarray:
    """Draw a Gaussian peak of value 1 at each centre. Where peaks overlap, the larger value is kept.

    Ignored regions get the value IGNORED, also in place of smaller values of peaks.

    sigma is (2 * radius + 1) / 6, and a peak ends at its radius. The values equal those of the device's version
    (training/losses/heatmap.py) to 1e-5.

    Args:
        cls, radius, ind, reg_mask: (M,) int32 as in Targets, or (B, M) for a batch.
        wh: (M, 2) or (B, M, 2) float32 as in Targets, to draw ellipses (geometry.ELLIPSE_SHARE); None: circles.
        regions: wh of the slots of ignored regions; None: there are none.

    Returns:
        (num_classes, height, width) or (B, num_classes, height, width) float32 in [0, 1].
    """
    # Not np.zeros: only np.empty uses large memory pages, and thousands of small pages cost more time than the drawing.
    heatmap = np.empty((*cls.shape[:-1], num_classes, height, width), np.float32)
    heatmap.fill(0)
    reaches = np.stack([radius, radius], -1) if wh is None else (wh * np.float32(ELLIPSE_SHARE / 2)).astype(np.int32)
    for slot in map(tuple, np.argwhere(reg_mask)):
        right, down = reaches[slot].tolist()
        y, x = divmod(int(ind[slot]), width)
        rows, columns = slice(max(0, y - down), y + down + 1), slice(max(0, x - right), x + right + 1)
        peak = np.outer(_gaussian(down)[rows.start - y + down:height - y + down],
                        _gaussian(right)[columns.start - x + right:width - x + right])
        window = heatmap[slot[:-1]][cls[slot], rows, columns]
        np.maximum(window, peak, out=window)
    if regions is not None:
        _draw_regions(heatmap, cls, ind, reg_mask, regions)
    return heatmap


def _draw_regions(heatmap: np.ndarray, cls: np.ndarray, ind: np.ndarray, reg_mask: np.ndarray, wh: np.ndarray) -> None:
    """Draw ignored regions: slots with a size and without an object."""
    reaches = np.ceil(wh * np.float32(0.5)).astype(np.int32)
    for slot in map(tuple, np.argwhere((reg_mask == 0) & (wh[..., 0] > 0))):
        right, down = reaches[slot].tolist()
        y, x = divmod(int(ind[slot]), heatmap.shape[-1])
        window = heatmap[slot[:-1]][cls[slot], max(0, y - down):y + down + 1, max(0, x - right):x + right + 1]
        np.maximum(window, np.float32(IGNORED), out=window)


def _gaussian(radius: int) -> np.ndarray:
    """Return a (2r+1,) float32 Gaussian with value 1 in the middle. A peak is the outer product of two of them."""
    line = np.arange(-radius, radius + 1)
    return np.exp(-18 / (2 * radius + 1) ** 2 * line ** 2).astype(np.float32)
