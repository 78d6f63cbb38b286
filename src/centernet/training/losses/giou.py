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
    inner, outer = ops.minimum(predicted, target), ops.maximum(predicted, target)
    overlap = _area(ops.maximum(inner[:, :2] + inner[:, 2:], 0.0))
    # Only cells of weight 0 have targets without an area.
    union = ops.maximum(_area(_sides(predicted)) + _area(_sides(target)) - overlap, SMALLEST_AREA)
    enclosing = ops.maximum(_area(_sides(outer)), SMALLEST_AREA)
    return 2.0 - overlap / union - union / enclosing


def _sides(ltrb: Tensor) -> Tensor:
    """Return width and height (B,2,...) of boxes."""
    return ltrb[:, :2] + ltrb[:, 2:]


def _area(sides: Tensor) -> Tensor:
    return sides[:, :1] * sides[:, 1:]
