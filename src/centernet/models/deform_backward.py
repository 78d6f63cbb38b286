"""Deformable convolution by gathers for training: few operators, with a backward pass of its own.

A device starts operators one by one. So the two axes and the four corners of a tap are computed together, and two cells
of zeros around the products take the place of all questions whether a corner is inside: beyond the border, values and
gradients are zero by themselves. The backward pass computes the products and reads them a second time, because what is
read takes gigabytes.
"""
from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops.operations._grad_ops import SigmoidGrad  # also in MindSpore 2.0, for MINDIR files of Lite 2.0

from centernet.models.deform_gather import BY_KERNELS, TAPS, WEIGHTED_SUM

# Cells of zeros. A position outside is moved to 2 cells before or 1 behind the map: it and its neighbours read zeros.
BORDER = 2
CORNERS = 4
OF_LOGITS = SigmoidGrad()
TIMES = ops.MatMul()
OF_KERNELS = ops.MatMul(transpose_a=True)
TIMES_TRANSPOSED = ops.BatchMatMul(transpose_b=True)
TRANSPOSED_TIMES = ops.BatchMatMul(transpose_a=True)
AROUND = ops.Pad(((0, 0), (BORDER, BORDER), (BORDER, BORDER), (0, 0)))
SUM = ops.ReduceSum(keep_dims=True)
SWAP = ops.ReverseV2(axis=[3])
# Share of each corner along x and y: SHARE + SIGN * fraction. Corners in the order of rows.
SIGN = Tensor(np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32)[:, :, None])
SHARE = Tensor(np.array([[1, 1], [0, 1], [1, 0], [0, 0]], np.float32)[:, :, None])
OTHER_SIGN = Tensor(np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], np.float32)[:, :, None])


class ReadPlan(nn.Cell):
    """Rows to read for each tap, and their weights.

    construct: predicted (B,27,H,W) float32, see DeformConv -> (weights, rows, pairs, shares, mask) with N = H * W:
    weights (B,N,1,36) float32 and rows (B,N,36) int32 of the products of a map with a border; the others are for the
    backward pass. Axes inside: image, cell, corner, x and y, tap.
    """

    def construct(self, predicted: Tensor) -> tuple[Tensor, ...]:
        """Return weights, rows, pairs, shares and mask."""
        batch, _, height, width = predicted.shape
        cells = height * width
        regular, limit, stride, first = grid(batch, height, width)
        predicted = ops.transpose(ops.reshape(predicted, (batch, 1, 3, TAPS, cells)), (0, 4, 1, 2, 3))
        position = ops.minimum(ops.maximum(predicted[:, :, :, :2] + regular, -2.0), limit)
        whole = ops.floor(position)
        # Whole numbers below 2 ** 24, so the sum is exact.
        start = ops.cast(SUM(whole * stride, 3), ms.int32)
        rows = ops.reshape(start + first, (batch, cells, CORNERS * TAPS))
        shares = SHARE + SIGN * (position - whole)
        pairs = shares[:, :, :, :1] * shares[:, :, :, 1:]
        mask = ops.sigmoid(predicted[:, :, :, 2:])
        return ops.reshape(pairs * mask, (batch, cells, 1, CORNERS * TAPS)), rows, pairs, shares, mask

    def bprop(self, predicted: Tensor, out: tuple[Tensor, ...], dout: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return the gradient to predicted."""
        _, _, pairs, shares, mask = out
        of_weights = ops.reshape(dout[0], pairs.shape)
        of_mask = OF_LOGITS(mask, SUM(of_weights * pairs, 2))
        # The share along x goes into the gradient of y, and the other way round.
        of_axes = SWAP(SUM(of_weights * mask * shares * OTHER_SIGN, 2))
        joined = ops.transpose(ops.concat((of_axes, of_mask), 3), (0, 2, 3, 4, 1))
        return (ops.reshape(joined, predicted.shape),)


class ReadProducts(nn.Cell):
    """Weighted sum of the products of kernels and cells.

    construct: cells (P,Cin) with their border, see with_border; weights (B,N,1,36) and rows (B,N,36), see ReadPlan;
    kernels (9*Cout,Cin), those of the first tap first -> (B,N,1,Cout). All but rows have one dtype.
    """

    def construct(self, cells: Tensor, weights: Tensor, rows: Tensor, kernels: Tensor) -> Tensor:
        """Multiply, read, add up."""
        return WEIGHTED_SUM(weights, _read(cells, rows, kernels))

    def bprop(self, cells: Tensor, weights: Tensor, rows: Tensor, kernels: Tensor, out: Tensor,
              dout: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients to cells, weights, rows (none) and kernels."""
        # Without this order the compiler would keep the products of the forward pass.
        of_weights = TIMES_TRANSPOSED(dout, _read(ops.depend(cells, dout), rows, kernels))
        of_products = ops.unsorted_segment_sum(TRANSPOSED_TIMES(weights, dout), rows, cells.shape[0] * TAPS)
        of_products = ops.reshape(of_products, (cells.shape[0], kernels.shape[0]))
        return TIMES(of_products, kernels), of_weights, ops.zeros_like(rows), OF_KERNELS(of_products, cells)


def with_border(x: Tensor) -> Tensor:
    """Return the cells of maps (B,C,H,W) and of the border around them, (B*(H+4)*(W+4),C)."""
    return ops.reshape(AROUND(ops.transpose(x, (0, 2, 3, 1))), (-1, x.shape[1]))


def _read(cells: Tensor, rows: Tensor, kernels: Tensor) -> Tensor:
    """Return the rows (B,N,36,Cout) of the products of cells and kernels."""
    products = ops.reshape(BY_KERNELS(cells, kernels), (-1, kernels.shape[0] // TAPS))
    return ops.gather(products, rows, 0)


@ops.constexpr
def grid(batch: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return constants of ReadPlan.

    Returns:
        regular (1,N,1,2,9) float32: column and row of the unmoved taps of each cell; limit (2,1) float32: the largest
        column and row; stride (2,1) float32: distance of neighbouring columns and rows of cells, in rows of products;
        first (B,1,4,1,9) int32: row of each corner and tap for column 0 and row 0 of an image.
    """
    tap, along = np.arange(TAPS), width + 2 * BORDER
    columns = np.tile(np.arange(width), height)[:, None] + tap % 3 - 1
    rows = np.repeat(np.arange(height), width)[:, None] + tap // 3 - 1
    image = np.arange(batch)[:, None, None, None, None] * ((height + 2 * BORDER) * along)
    corner = np.array([0, 1, along, along + 1])[:, None, None]
    first = (image + (BORDER * along + BORDER) + corner) * TAPS + tap
    return (Tensor(np.stack((columns, rows), 1)[None, :, None].astype(np.float32)),
            Tensor(np.array([[width], [height]], np.float32)),
            Tensor(np.array([[TAPS], [TAPS * along]], np.float32)), Tensor(first.astype(np.int32)))
