"""The neck of ResNets: three up-convolutions that take a backbone's stride of 32 to 4."""
from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn
from mindspore.common.initializer import HeNormal, initializer

from centernet.models.deform_conv import DeformConv
from centernet.models.resnet import batch_norm, conv


class UpStage(nn.Cell):
    """Optional 3x3 layer, then a doubling of the resolution: (B,Cin,H,W) -> (B,filters,2H,2W).

    Args:
        in_channels: channels of the input.
        filters: channels of the output.
        kind: "none", "conv" or "deform", the 3x3 layer before the up-convolution.
    """

    def __init__(self, in_channels: int, filters: int, kind: str):
        super().__init__()
        self.before = nn.SequentialCell()
        if kind != "none":
            self.before = mixing_layer(in_channels, filters, kind)
            in_channels = filters
        self.up = nn.SequentialCell(up_convolution(in_channels, filters), batch_norm(filters), nn.ReLU())

    def construct(self, x: Tensor) -> Tensor:
        """Mix, then enlarge."""
        return self.up(self.before(x))


def mixing_layer(in_channels: int, out_channels: int, kind: str) -> nn.SequentialCell:
    """3x3 convolution, plain ("conv") or deformable ("deform"), batch norm, ReLU."""
    layer = DeformConv(in_channels, out_channels) if kind == "deform" else conv(in_channels, out_channels, 3)
    return nn.SequentialCell(layer, batch_norm(out_channels), nn.ReLU())


def up_convolution(in_channels: int, out_channels: int) -> nn.Conv2dTranspose:
    """4x4 transposed convolution of stride 2 that starts as bilinear interpolation.

    Each 4x4 kernel is the bilinear one times a He-normal factor, so that the layer
    first mixes channels at random and interpolates exactly. (The paper's code fills
    the kernels of the first output channel only; batch norm hides the difference.)
    """
    mixing = initializer(HeNormal(mode="fan_in", nonlinearity="relu"), (out_channels, in_channels, 1, 1)).init_data()
    kernels = mixing.asnumpy().transpose(1, 0, 2, 3) * bilinear_kernel(2)
    return nn.Conv2dTranspose(in_channels, out_channels, 4, 2, pad_mode="pad", padding=1, has_bias=False,
                              weight_init=Tensor(kernels.astype(np.float32)))


def bilinear_kernel(factor: int) -> np.ndarray:
    """Kernel (2*factor, 2*factor) with which a transposed convolution of stride `factor` interpolates."""
    taps = 1 - np.abs(np.arange(2 * factor) + 0.5 - factor) / factor
    return np.outer(taps, taps)


def build_neck(in_channels: int, filters: tuple[int, ...], kind: str) -> nn.SequentialCell:
    """The up-stages in a row: (B,in_channels,h,w) -> (B,filters[-1],8h,8w) for three filters."""
    inputs = (in_channels, *filters[:-1])
    return nn.SequentialCell(*[UpStage(before, after, kind) for before, after in zip(inputs, filters)])
