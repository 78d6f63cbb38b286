"""Modulated deformable convolution (Zhu et al. 2019, Deformable ConvNets v2)."""
from __future__ import annotations

import copy
from collections.abc import Callable

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, initializer

from centernet.models.deform_backward import ReadPlan, ReadProducts, with_border
from centernet.models.deform_gather import TAPS, deform_by_gathers


class DeformConv(nn.Cell):
    """3x3 modulated deformable convolution, stride 1: (B,Cin,H,W) -> (B,Cout,H,W), with the dtype of the input.

    `offset` is a plain convolution. For each position it predicts the channels
    [x of 9 taps | y of 9 taps | mask logits of 9 taps], with the taps in row order. PyTorch code of this layer has
    (y, x) pairs instead: its channels [1,3,..,17, 0,2,..,16, 18..26], in this order, are the channels here.
    `offset` is initialised with zeros, that is a regular grid whose taps have the weight 0.5.

    Attributes:
        by_gathers: False: the framework's operator, which computes in float32. True: common operators, see
            ReadPlan and ReadProducts; positions are computed in float32.
    """

    by_gathers = False

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.offset = nn.Conv2d(in_channels, 3 * TAPS, 3, pad_mode="pad", padding=1, has_bias=True,
                                weight_init="zeros", bias_init="zeros")
        self.weight = Parameter(initializer(HeNormal(mode="fan_out", nonlinearity="relu"),
                                            (out_channels, in_channels, 3, 3)), name="weight")
        self.bias = Parameter(initializer("zeros", (out_channels,)), name="bias")
        self.plan = ReadPlan()
        self.read = ReadProducts()

    def construct(self, x: Tensor) -> Tensor:
        """Sample x at the moved taps, multiply by the masks, convolve."""
        predicted = ops.cast(self.offset(x), ms.float32)
        if self.by_gathers:
            weights, rows, _, _, _ = self.plan(predicted)
            kernels = ops.cast(_by_taps(self.weight), x.dtype)
            out = self.read(with_border(x), ops.cast(weights, x.dtype), rows, kernels)
            out = ops.reshape(out, (x.shape[0], *x.shape[2:], self.weight.shape[0]))
            return ops.bias_add(ops.transpose(out, (0, 3, 1, 2)), ops.cast(self.bias, x.dtype))
        offsets = ops.concat((predicted[:, :2 * TAPS], ops.sigmoid(predicted[:, 2 * TAPS:])), 1)
        out = ops.deformable_conv2d(ops.cast(x, ms.float32), self.weight, offsets, (3, 3), (1, 1, 1, 1), (1, 1, 1, 1),
                                    bias=self.bias)
        return ops.cast(out, x.dtype)


class GatherDeformConv(nn.Cell):
    """A trained DeformConv for inference with common operators: (B,Cin,H,W) -> (B,Cout,H,W), static shapes.

    Its weight has the form that the computation needs, so that an exported graph contains no rearrangement.
    """

    def __init__(self, layer: DeformConv):
        super().__init__()
        self.offset = layer.offset
        self.weight = Parameter(Tensor(_by_taps(layer.weight).asnumpy()), name="weight")
        self.bias = layer.bias

    def construct(self, x: Tensor) -> Tensor:
        """Multiply by the kernels, then read each tap's product at its moved position."""
        return deform_by_gathers(x, self.offset(x), self.weight, self.bias)


def _by_taps(weight: Tensor) -> Tensor:
    """Rearrange kernels (Cout,Cin,3,3) -> (9*Cout,Cin)."""
    return ops.reshape(ops.transpose(weight, (2, 3, 0, 1)), (TAPS * weight.shape[0], weight.shape[1]))


def choose_deform_op(network: nn.Cell, op: str) -> None:
    """Set how the deformable layers of a network compute. Weights do not change.

    Args:
        network: changed in place, before its first run.
        op: "native", "gather", or "auto": gather on Ascend, native on CPU.
    """
    by_gathers = op == "gather" or (op == "auto" and ms.get_context("device_target") != "CPU")
    for _, cell in network.cells_and_names():
        if isinstance(cell, DeformConv):
            cell.by_gathers = by_gathers


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
