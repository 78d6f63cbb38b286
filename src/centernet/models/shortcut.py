"""Neck with shortcuts: features of four strides meet at stride 4 (Liu et al. 2020, Training-Time-Friendly Network)."""
from __future__ import annotations

from mindspore import Tensor, nn
from mindspore.common.initializer import HeNormal

from centernet.models.dla import enlarge
from centernet.models.upsample import mixing_layer


class ShortcutStage(nn.Cell):
    """Enlarge coarse features and add finer ones: (B,Cin,H,W), (B,Cfine,2H,2W) -> (B,filters,2H,2W).

    Args:
        in_channels, fine_channels: channels of the two inputs.
        filters: channels of the output.
        kind: "conv" or "deform": the 3x3 convolution of the coarse features, see mixing_layer.
    """

    def __init__(self, in_channels: int, fine_channels: int, filters: int, kind: str):
        super().__init__()
        self.mix = mixing_layer(in_channels, filters, kind)
        self.up = bilinear(filters)
        self.shortcut = nn.SequentialCell(convolution(fine_channels, filters, 1), nn.ReLU(),
                                          convolution(filters, filters, 3))

    def construct(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return the sum."""
        return self.up(self.mix(coarse)) + self.shortcut(fine)


def convolution(in_channels: int, out_channels: int, size: int) -> nn.Conv2d:
    """Build a convolution with bias that keeps height and width."""
    return nn.Conv2d(in_channels, out_channels, size, pad_mode="pad", padding=size // 2, has_bias=True,
                     weight_init=HeNormal(mode="fan_out", nonlinearity="relu"), bias_init="zeros")


def bilinear(channels: int) -> nn.Conv2dTranspose:
    """Build a bilinear enlargement by 2: (B,C,H,W) -> (B,C,2H,2W), without anything to learn.

    The middle of output j lies at (j + 1/2) / 2 - 1/2 of the input (half-pixel centres); beyond the border is zero. It
    is a transposed convolution of each channel by itself.
    """
    layer = enlarge(channels, 2)
    layer.weight.requires_grad = False
    return layer


class ShortcutNeck(nn.Cell):
    """Neck: features at stride 4, 8, 16, 32 -> (B,filters[-1],H,W) at stride 4.

    Args:
        in_channels: channels at stride 32; each finer stride has half as many.
        filters: channels after each of the three enlargements.
        kind: as for ShortcutStage.
    """

    def __init__(self, in_channels: int, filters: tuple[int, ...], kind: str):
        super().__init__()
        inputs = (in_channels, *filters[:-1])
        self.stages = nn.CellList([
            ShortcutStage(before, in_channels // 2 ** (index + 1), after, kind)
            for index, (before, after) in enumerate(zip(inputs, filters))])

    def construct(self, levels: tuple[Tensor, ...]) -> Tensor:
        """Return the features at stride 4. The levels begin with the finest."""
        x = levels[3]
        for index, stage in enumerate(self.stages):
            x = stage(x, levels[2 - index])
        return x
