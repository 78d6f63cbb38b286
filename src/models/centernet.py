"""CenterNet (Zhou et al. 2019, Objects as Points): backbone, up-sampling neck, heads."""
from __future__ import annotations

from mindspore import Tensor, nn

from src.models.heads import Heads
from src.models.resnet import ResNet
from src.models.upsample import build_neck
from src.settings import NetConfig


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


def build_centernet(net: NetConfig, num_classes: int) -> CenterNet:
    """The network that a configuration describes, with weights that ms.set_seed determines."""
    backbone = ResNet(net.backbone, net.block_class, net.stem_pool)
    neck = build_neck(backbone.out_channels, net.neck_filters, net.neck)
    heads = Heads(net.neck_filters[-1], num_classes, net.head_conv, net.cat_spec_wh, net.reg_offset)
    return CenterNet(backbone, neck, heads)
