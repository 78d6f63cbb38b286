"""CenterNet (Zhou et al. 2019, Objects as Points): backbone, upsampling neck, heads."""
from __future__ import annotations

from mindspore import Tensor, nn

from centernet.config.schema import NetConfig
from centernet.models.deform_conv import choose_deform_op
from centernet.models.dla import DLA34, WIDTHS, build_dla_neck, build_dla_v0_neck
from centernet.models.heads import Heads
from centernet.models.hourglass import CHANNELS, STACKS, Hourglass104
from centernet.models.resnet import ResNet
from centernet.models.shortcut import ShortcutNeck
from centernet.models.upsample import build_neck


class CenterNet(nn.Cell):
    """Network: normalised images (B,3,H,W) float32 -> raw maps (hm, wh, reg), (hm, wh) or (hm, ltrb), see Heads.

    The maps are (B,channels,h,w) with h = ceil(H/32) * 8, w = ceil(W/32) * 8; hm is before its sigmoid.
    """

    def __init__(self, backbone: nn.Cell, neck: nn.Cell, heads: nn.Cell):
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.heads = heads

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the raw maps of a batch of images."""
        return self.heads(self.neck(self.backbone(x)))

    def of_each_stack(self, x: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """Return the maps of all stacks for the losses, see Heads.raw. This network has one stack."""
        return (self.heads.raw(self.neck(self.backbone(x))),)


class StackedCenterNet(nn.Cell):
    """CenterNet with a backbone of several stacks that end at stride 4. The last stack gives the maps for detection.

    Args:
        backbone: (B,3,H,W) -> features of each stack.
        heads: heads of each stack.
    """

    def __init__(self, backbone: nn.Cell, heads: list[nn.Cell]):
        super().__init__()
        self.backbone = backbone
        self.heads = nn.CellList(heads)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the raw maps of a batch of images, see CenterNet."""
        return self.heads[-1](self.backbone(x)[-1])

    def of_each_stack(self, x: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """Return the maps of all stacks for the losses, beginning with the first stack, see Heads.raw."""
        maps = ()  # type: tuple[tuple[Tensor, ...], ...]
        features = self.backbone(x)
        for index, heads in enumerate(self.heads):
            maps += (heads.raw(features[index]),)
        return maps


def build_centernet(net: NetConfig, num_classes: int) -> CenterNet | StackedCenterNet:
    """Build the configured network. ms.set_seed determines its initial weights."""
    network = _build(net, num_classes)
    choose_deform_op(network, net.deform_op)
    return network


def _build(net: NetConfig, num_classes: int) -> CenterNet | StackedCenterNet:
    def heads(in_channels: int) -> Heads:
        return Heads(in_channels, num_classes, net.head_conv, net.cat_spec_wh, net.reg_offset, net.box_head,
                     net.iou_score)

    if net.backbone == "hourglass104":
        return StackedCenterNet(Hourglass104(), [heads(CHANNELS) for _ in range(STACKS)])
    if net.shortcuts:
        backbone = DLA34() if net.backbone == "dla34" else ResNet(net.backbone, net.block_class, net.stem_pool, True)
        neck = ShortcutNeck(backbone.out_channels, net.neck_filters, "deform" if net.deformable else "conv")
        return CenterNet(backbone, neck, heads(net.neck_filters[-1]))
    if net.backbone == "dla34":
        return CenterNet(DLA34(), build_dla_neck(net.neck), heads(WIDTHS[0]))
    if net.backbone == "dlav0_34":
        return CenterNet(DLA34(), build_dla_v0_neck(), heads(WIDTHS[0]))
    backbone = ResNet(net.backbone, net.block_class, net.stem_pool)
    return CenterNet(backbone, build_neck(backbone.out_channels, net.neck_filters, net.neck),
                     heads(net.neck_filters[-1]))
