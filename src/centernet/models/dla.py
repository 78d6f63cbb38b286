"""DLA-34 (Yu et al. 2018, Deep Layer Aggregation), and CenterNet's two upsampling necks for it."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mindspore import Tensor, nn, ops

from centernet.models.resnet import BasicBlock, batch_norm, conv, conv_layer
from centernet.models.upsample import bilinear_kernel, mixing_layer

WIDTHS = (64, 128, 256)  # channels at strides 4, 8, 16; the next coarser stride always has twice as many


class Tree(nn.Cell):
    """Two residual blocks, and a 1x1 convolution (root) over their results: (B,Cin,H,W) -> (B,Cout,H/stride,W/stride).

    Args:
        in_channels, out_channels, stride: of the first block; with stride 2 its shortcut is pooled, then projected.
        shortcut_channels: channels of the shortcut inputs, which go directly to the root.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, shortcut_channels: int = 0):
        super().__init__()
        shortcut = None
        if stride > 1:
            project = nn.SequentialCell(conv(in_channels, out_channels, 1), batch_norm(out_channels))
            shortcut = nn.SequentialCell(nn.MaxPool2d(stride, stride), project)
        self.tree1 = BasicBlock(in_channels, out_channels, stride, shortcut)
        self.tree2 = BasicBlock(out_channels, out_channels, 1)
        self.root = conv_layer(2 * out_channels + shortcut_channels, out_channels, 1)

    def construct(self, x: Tensor, shortcut_inputs: tuple[Tensor, ...] = ()) -> Tensor:
        """Merge the results of both blocks and the shortcut inputs."""
        first = self.tree1(x)
        return self.root(ops.concat((self.tree2(first), first) + shortcut_inputs, 1))


class DoubleTree(nn.Cell):
    """Two trees in a row. The root of the second tree also gets the pooled input and the result of the first tree."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.pool = nn.MaxPool2d(2, 2)
        self.tree1 = Tree(in_channels, out_channels, 2)
        self.tree2 = Tree(out_channels, out_channels, shortcut_channels=in_channels + out_channels)

    def construct(self, x: Tensor) -> Tensor:
        """Return features (B,Cin,H,W) -> (B,Cout,H/2,W/2)."""
        first = self.tree1(x)
        return self.tree2(first, (self.pool(x), first))


class DLA34(nn.Cell):
    """Backbone DLA-34: (B,3,H,W) -> (B,64,H/4,W/4), (B,128,H/8,W/8), (B,256,H/16,W/16), (B,512,H/32,W/32).

    H and W must be multiples of 32: for an odd size, a pooling would round down, but a convolution rounds up.
    """

    def __init__(self):
        super().__init__()
        self.base_layer = conv_layer(3, 16, 7)
        self.level0 = conv_layer(16, 16, 3)
        self.level1 = conv_layer(16, 32, 3, 2)
        self.level2 = Tree(32, 64, 2)
        self.level3 = DoubleTree(64, 128)
        self.level4 = DoubleTree(128, 256)
        self.level5 = Tree(256, 512, 2, shortcut_channels=256)
        self.pool = nn.MaxPool2d(2, 2)
        self.out_channels = 2 * WIDTHS[-1]

    def stages(self) -> list[list[nn.Cell]]:
        """Return the layers of the stem (strides 1 and 2) and of each stage (strides 4 to 32), in this order."""
        return [[self.base_layer, self.level0, self.level1], [self.level2], [self.level3], [self.level4],
                [self.level5]]

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features, with the finest first."""
        stride4 = self.level2(self.level1(self.level0(self.base_layer(x))))
        stride8 = self.level3(stride4)
        stride16 = self.level4(stride8)
        return stride4, stride8, stride16, self.level5(stride16, (self.pool(stride16),))


class Merge(nn.Cell):
    """Merge coarse features into fine features: change their channels and size, then add or concatenate.

    Args:
        proj: layer that changes the channels of the coarse features.
        up: layer that enlarges the coarse features.
        node: layer on the sum, or on the concatenation, of both.
        side_by_side: concatenate instead of adding.
    """

    def __init__(self, proj: nn.Cell, up: nn.Cell, node: nn.Cell, side_by_side: bool):
        super().__init__()
        self.proj = proj
        self.up = up
        self.node = node
        self.side_by_side = side_by_side

    def construct(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return the merged features, in the shape of the fine features."""
        coarse = self.up(self.proj(coarse))
        return self.node(ops.concat((fine, coarse), 1) if self.side_by_side else fine + coarse)


class Aggregation(nn.Cell):
    """Iterative deep aggregation: merge coarser features, one after the other, into the finest ones.

    Args:
        merges: one for each of the features except the first.
    """

    def __init__(self, merges: list[Merge]):
        super().__init__()
        self.merges = nn.CellList(merges)

    def construct(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the first features, and the result after each merge; all have the shape of the first features."""
        results = (features[0],)  # type: tuple[Tensor, ...]
        for index, merge in enumerate(self.merges):
            results += (merge(results[-1], features[index + 1]),)
        return results


class DLANeck(nn.Cell):
    """Neck: DLA34's features -> (B,64,H/4,W/4). Aggregations at stride 16, 8 and 4 each merge all coarser features.

    Args:
        ida: the three aggregations.
        last: an aggregation of their three results.
    """

    def __init__(self, ida: list[Aggregation], last: Aggregation):
        super().__init__()
        self.ida = nn.CellList(ida)
        self.last = last

    def construct(self, levels: tuple[Tensor, ...]) -> Tensor:
        """Return the features at stride 4."""
        coarser = (levels[3],)  # type: tuple[Tensor, ...]
        results = ()  # type: tuple[Tensor, ...]
        for index, ida in enumerate(self.ida):
            coarser = ida((levels[2 - index],) + coarser)
            results = (coarser[-1],) + results
        return self.last(results)[-1]


def build_dla_neck(kind: str) -> DLANeck:
    """Build the neck of the paper's final DLA-34: 3x3 conv blocks ("deform" or "conv") on sums."""
    def merge(channels: int, out_channels: int, factor: int = 2) -> Merge:
        return Merge(mixing_layer(channels, out_channels, kind), enlarge(out_channels, factor),
                     mixing_layer(out_channels, out_channels, kind), side_by_side=False)

    fine = WIDTHS[0]
    return DLANeck(_towards_stride_4(merge), Aggregation([merge(WIDTHS[1], fine, 2), merge(WIDTHS[2], fine, 4)]))


def build_dla_v0_neck() -> DLANeck:
    """Build the neck of the paper's first DLA-34: 1x1 projections, and 3x3 convolutions on concatenated features."""
    def merge(channels: int, out_channels: int) -> Merge:
        return Merge(conv_layer(channels, out_channels, 1), enlarge(out_channels, 2),
                     conv_layer(2 * out_channels, out_channels, 3), side_by_side=True)

    return DLANeck(_towards_stride_4(merge), Aggregation([]))


def _towards_stride_4(merge: Callable[[int, int], Merge]) -> list[Aggregation]:
    """Return aggregations at stride 16, 8, 4. The merged features have twice the channels and half the size."""
    return [Aggregation([merge(2 * width, width) for _ in range(count)])
            for count, width in enumerate(reversed(WIDTHS), 1)]


def enlarge(channels: int, factor: int) -> nn.Conv2dTranspose:
    """Build a transposed convolution that enlarges each channel by itself, initialised as bilinear interpolation."""
    kernels = np.tile(bilinear_kernel(factor).astype(np.float32), (channels, 1, 1, 1))
    return nn.Conv2dTranspose(channels, channels, 2 * factor, factor, pad_mode="pad", padding=factor // 2,
                              group=channels, has_bias=False, weight_init=Tensor(kernels))
