"""Deformable convolution from common operators, for runtimes and chips without the operator DeformableOffsets.

Bilinear sampling and the sum over taps and channels can be exchanged. So each position of the input is first
multiplied by the kernels of all nine taps (one matrix product). Then the products are read at the moved positions,
four corners for each tap. This reads rows of Cout values. Sampling first would read rows of Cin values, and Cin is
larger.
"""
from __future__ import annotations

import copy
from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from centernet.models.deform_conv import TAPS, DeformConv


class GatherDeformConv(nn.Cell):
    """A trained DeformConv with common operators and its weights: (B,Cin,H,W) -> (B,Cout,H,W), static shapes.

    For inference only. The position of a tap is not one float: its whole part is an integer, and its fraction comes
    from the offset alone. So half precision gives the correct position and keeps the fraction, also on large maps.
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

        cells = batch * height * width
        products = self.by_kernels(ops.reshape(ops.transpose(x, (0, 2, 3, 1)), (cells, channels)), self.weight)
        products = ops.reshape(products, (cells * TAPS, self.out_channels))
        read = ops.gather(products, ops.reshape(rows, (cells * 4 * TAPS,)), 0)
        out = self.weighted_sum(ops.reshape(weights, (cells, 1, 4 * TAPS)),
                                ops.reshape(read, (cells, 4 * TAPS, self.out_channels)))
        out = ops.reshape(out, (batch, height, width, self.out_channels)) + self.bias
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


def with_gathers(network: nn.Cell) -> nn.Cell:
    """Return a copy of a network with each DeformConv replaced by a GatherDeformConv.

    Parameters keep their names, but the weights of these layers have another shape.
    """
    return with_deform_layers(network, GatherDeformConv)


def with_deform_layers(network: nn.Cell, make: Callable[[DeformConv], nn.Cell]) -> nn.Cell:
    """Return a copy of a network with each DeformConv (in an nn.SequentialCell) replaced by make(layer).

    The names of the parameters follow from their position in the network.
    """
    network = copy.deepcopy(network)
    for _, cell in list(network.cells_and_names()):
        if isinstance(cell, nn.SequentialCell):
            for index, layer in enumerate(cell):
                if isinstance(layer, DeformConv):
                    cell[index] = make(layer)
    for name, parameter in network.parameters_and_names():
        parameter.name = name
    return network
