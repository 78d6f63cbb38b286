"""Hourglass-104 (Newell et al. 2016; Law and Deng 2018, CornerNet): two stacked hourglasses at stride 4."""
from __future__ import annotations

from mindspore import Tensor, nn, ops

from centernet.models.resnet import BasicBlock, batch_norm, conv, conv_layer

STACKS = 2
CHANNELS = 256  # channels of a stack's input and output
# Channels and residual blocks at strides 4, 8, 16, 32, 64, 128. The number of blocks is that of each part of a level.
WIDTHS = (256, 256, 384, 384, 384, 512)
BLOCKS = (2, 2, 2, 2, 2, 4)


class Hourglass(nn.Cell):
    """One hourglass: it processes features at all coarser sizes. (B,C,H,W) -> (B,C,H,W).

    H and W must be multiples of 2^levels.

    Args:
        widths: channels at this size and at each coarser size.
        blocks: residual blocks at this size and at each coarser size.
    """

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...]):
        super().__init__()
        width, coarse, count = widths[0], widths[1], blocks[0]
        self.keep = residuals([width] * (count + 1))
        self.down = residuals([width, *[coarse] * count], stride=2)
        if len(widths) > 2:
            self.inner = Hourglass(widths[1:], blocks[1:])
        else:
            self.inner = residuals([coarse] * (blocks[1] + 1))
        self.up = residuals([*[coarse] * count, width])

    def construct(self, x: Tensor) -> Tensor:
        """Return the features at this size plus the enlarged features of the coarser sizes."""
        coarse = self.up(self.inner(self.down(x)))
        return self.keep(x) + ops.ResizeNearestNeighbor(x.shape[2:])(coarse)


def residuals(channels: list[int], stride: int = 1) -> nn.SequentialCell:
    """Build residual blocks from each number of channels to the next. The first block has the stride."""
    return nn.SequentialCell(*[BasicBlock(before, after, stride if index == 0 else 1)
                               for index, (before, after) in enumerate(zip(channels, channels[1:]))])


class Hourglass104(nn.Cell):
    """Backbone Hourglass-104: (B,3,H,W) -> features (B,256,H/4,W/4) of each stack. H and W must be multiples of 128.

    The next stack gets the sum of the input and output of the stack before it, each after a 1x1 convolution.
    """

    def __init__(self):
        super().__init__()
        self.stem = nn.SequentialCell(conv_layer(3, 128, 7, 2), BasicBlock(128, CHANNELS, 2))
        self.stacks = nn.CellList([Hourglass(WIDTHS, BLOCKS) for _ in range(STACKS)])
        self.after = nn.CellList([conv_layer(CHANNELS, CHANNELS, 3) for _ in range(STACKS)])
        between = range(STACKS - 1)
        self.from_input = nn.CellList([projection(CHANNELS) for _ in between])
        self.from_output = nn.CellList([projection(CHANNELS) for _ in between])
        self.between = nn.CellList([BasicBlock(CHANNELS, CHANNELS, 1) for _ in between])
        self.relu = nn.ReLU()

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of each stack, beginning with the first stack."""
        x = self.stem(x)
        outputs = ()  # type: tuple[Tensor, ...]
        for index in range(STACKS):
            out = self.after[index](self.stacks[index](x))
            outputs += (out,)
            if index < STACKS - 1:
                x = self.relu(self.from_input[index](x) + self.from_output[index](out))
                x = self.between[index](x)
        return outputs


def projection(channels: int) -> nn.SequentialCell:
    """Build a 1x1 convolution with batch norm."""
    return nn.SequentialCell(conv(channels, channels, 1), batch_norm(channels))
