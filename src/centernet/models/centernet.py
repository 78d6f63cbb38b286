"""CenterNet (Zhou et al. 2019, Objects as Points): backbone, up-sampling neck, heads."""
from __future__ import annotations

from mindspore import Tensor, nn

from centernet.config.schema import NetConfig
from centernet.models.dla import DLA34, WIDTHS, build_dla_neck, build_dla_v0_neck
from centernet.models.heads import Heads
from centernet.models.hourglass import CHANNELS, STACKS, Hourglass104
from centernet.models.resnet import ResNet
from centernet.models.upsample import build_neck


class CenterNet(nn.Cell):
    """Normalised images (B,3,H,W) float32 -> raw maps (hm, wh, reg), or (hm, wh) of heads without reg.

    The maps are (B,channels,h,w) with h = ceil(H/32) * 8, w = ceil(W/32) * 8; hm is before its sigmoid.
    """

    def __init__(self, backbone: nn.Cell, neck: nn.Cell, heads: nn.Cell):
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.heads = heads

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Raw maps of a batch of images."""
        return self.heads(self.neck(self.backbone(x)))

    def of_each_stack(self, x: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """What is trained: the raw maps of the one stack that there is."""
        return (self.construct(x),)


class StackedCenterNet(nn.Cell):
    """CenterNet on a backbone of several stacks, which ends at stride 4: the maps are those of the last stack.

    Args:
        backbone: (B,3,H,W) -> features of each stack.
        heads: of each stack.
    """

    def __init__(self, backbone: nn.Cell, heads: list[nn.Cell]):
        super().__init__()
        self.backbone = backbone
        self.heads = nn.CellList(heads)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Raw maps of a batch of images, see CenterNet."""
        return self.heads[-1](self.backbone(x)[-1])

    def of_each_stack(self, x: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """What is trained: the raw maps of all stacks, the first stack's first."""
        maps = ()  # type: tuple[tuple[Tensor, ...], ...]
        features = self.backbone(x)
        for index, heads in enumerate(self.heads):
            maps += (heads(features[index]),)
        return maps


def build_centernet(net: NetConfig, num_classes: int) -> CenterNet | StackedCenterNet:
    """The network that a configuration describes, with weights that ms.set_seed determines."""
    def heads(in_channels: int) -> Heads:
        return Heads(in_channels, num_classes, net.head_conv, net.cat_spec_wh, net.reg_offset)

    if net.backbone == "hourglass104":
        return StackedCenterNet(Hourglass104(), [heads(CHANNELS) for _ in range(STACKS)])
    if net.backbone == "dla34":
        return CenterNet(DLA34(), build_dla_neck(net.neck), heads(WIDTHS[0]))
    if net.backbone == "dlav0_34":
        return CenterNet(DLA34(), build_dla_v0_neck(), heads(WIDTHS[0]))
    backbone = ResNet(net.backbone, net.block_class, net.stem_pool)
    return CenterNet(backbone, build_neck(backbone.out_channels, net.neck_filters, net.neck),
                     heads(net.neck_filters[-1]))
