"""Neck of ResNets: three transposed convolutions that bring the features from stride 32 to stride 4."""
from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn
from mindspore.common.initializer import HeNormal, initializer

from centernet.models.deform_conv import DeformConv
from centernet.models.resnet import batch_norm, conv


class UpStage(nn.Cell):
    """Optional 3x3 conv block, then a transposed convolution: (B,Cin,H,W) -> (B,filters,2H,2W).

    Args:
        in_channels: channels of the input.
        filters: channels of the output.
        kind: "none", "conv" or "deform": kind of the 3x3 conv block before the transposed convolution.
    """

    def __init__(self, in_channels: int, filters: int, kind: str):
        super().__init__()
        self.before = nn.SequentialCell()
        if kind != "none":
            self.before = mixing_layer(in_channels, filters, kind)
            in_channels = filters
        self.up = nn.SequentialCell(up_convolution(in_channels, filters), batch_norm(filters), nn.ReLU())

    def construct(self, x: Tensor) -> Tensor:
        """Apply the 3x3 conv block, then enlarge."""
        return self.up(self.before(x))


def mixing_layer(in_channels: int, out_channels: int, kind: str) -> nn.SequentialCell:
    """Build a 3x3 conv block: convolution, plain ("conv") or deformable ("deform"), batch norm, ReLU."""
    layer = DeformConv(in_channels, out_channels) if kind == "deform" else conv(in_channels, out_channels, 3)
    return nn.SequentialCell(layer, batch_norm(out_channels), nn.ReLU())


def up_convolution(in_channels: int, out_channels: int) -> nn.Conv2dTranspose:
    """Build a 4x4 transposed convolution with stride 2, initialised as bilinear interpolation.

    Each 4x4 kernel is the bilinear kernel times a He-normal factor. So the initial layer mixes the channels with
    random weights and interpolates exactly. (The paper's code initialises only the kernels of the first output
    channel; batch norm hides the difference.)
    """
    mixing = initializer(HeNormal(mode="fan_in", nonlinearity="relu"), (out_channels, in_channels, 1, 1)).init_data()
    kernels = mixing.asnumpy().transpose(1, 0, 2, 3) * bilinear_kernel(2)
    return nn.Conv2dTranspose(in_channels, out_channels, 4, 2, pad_mode="pad", padding=1, has_bias=False,
                              weight_init=Tensor(kernels.astype(np.float32)))


def bilinear_kernel(factor: int) -> np.ndarray:
    """Return the kernel (2*factor, 2*factor) for bilinear interpolation by a transposed convolution of that stride."""
    taps = 1 - np.abs(np.arange(2 * factor) + 0.5 - factor) / factor
    return np.outer(taps, taps)


def build_neck(in_channels: int, filters: tuple[int, ...], kind: str) -> nn.SequentialCell:
    """Build the stages in a row: (B,in_channels,h,w) -> (B,filters[-1],8h,8w) for three filters."""
    inputs = (in_channels, *filters[:-1])
    return nn.SequentialCell(*[UpStage(before, after, kind) for before, after in zip(inputs, filters)])
