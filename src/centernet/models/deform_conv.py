"""Modulated deformable convolution (Zhu et al. 2019, Deformable ConvNets v2) with the framework's operator."""
from __future__ import annotations

from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, initializer

TAPS = 9  # sampling positions of a 3x3 kernel


class DeformConv(nn.Cell):
    """3x3 modulated deformable convolution, stride 1: (B,Cin,H,W) -> (B,Cout,H,W).

    `offset` is a plain convolution. For each position it predicts the channels
    [x of 9 taps | y of 9 taps | mask logits of 9 taps], with the taps in row order. PyTorch code of this layer has
    (y, x) pairs instead: its channels [1,3,..,17, 0,2,..,16, 18..26], in this order, are the channels here.
    `offset` is initialised with zeros, that is a regular grid whose taps have the weight 0.5.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.offset = nn.Conv2d(in_channels, 3 * TAPS, 3, pad_mode="pad", padding=1, has_bias=True,
                                weight_init="zeros", bias_init="zeros")
        self.weight = Parameter(initializer(HeNormal(mode="fan_out", nonlinearity="relu"),
                                            (out_channels, in_channels, 3, 3)), name="weight")
        self.bias = Parameter(initializer("zeros", (out_channels,)), name="bias")

    def construct(self, x: Tensor) -> Tensor:
        """Sample x at the moved taps, multiply by the masks, convolve."""
        predicted = self.offset(x)
        offsets = ops.concat((predicted[:, :2 * TAPS], ops.sigmoid(predicted[:, 2 * TAPS:])), 1)
        return ops.deformable_conv2d(x, self.weight, offsets, (3, 3), (1, 1, 1, 1), (1, 1, 1, 1), bias=self.bias)
