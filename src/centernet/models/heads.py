"""Output heads (hm, wh, reg or hm, ltrb, iou), the score with an IoU, and reading of maps at given positions."""
from __future__ import annotations

import math

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import HeUniform, Normal

# An initial score of 0.1 everywhere: with an initial score of 0.5, the loss of the many background positions would
# dominate the focal loss of the few centres (Lin et al. 2017).
HM_BIAS = -2.19

# Distances are ReLU(x) * 4 cells (16 pixels; TTFNet, Liu et al. 2020). At first x is 2 everywhere: boxes of 64 pixels,
# and no ReLU without a gradient.
LTRB_SCALE = 4.0
LTRB_BIAS = 2.0


class Heads(nn.Cell):
    """Heads: features (B,C,h,w) -> raw hm (B,classes,h,w), wh (B,2 or 2*classes,h,w), with reg_offset reg (B,2,h,w).

    With box_head ltrb: raw hm, and ltrb (B,4,h,w): the distances from a cell's point (config.sections.CELL_POINT) to
    the left, top, right and bottom side of the box, in cells, at least 0. With iou_score, a third head predicts the IoU
    of these boxes, and hm is the logit of the square root of both scores' product, see joint_logits. So whatever
    decodes the maps needs no change. The losses read the three maps themselves, see the method raw.

    Args:
        in_channels: channels of the features.
        num_classes: channels of hm.
        head_conv: channels of each head's 3x3 convolution; 0: heads are one 1x1 convolution.
        cat_spec_wh: wh has a width and a height channel for each class (2*c, 2*c+1).
        reg_offset: predict the centre's offset within its output cell.
        box_head: "wh_reg" or "ltrb"; ltrb does not use cat_spec_wh and reg_offset.
        iou_score: predict the IoU of the boxes; only with ltrb.
    """

    def __init__(self, in_channels: int, num_classes: int, head_conv: int, cat_spec_wh: bool, reg_offset: bool,
                 box_head: str = "wh_reg", iou_score: bool = False):
        super().__init__()
        self.reg_offset = reg_offset
        self.box_head = box_head
        self.iou_score = iou_score
        self.hm = head(in_channels, head_conv, num_classes, HeUniform(math.sqrt(5)), HM_BIAS)
        if box_head == "ltrb":
            self.ltrb = head(in_channels, head_conv, 4, Normal(0.001), LTRB_BIAS)
            if iou_score:
                self.iou = head(in_channels, head_conv, 1, Normal(0.001), 0.0)
            return
        self.wh = head(in_channels, head_conv, 2 * num_classes if cat_spec_wh else 2, Normal(0.001), 0.0)
        if reg_offset:
            self.reg = head(in_channels, head_conv, 2, Normal(0.001), 0.0)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the raw maps: (hm, wh, reg), (hm, wh) or (hm, ltrb)."""
        if self.iou_score:
            hm, ltrb, iou = self.raw(x)
            return joint_logits(hm, iou), ltrb
        return self.raw(x)

    def raw(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the maps for the losses: as construct, or with iou_score (hm, ltrb, iou), iou (B,1,h,w) logits."""
        if self.box_head == "ltrb":
            hm, ltrb = self.hm(x), ops.relu(self.ltrb(x)) * LTRB_SCALE
            return (hm, ltrb, self.iou(x)) if self.iou_score else (hm, ltrb)
        if self.reg_offset:
            return self.hm(x), self.wh(x), self.reg(x)
        return self.hm(x), self.wh(x)


def head(in_channels: int, head_conv: int, channels: int, weight_init: HeUniform | Normal,
         last_bias: float) -> nn.SequentialCell:
    """Build a head: 3x3 convolution, ReLU, 1x1 convolution; only the 1x1 convolution if head_conv is 0."""
    layers: list[nn.Cell] = []
    if head_conv:
        layers = [nn.Conv2d(in_channels, head_conv, 3, pad_mode="pad", padding=1, has_bias=True,
                            weight_init=weight_init, bias_init="zeros"), nn.ReLU()]
    layers.append(nn.Conv2d(head_conv or in_channels, channels, 1, pad_mode="pad", padding=0, has_bias=True,
                            weight_init=weight_init, bias_init=last_bias))
    return nn.SequentialCell(*layers)


def joint_logits(hm: Tensor, iou: Tensor) -> Tensor:
    """Return the logits of s = sqrt(p * q) with p = sigmoid(hm), q = sigmoid(iou) (Wu et al. 2020, with alpha 0.5).

    With a = -log p and b = -log q, log s = -(a + b) / 2. Because 1 - p * q = p * q * (exp(b - hm) + exp(-iou)),
    s / (1 - s) = s * (1 + s) / (1 - p * q) = (1 + s) / (exp(-u) + exp(-v)), with u and v of the code. So nothing is
    lost where s is nearly 0 or 1, and no exponential is above 1. ONNX and MindSpore Lite have all the operators (other
    than expm1). There is no Neg among them, which CANN's pages exclude for 310P.

    Args:
        hm: (B,C,h,w) float32.
        iou: (B,1,h,w) float32.

    Returns:
        (B,C,h,w) float32.
    """
    a, b = minus_log_sigmoid(hm), minus_log_sigmoid(iou)
    u, v = hm + 0.5 * (a - b), iou + 0.5 * (a + b)
    score = ops.exp((a + b) * -0.5)
    return ops.minimum(u, v) - log1p_exp_minus_abs(u - v) + ops.log(1.0 + score)


def minus_log_sigmoid(x: Tensor) -> Tensor:
    """Return -log(sigmoid(x)), finite for every finite x. Any shape, float32."""
    return ops.relu(x) - x + log1p_exp_minus_abs(x)


def log1p_exp_minus_abs(x: Tensor) -> Tensor:
    """Return log(1 + exp(-|x|)), 0..log 2. Any shape, float32."""
    return ops.log(1.0 + ops.exp(ops.abs(x) * -1.0))


def gather_pairs(maps: Tensor, ind: Tensor, cls: Tensor | None = None) -> Tensor:
    """Read two channels of a map at given positions.

    Args:
        maps: (B,2,H,W), or (B,2C,H,W) with channels 2*c and 2*c+1 for class c.
        ind: (B,M) int32, y * W + x.
        cls: (B,M) int32 class of each position, needed for 2C channels.

    Returns:
        (B,M,2), with the dtype of maps.
    """
    batch, count = ind.shape
    cells = maps.shape[2] * maps.shape[3]
    first = ind if cls is None else ind + cls * (2 * cells)
    pairs = ops.concat((first, first + cells), 1)
    values = ops.gather_elements(ops.reshape(maps, (batch, -1)), 1, pairs)
    return ops.transpose(ops.reshape(values, (batch, 2, count)), (0, 2, 1))
