"""ResNet backbones (He et al. 2016) in torchvision's layout, so that its ImageNet weights can be loaded.

In bottlenecks, the 3x3 convolution has the stride. The parameters have torchvision's names: conv1, bn1,
layer1.0.conv1, layer1.0.downsample.0, ...
"""
from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn
from mindspore.common.initializer import HeNormal

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3),
          "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Build a convolution without bias, with padding kernel // 2 and He-normal weights."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, pad_mode="pad", padding=kernel // 2, has_bias=False,
                     weight_init=HeNormal(mode="fan_out", nonlinearity="relu"))


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Build a batch norm with PyTorch's defaults (its momentum 0.1 corresponds to 0.9 here)."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.9)


def conv_layer(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.SequentialCell:
    """Build a convolution with batch norm and ReLU."""
    return nn.SequentialCell(conv(in_channels, out_channels, kernel, stride), batch_norm(out_channels), nn.ReLU())


class BasicBlock(nn.Cell):
    """Two 3x3 convolutions and a shortcut: (B,Cin,H,W) -> (B,width,H/stride,W/stride).

    If the caller gives no `downsample`, shortcut() builds the shortcut.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, downsample: nn.Cell | None = None):
        super().__init__()
        self.conv1 = conv(in_channels, width, 3, stride)
        self.bn1 = batch_norm(width)
        self.conv2 = conv(width, width, 3)
        self.bn2 = batch_norm(width)
        self.relu = nn.ReLU()
        self.downsample = shortcut(in_channels, width, stride) if downsample is None else downsample

    def construct(self, x: Tensor) -> Tensor:
        """Return ReLU(residual + shortcut)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self.downsample(x))


class Bottleneck(nn.Cell):
    """1x1, 3x3, 1x1 convolutions and a shortcut: (B,Cin,H,W) -> (B,4*width,H/stride,W/stride)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        self.conv1 = conv(in_channels, width, 1)
        self.bn1 = batch_norm(width)
        self.conv2 = conv(width, width, 3, stride)
        self.bn2 = batch_norm(width)
        self.conv3 = conv(width, 4 * width, 1)
        self.bn3 = batch_norm(4 * width)
        self.relu = nn.ReLU()
        self.downsample = shortcut(in_channels, 4 * width, stride)

    def construct(self, x: Tensor) -> Tensor:
        """Return ReLU(residual + shortcut)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + self.downsample(x))


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Cell:
    """Build the identity, or a 1x1 convolution with batch norm if the shape changes."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.SequentialCell(conv(in_channels, out_channels, 1, stride), batch_norm(out_channels))


class ResNet(nn.Cell):
    """Backbone ResNet: (B,3,H,W) -> (B,out_channels,ceil(H/32),ceil(W/32)), or the features of all four stages.

    Args:
        name: a key of BLOCKS.
        blocks: number of blocks of the four stages; empty: those of BLOCKS.
        stem_pool: "pad" is PyTorch's symmetric padding of the stem's pooling; "same" pads only at the end, as in the
            training of the model zoo's networks.
        every_level: return the features at stride 4, 8, 16 and 32; each stride has half the channels of the next.
    """

    def __init__(self, name: str, blocks: tuple[int, ...] = (), stem_pool: str = "pad", every_level: bool = False):
        super().__init__()
        block = BasicBlock if name in ("resnet18", "resnet34") else Bottleneck
        counts = blocks or BLOCKS[name]
        self.conv1 = conv(3, 64, 7, 2)
        self.bn1 = batch_norm(64)
        self.relu = nn.ReLU()
        self.pool = stem_pooling(stem_pool)
        self.layer1 = stage(block, 64, 64, counts[0], 1)
        self.layer2 = stage(block, 64 * block.expansion, 128, counts[1], 2)
        self.layer3 = stage(block, 128 * block.expansion, 256, counts[2], 2)
        self.layer4 = stage(block, 256 * block.expansion, 512, counts[3], 2)
        self.out_channels = 512 * block.expansion
        self.every_level = every_level

    def stages(self) -> list[list[nn.Cell]]:
        """Return the layers of the stem and of each stage, in this order."""
        return [[self.conv1, self.bn1], [self.layer1], [self.layer2], [self.layer3], [self.layer4]]

    def construct(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the features of the last stage, or those of all stages with the finest first."""
        stride4 = self.layer1(self.pool(self.relu(self.bn1(self.conv1(x)))))
        stride8 = self.layer2(stride4)
        stride16 = self.layer3(stride8)
        stride32 = self.layer4(stride16)
        return (stride4, stride8, stride16, stride32) if self.every_level else stride32


class StemPool(nn.Cell):
    """3x3 max pooling with stride 2 and padding 1, after a ReLU: (B,C,H,W) -> (B,C,ceil(H/2),ceil(W/2)).

    After a ReLU, padding with zeros gives the same result as padding with minus infinity. The pad_mode "pad" of the
    pooling itself does not exist on every device and in every runtime. But it trains faster on CPU, because the
    gradient of the other form computes the pooling a second time.
    """

    def __init__(self):
        super().__init__()
        self.pad = nn.Pad(((0, 0), (0, 0), (1, 1), (1, 1)))
        self.pool = nn.MaxPool2d(3, 2, pad_mode="valid")
        self.on_cpu = ms.get_context("device_target") == "CPU"
        if self.on_cpu:
            self.trained = nn.MaxPool2d(3, 2, pad_mode="pad", padding=1)

    def construct(self, x: Tensor) -> Tensor:
        """Pad and pool."""
        if self.training and self.on_cpu:
            return self.trained(x)
        return self.pool(self.pad(x))


def stem_pooling(padding: str) -> nn.Cell:
    """Build a 3x3 max pooling with stride 2 and padding on both sides ("pad"), or only at the end ("same")."""
    return nn.MaxPool2d(3, 2, pad_mode="same") if padding == "same" else StemPool()


def stage(block: type[BasicBlock] | type[Bottleneck], in_channels: int, width: int, count: int,
          stride: int) -> nn.SequentialCell:
    """Build the blocks of one resolution. The first block changes resolution and channels."""
    first = block(in_channels, width, stride)
    return nn.SequentialCell(first, *[block(width * block.expansion, width, 1) for _ in range(count - 1)])
