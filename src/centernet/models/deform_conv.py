"""Modulated deformable convolution (Zhu et al. 2019, Deformable ConvNets v2) on the framework's operator."""
from __future__ import annotations

from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, initializer

TAPS = 9  # of a 3x3 kernel


class DeformConv(nn.Cell):
    """3x3 modulated deformable convolution, stride 1: (B,Cin,H,W) -> (B,Cout,H,W).

    `offset` is a plain convolution that predicts, for each cell, the channels
    [x of 9 taps | y of 9 taps | mask logits of 9 taps], taps row by row. PyTorch
    code of this layer interleaves (y, x) pairs instead, so that its channels
    [1,3,..,17, 0,2,..,16, 18..26] become ours. It starts as zeros: a regular grid
    whose taps count half.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.offset = nn.Conv2d(in_channels, 3 * TAPS, 3, pad_mode="pad", padding=1, has_bias=True,
                                weight_init="zeros", bias_init="zeros")
        self.weight = Parameter(initializer(HeNormal(mode="fan_out", nonlinearity="relu"),
                                            (out_channels, in_channels, 3, 3)), name="weight")
        self.bias = Parameter(initializer("zeros", (out_channels,)), name="bias")

    def construct(self, x: Tensor) -> Tensor:
        """Sample x at the moved taps, weigh by the masks, convolve."""
        predicted = self.offset(x)
        offsets = ops.concat((predicted[:, :2 * TAPS], ops.sigmoid(predicted[:, 2 * TAPS:])), 1)
        return ops.deformable_conv2d(x, self.weight, offsets, (3, 3), (1, 1, 1, 1), (1, 1, 1, 1), bias=self.bias)
