"""Hourglass-104 (Newell et al. 2016; Law and Deng 2018, CornerNet): two stacked hourglasses at stride 4."""
from __future__ import annotations

from mindspore import Tensor, nn, ops

from centernet.models.resnet import BasicBlock, batch_norm, conv, conv_layer

STACKS = 2
CHANNELS = 256  # of what goes in and comes out of a stack
# Channels and residual blocks at strides 4, 8, 16, 32, 64, 128; the blocks at a stride are those of each of its parts.
WIDTHS = (256, 256, 384, 384, 384, 512)
BLOCKS = (2, 2, 2, 2, 2, 4)


class Hourglass(nn.Cell):
    """Features mixed at all coarser sizes: (B,C,H,W) -> (B,C,H,W); H and W are multiples of 2^levels.

    Args:
        widths: channels here and at each coarser size.
        blocks: residual blocks likewise.
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
        """The features at this size plus what comes back from the coarser ones."""
        coarse = self.up(self.inner(self.down(x)))
        return self.keep(x) + ops.ResizeNearestNeighbor(x.shape[2:])(coarse)


def residuals(channels: list[int], stride: int = 1) -> nn.SequentialCell:
    """Residual blocks between one number of channels and the next; the first block has the stride."""
    return nn.SequentialCell(*[BasicBlock(before, after, stride if index == 0 else 1)
                               for index, (before, after) in enumerate(zip(channels, channels[1:]))])


class Hourglass104(nn.Cell):
    """Features of each stack: (B,3,H,W) -> STACKS x (B,256,H/4,W/4); H and W are multiples of 128.

    Between two stacks their input and output are added after a 1x1 convolution of each.
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
        """Features, the first stack's first."""
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
    """1x1 convolution and batch norm."""
    return nn.SequentialCell(conv(channels, channels, 1), batch_norm(channels))
