"""Deformable convolution without its operator, for runtimes and chips that lack DeformableOffsets.

The sum over taps and channels commutes with bilinear sampling: each cell of the
input is first multiplied by the kernels of all nine taps (one matrix product), and
the results are then read at the moved positions, four corners a tap. Compared with
sampling first, rows of Cout instead of Cin values are moved, and Cin is the larger.
"""
from __future__ import annotations

import copy
from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from centernet.models.deform_conv import TAPS, DeformConv


class GatherDeformConv(nn.Cell):
    """A trained DeformConv in portable operators, with its weights: (B,Cin,H,W) -> (B,Cout,H,W), static shapes.

    Inference only. The position of a tap is never held as one float: whole cells are
    integers and the fraction is the offset's own, so half precision costs neither
    a wrong cell nor, on large maps, the fraction.
    """

    def __init__(self, layer: DeformConv):
        super().__init__()
        out_channels, in_channels = layer.weight.shape[:2]
        kernels = layer.weight.asnumpy().transpose(2, 3, 0, 1).reshape(TAPS * out_channels, in_channels)
        self.offset = layer.offset
        self.weight = Parameter(Tensor(kernels), name="weight")
        self.bias = layer.bias
        self.out_channels = out_channels
        self.by_kernels = ops.MatMul(transpose_b=True)
        self.weighted_sum = ops.BatchMatMul()

    def construct(self, x: Tensor) -> Tensor:
        """Multiply by the kernels, then read each tap's product at its moved position."""
        batch, channels, height, width = x.shape
        column, row, first = tap_grid(batch, height, width)
        predicted = ops.transpose(self.offset(x), (0, 2, 3, 1))
        left, right, left_share, right_share = corners(column, predicted[:, :, :, :TAPS], width)
        top, bottom, top_share, bottom_share = corners(row, predicted[:, :, :, TAPS:2 * TAPS], height)
        mask = ops.sigmoid(predicted[:, :, :, 2 * TAPS:])
        top_share, bottom_share = top_share * mask, bottom_share * mask
        shares = ops.concat((top_share * left_share, top_share * right_share,
                             bottom_share * left_share, bottom_share * right_share), 3)
        # Rows of the products: cell after cell, and the taps of one cell together.
        left, right = left * TAPS + first, right * TAPS + first
        top, bottom = top * (TAPS * width), bottom * (TAPS * width)
        rows = ops.concat((top + left, top + right, bottom + left, bottom + right), 3)

        cells = batch * height * width
        products = self.by_kernels(ops.reshape(ops.transpose(x, (0, 2, 3, 1)), (cells, channels)), self.weight)
        products = ops.reshape(products, (cells * TAPS, self.out_channels))
        read = ops.gather(products, ops.reshape(rows, (cells * 4 * TAPS,)), 0)
        out = self.weighted_sum(ops.reshape(shares, (cells, 1, 4 * TAPS)),
                                ops.reshape(read, (cells, 4 * TAPS, self.out_channels)))
        out = ops.reshape(out, (batch, height, width, self.out_channels)) + self.bias
        return ops.transpose(out, (0, 3, 1, 2))


@ops.constexpr
def tap_grid(batch: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Unmoved positions of the nine taps: column (1,1,W,9) and row (1,H,1,9) float32, first (B,1,1,9) int32.

    first is the row of the products that holds a tap of an image's first cell.
    """
    tap = np.arange(TAPS)
    column = np.arange(width)[None, None, :, None] + tap % 3 - 1
    row = np.arange(height)[None, :, None, None] + tap // 3 - 1
    first = np.arange(batch)[:, None, None, None] * (height * width * TAPS) + tap
    return Tensor(column.astype(np.float32)), Tensor(row.astype(np.float32)), Tensor(first.astype(np.int32))


def corners(position: Tensor, offset: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The two cells around position + offset along one axis, and their shares in linear interpolation.

    Args:
        position: whole cells, float32, broadcast against offset.
        offset: (B,H,W,9) float32, any value.
        size: cells of the axis; outside lie zeros.

    Returns:
        lower, upper cell, int32, moved into 0..size-1; their shares, 0 for a cell that had to be moved.
    """
    whole = ops.floor(offset)
    fraction = offset - whole
    lower = position + whole
    upper = lower + 1.0
    lower_inside = ops.minimum(ops.maximum(lower, 0.0), size - 1.0)
    upper_inside = ops.minimum(ops.maximum(upper, 0.0), size - 1.0)
    lower_share = (1.0 - fraction) * ops.cast(ops.equal(lower_inside, lower), ms.float32)
    upper_share = fraction * ops.cast(ops.equal(upper_inside, upper), ms.float32)
    return ops.cast(lower_inside, ms.int32), ops.cast(upper_inside, ms.int32), lower_share, upper_share


def with_gathers(network: nn.Cell) -> nn.Cell:
    """A copy of a network with each DeformConv (they stand in SequentialCells) as a GatherDeformConv.

    Parameters keep their names; the shapes of the layers' weights differ.
    """
    return with_deform_layers(network, GatherDeformConv)


def with_deform_layers(network: nn.Cell, make: Callable[[DeformConv], nn.Cell]) -> nn.Cell:
    """A copy of a network with make(layer) in the place of each DeformConv; parameters are named by their place."""
    network = copy.deepcopy(network)
    for _, cell in list(network.cells_and_names()):
        if isinstance(cell, nn.SequentialCell):
            for index, layer in enumerate(cell):
                if isinstance(layer, DeformConv):
                    cell[index] = make(layer)
    for name, parameter in network.parameters_and_names():
        parameter.name = name
    return network
