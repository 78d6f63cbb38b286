"""Deformable convolution from common operators, for runtimes and chips without the operator DeformableOffsets.

Bilinear sampling and the sum over taps and channels can be exchanged. So each position of the input is first
multiplied by the kernels of all nine taps (one matrix product). Then the products are read at the moved positions,
four corners for each tap. This reads rows of Cout values. Sampling first would read rows of Cin values, and Cin is
larger.
"""
from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

TAPS = 9  # sampling positions of a 3x3 kernel
BY_KERNELS = ops.MatMul(transpose_b=True)
WEIGHTED_SUM = ops.BatchMatMul()


def deform_by_gathers(x: Tensor, predicted: Tensor, kernels: Tensor, bias: Tensor) -> Tensor:
    """Convolve a batch at moved taps; all shapes are static.

    The position of a tap is not one float: its whole part is an integer, and its fraction comes from the offset alone.
    So half precision gives the correct position and keeps the fraction, also on large maps.

    Args:
        x: (B,Cin,H,W), any float. Products and their sums have its dtype.
        predicted: (B,27,H,W), see DeformConv. Positions and weights are computed with its dtype.
        kernels: (9*Cout,Cin): the kernels of the first tap for all output channels, those of the second tap, ...
        bias: (Cout,).

    Returns:
        (B,Cout,H,W) with the dtype of x.
    """
    batch, channels, height, width = x.shape
    column, row, first = tap_grid(batch, height, width)
    predicted = ops.transpose(predicted, (0, 2, 3, 1))
    left, right, left_weight, right_weight = corners(column, predicted[:, :, :, :TAPS], width)
    top, bottom, top_weight, bottom_weight = corners(row, predicted[:, :, :, TAPS:2 * TAPS], height)
    mask = ops.sigmoid(predicted[:, :, :, 2 * TAPS:])
    top_weight, bottom_weight = top_weight * mask, bottom_weight * mask
    weights = ops.concat((top_weight * left_weight, top_weight * right_weight,
                          bottom_weight * left_weight, bottom_weight * right_weight), 3)
    # Row numbers in products: position after position, with the taps of one position together.
    left, right = left * TAPS + first, right * TAPS + first
    top, bottom = top * (TAPS * width), bottom * (TAPS * width)
    rows = ops.concat((top + left, top + right, bottom + left, bottom + right), 3)

    cells, out_channels = batch * height * width, bias.shape[0]
    products = BY_KERNELS(ops.reshape(ops.transpose(x, (0, 2, 3, 1)), (cells, channels)), ops.cast(kernels, x.dtype))
    products = ops.reshape(products, (cells * TAPS, out_channels))
    read = ops.gather(products, ops.reshape(rows, (cells * 4 * TAPS,)), 0)
    out = WEIGHTED_SUM(ops.reshape(ops.cast(weights, x.dtype), (cells, 1, 4 * TAPS)),
                       ops.reshape(read, (cells, 4 * TAPS, out_channels)))
    out = ops.reshape(out, (batch, height, width, out_channels)) + ops.cast(bias, x.dtype)
    return ops.transpose(out, (0, 3, 1, 2))


@ops.constexpr
def tap_grid(batch: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the unmoved positions of the nine taps.

    Returns:
        column (1,1,W,9) float32 and row (1,H,1,9) float32 of each tap; first (B,1,1,9) int32: the row of the products
        with a tap of an image's first position.
    """
    tap = np.arange(TAPS)
    column = np.arange(width)[None, None, :, None] + tap % 3 - 1
    row = np.arange(height)[None, :, None, None] + tap // 3 - 1
    first = np.arange(batch)[:, None, None, None] * (height * width * TAPS) + tap
    return Tensor(column.astype(np.float32)), Tensor(row.astype(np.float32)), Tensor(first.astype(np.int32))


def corners(position: Tensor, offset: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the two neighbours of position + offset along one axis, and their weights in linear interpolation.

    Args:
        position: whole numbers, float32, broadcast against offset.
        offset: (B,H,W,9) float32, any value.
        size: length of the axis; values outside of it are zero.

    Returns:
        lower and upper neighbour, int32, moved into 0..size-1; their weights, 0 for a neighbour that was moved.
    """
    whole = ops.floor(offset)
    fraction = offset - whole
    lower = position + whole
    upper = lower + 1.0
    lower_inside = ops.minimum(ops.maximum(lower, 0.0), size - 1.0)
    upper_inside = ops.minimum(ops.maximum(upper, 0.0), size - 1.0)
    lower_weight = (1.0 - fraction) * ops.cast(ops.equal(lower_inside, lower), ms.float32)
    upper_weight = fraction * ops.cast(ops.equal(upper_inside, upper), ms.float32)
    return ops.cast(lower_inside, ms.int32), ops.cast(upper_inside, ms.int32), lower_weight, upper_weight
