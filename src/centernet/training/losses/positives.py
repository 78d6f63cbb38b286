"""More positives of the heatmap loss: cells beside a centre whose predicted box fits (CenterNet2, Zhou et al. 2021).

An object has up to nine candidates: the 3x3 cells around its centre whose point lies inside the box and the map. A
candidate becomes a positive of the object's class if the GIoU loss of its box is below MOST_ERROR and below the ninth
smallest of the object. So of nine candidates, the worst one stays out. The centre is always a positive.
"""
from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, ops

from centernet.config.sections import CELL_POINT
from centernet.training.losses.giou import giou_errors
from centernet.training.losses.heatmap import cell_of

MOST_ERROR = 0.2
CELLS = 9
NO_CANDIDATE = 4.0  # more than any GIoU loss


def fitting_cells(ltrb: Tensor, cls: Tensor, ind: Tensor, wh: Tensor, reg: Tensor, valid: Tensor,
                  num_classes: int) -> Tensor:
    """Return 1 for the positives of each class, 0 for other cells. It has no gradient.

    Args:
        ltrb: (B,4,H,W) float32, the predicted distances from a cell's point to the sides, in cells.
        cls: (B,M) int32 in 0..C-1.
        ind: (B,M) int32, position of the centre in the output map: y * W + x.
        wh: (B,M,2) float32, width and height in output cells.
        reg: (B,M,2) float32, offset of the centre within its cell.
        valid: (B,M), 1 for an object, 0 for an unused slot.
        num_classes: C.

    Returns:
        (B,C,H,W) float32. A cell that several objects of a class claim counts once.
    """
    batch, count = ind.shape
    height, width = ltrb.shape[2:]
    right, down = cell_of(ms.numpy.arange(CELLS), 3)
    right, down = right - 1, down - 1
    x, y = cell_of(ops.expand_dims(ind, 2), width)
    x, y = x + right, y + down
    at = ops.minimum(ops.maximum(x, 0.0), width - 1.0) + width * ops.minimum(ops.maximum(y, 0.0), height - 1.0)
    cells = ops.reshape(ops.cast(at, ms.int32), (batch, 1, count * CELLS))
    predicted = ops.gather_elements(ops.reshape(ltrb, (batch, 4, height * width)), 2, ops.tile(cells, (1, 4, 1)))
    from_center = ops.expand_dims(ops.stack((right, down)), 1) - ops.expand_dims(_coordinates(reg) - CELL_POINT, 3)
    half = ops.expand_dims(_coordinates(wh) * 0.5, 3)
    target = ops.concat((half + from_center, half - from_center), 1)  # (B,4,M,9)
    errors = giou_errors(predicted, ops.reshape(target, (batch, 4, count * CELLS)))
    inside = ops.logical_and(ops.amin(target, 1) > 0, _in_map(x, y, height, width))
    errors = ops.select(inside, ops.reshape(errors, (batch, count, CELLS)), ops.full_like(x, NO_CANDIDATE))
    most = ops.minimum(ops.amax(errors, 2, True), MOST_ERROR)
    center = ops.cast(ops.equal(ops.abs(right) + ops.abs(down), 0.0), ms.float32)
    found = ops.maximum(ops.cast(errors < most, ms.float32), center) * ops.expand_dims(ops.cast(valid, ms.float32), 2)
    first = ops.cast(ops.reshape(ms.numpy.arange(batch), (batch, 1)), ms.int32) * num_classes + ops.cast(cls, ms.int32)
    segments = ops.expand_dims(first * (height * width), 2) + ops.reshape(cells, (batch, count, CELLS))
    total = ops.unsorted_segment_sum(ops.reshape(found, (-1,)), ops.reshape(segments, (-1,)),
                                     batch * num_classes * height * width)
    return ops.stop_gradient(ops.reshape(ops.minimum(total, 1.0), (batch, num_classes, height, width)))


def _coordinates(pairs: Tensor) -> Tensor:
    """Return (B,M,2) as (B,2,M)."""
    return ops.transpose(pairs, (0, 2, 1))


def _in_map(x: Tensor, y: Tensor, height: int, width: int) -> Tensor:
    return ops.logical_and(ops.logical_and(x >= 0, x < width), ops.logical_and(y >= 0, y < height))
