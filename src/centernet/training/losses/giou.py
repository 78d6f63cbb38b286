"""Generalised intersection over union of boxes that are distances from one point to their sides.

GIoU = I / U - (C - U) / C (Rezatofighi et al. 2019): intersection I, union U, smallest enclosing box C.
"""
from __future__ import annotations

from mindspore import Tensor, ops

SMALLEST_AREA = 1e-6  # in cells; boxes with a weight have at least one pixel


def giou_errors(predicted: Tensor, target: Tensor) -> Tensor:
    """Return 1 - GIoU of pairs of boxes, 0..2.

    Args:
        predicted: (B,4,...) float32, distances from a point to the left, top, right and bottom side, at least 0.
        target: the same of the true box; negative if the point is outside of it.

    Returns:
        (B,1,...) float32.
    """
    overlap, union = _overlap_and_union(predicted, target)
    enclosing = ops.maximum(_area(_sides(ops.maximum(predicted, target))), SMALLEST_AREA)
    return 2.0 - overlap / union - union / enclosing


def ious(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the IoU of pairs of boxes, 0..1. Arguments and shapes: as giou_errors."""
    overlap, union = _overlap_and_union(predicted, target)
    return overlap / union


def _overlap_and_union(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the areas of intersection and union, (B,1,...)."""
    overlap = _area(ops.maximum(_sides(ops.minimum(predicted, target)), 0.0))
    # Only cells of weight 0 have targets without an area.
    return overlap, ops.maximum(_area(_sides(predicted)) + _area(_sides(target)) - overlap, SMALLEST_AREA)


def _sides(ltrb: Tensor) -> Tensor:
    """Return width and height (B,2,...) of boxes."""
    return ltrb[:, :2] + ltrb[:, 2:]


def _area(sides: Tensor) -> Tensor:
    return sides[:, :1] * sides[:, 1:]
