"""Losses of the heads. They compute in float32 for every precision of the network.

Each function returns a sum over the batch and a count. DetectionLoss divides the sum by the count of all devices.
"""
from __future__ import annotations

import math
from collections.abc import Callable

import mindspore as ms
from mindspore import Tensor, nn, ops

from centernet.config.schema import NetConfig
from centernet.geometry import IGNORED
from centernet.models.heads import gather_pairs
from centernet.training.losses.box_targets import draw_boxes
from centernet.training.losses.giou import giou_errors, ious
from centernet.training.losses.heatmap import draw_dense_wh
from centernet.training.losses.positives import fitting_cells

EPS = 1e-4
SATURATION = math.log((1 - EPS) / EPS)  # logit of the largest score, 1 - EPS


def sum_all(values: Tensor) -> Tensor:
    """Sum all values over one axis: CPU kernels take four times as long for a sum over several axes."""
    return ops.reduce_sum(ops.reshape(values, (-1,)))


def focal_loss(logits: Tensor, hm: Tensor, more: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Penalty-reduced focal loss (Law and Deng 2018; alpha 2, beta 4) with scores clamped to [1e-4, 1 - 1e-4].

    The logarithms are computed from the logits, without loss of precision. Clamped positions have no gradient.

    Args:
        logits: (B,C,H,W) float32.
        hm: (B,C,H,W) float32 target; exactly 1 at centres.
        more: (B,C,H,W) float32, 1 for further positives; they keep the negatives' part that hm gives them.

    Returns:
        The sum over all positions, and the number of positives: without `more`, of centres.
    """
    total, centres, _ = FOCAL(logits, hm)
    if more is None:
        return total, centres
    further = more * ops.cast(ops.not_equal(hm, 1.0), ms.float32)
    opposite = ops.clip_by_value(-logits, -SATURATION, SATURATION)
    loss = ops.log1p(ops.exp(opposite)) * ops.square(ops.sigmoid(opposite)) * further
    return total + sum_all(loss), centres + sum_all(further)


class FocalSum(nn.Cell):
    """The focal_loss with its gradient in one pass: autodiff would make twice as many operators.

    A centre with the logit x has the loss of background with the logit -x:
    loss = weight * s^2 * log(1 + exp(x)), with s = sigmoid(x), and the weight is (1 - hm)^4, 1 at centres. So
    d loss / dx = weight * s^2 * (2 (1 - s) log(1 + exp(x)) + s).

    construct: as focal_loss -> sum, number of centres, gradient of the sum to the logits.
    """

    def construct(self, logits: Tensor, hm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return sum, number of centres and gradient."""
        clipped = ops.minimum(ops.maximum(logits, -SATURATION), SATURATION)
        positive = ops.cast(ops.equal(hm, 1.0), ms.float32)
        sign = 1.0 - 2.0 * positive
        x = clipped * sign
        score = ops.sigmoid(x)
        logarithm = ops.log1p(ops.exp(x))
        # The second part is 0 at centres.
        weight = (positive + ops.square(ops.square(1.0 - hm))) * ops.square(score)
        inside = ops.cast(ops.equal(clipped, logits), ms.float32)
        gradient = weight * ((2.0 - 2.0 * score) * logarithm + score) * (sign * inside)
        return sum_all(weight * logarithm), sum_all(positive), gradient

    def bprop(self, logits: Tensor, hm: Tensor, out: tuple[Tensor, ...],
              dout: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the gradients to logits and hm. Targets have none."""
        return out[2] * dout[0], ops.zeros_like(hm)


FOCAL = FocalSum()


def mean_squared_error(logits: Tensor, hm: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of (sigmoid(logits) - hm)^2 over all positions, and the number of positions.

    The paper's code compares the raw output with the target, but its decoder takes the sigmoid: scores are between 0.5
    and 0.73. With the sigmoid in this loss, scores have the same meaning as with the focal loss.
    """
    return sum_all(ops.square(ops.sigmoid(logits) - hm)), Tensor(hm.size, ms.float32)


def masked_squared_error(logits: Tensor, hm: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean_squared_error of the positions outside of ignored regions: sum and number."""
    counted = _outside_regions(hm)
    return sum_all(ops.square(ops.sigmoid(logits) - hm) * counted), sum_all(counted)


def _outside_regions(hm: Tensor) -> Tensor:
    """Return 1 for the positions of a target heatmap outside of ignored regions, 0 inside."""
    return ops.cast(ops.not_equal(hm, IGNORED), ms.float32)


def l1_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of absolute errors, and the sum of the mask over both channels: twice the number of objects.

    Args:
        predicted, target: (B,M,2) float32.
        mask: (B,M,1) float32 of 0 and 1.
    """
    return sum_all(ops.abs(predicted - target) * mask), 2 * sum_all(mask)


def smooth_l1_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of Huber errors (quadratic below 1), and the number of objects. Arguments: as l1_loss."""
    error = ops.abs(predicted - target) * mask
    quadratic = ops.minimum(error, 1.0)
    # error^2 / 2 below 1, error - 1/2 above
    return sum_all(quadratic * (error - 0.5 * quadratic)), sum_all(mask)


def relative_l1_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the l1_loss of predicted / (target + 1e-4) and 1, for norm_wh: errors are fractions of the size."""
    return l1_loss(predicted / (target + EPS), ops.ones_like(target), mask)


def dense_l1_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of weighted absolute errors, and the sum of the weights over both channels.

    Args:
        predicted, target: (B,2,H,W) float32.
        weight: (B,1,H,W) float32.
    """
    return sum_all(ops.abs(predicted - target) * weight), 2 * sum_all(weight)


def giou_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of weight * (1 - GIoU) over all cells, and the sum of the weights.

    Args:
        predicted, target: (B,4,H,W) float32, see giou.giou_errors.
        weight: (B,1,H,W) float32.
    """
    return sum_all(weight * giou_errors(predicted, target)), sum_all(weight)


def iou_loss(logits: Tensor, predicted: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of weight * cross entropy between sigmoid(logits) and the IoU, and the sum of the weights.

    The IoU of the predicted box with its target is a number to learn (Wu et al. 2020): the boxes have no gradient.

    Args:
        logits: (B,1,H,W) float32.
        predicted, target, weight: as giou_loss.
    """
    wanted, size = ops.stop_gradient(ious(predicted, target)), ops.abs(logits)
    # max(x, 0) - wanted * x + log(1 + exp(-|x|)), with the right gradient at x = 0, too
    errors = (0.5 - wanted) * logits + 0.5 * size + ops.log1p(ops.exp(-size))
    return sum_all(weight * errors), sum_all(weight)


class DetectionLoss(nn.Cell):
    """Weighted sum of the configured losses of hm, wh and reg, or of hm and ltrb.

    reg_loss (l1 or sl1) applies to reg, and also to wh unless dense_wh or norm_wh is set. With box_head ltrb the GIoU
    loss of the boxes takes the place of the loss of wh, with its weight, and the loss of the offset is 0, or with
    iou_score the iou_loss, with the offset's weight. The heatmap's sum is divided by max(count, 1), the other sums by
    count + 1e-4. With more_positives, the heatmap's count and loss depend on the predicted boxes, see positives.py.

    The counts are those of all devices, and the sums are multiplied by the number of devices. Then the average of the
    devices' losses is the loss of the global batch, for any distribution of the objects over the devices. The same
    holds for the gradients. The paper's code divides by each device's own counts: there, an object has more weight if
    its device has fewer other objects.

    Args:
        net: kinds and weights of the losses.
        devices: number of devices that train together. If it is above 1, this process must have joined their group.
        regions: the heatmaps have ignored regions: cells with the value IGNORED are neither centres nor background.
            In the focal loss their weight is 1e-12; the other losses leave them out.
    """

    def __init__(self, net: NetConfig, devices: int = 1, regions: bool = False):
        super().__init__()
        self.net = net
        self.regions = regions
        self.hm_loss: Callable[..., tuple[Tensor, Tensor]] = focal_loss
        if net.mse_loss:
            self.hm_loss = masked_squared_error if regions else mean_squared_error
        self.pair_loss = smooth_l1_loss if net.reg_loss == "sl1" else l1_loss
        self.wh_loss = relative_l1_loss if net.norm_wh else self.pair_loss
        self.devices = devices
        if devices > 1:
            self.sum = ops.AllReduce()

    def construct(self, outputs: tuple[Tensor, ...], hm: Tensor, cls: Tensor, ind: Tensor, wh: Tensor, reg: Tensor,
                  reg_mask: Tensor, radius: Tensor | None = None,
                  counts: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compare raw maps with targets.

        Args:
            outputs: raw (hm, wh, reg), (hm, wh), (hm, ltrb) or (hm, ltrb, iou) of the network, see Heads.raw.
            hm: (B,C,H,W) float32 target.
            cls: (B,M) int32 in 0..C-1; used with cat_spec_wh and more_positives.
            ind: (B,M) int32, y * W + x.
            wh: (B,M,2) float32, output cells.
            reg: (B,M,2) float32, output cells.
            reg_mask: (B,M), 1 for an object, 0 for an unused slot.
            radius: (B,M) int32, output cells; used with dense_wh.
            counts: counts of all images of the step, if they are more than this batch; see the method counts.

        Returns:
            loss, hm_loss, wh_loss, off_loss: float32 scalars; the last three before their weights.
        """
        sums, own = self._sums(outputs, hm, cls, ind, wh, reg, reg_mask, radius)
        if counts is not None:
            return self._weigh(sums, ops.unstack(counts))
        if self.devices > 1:
            # One message for all counts: two messages could arrive in another order on each device. The messages of
            # several stacks are equal, because the counts depend only on the targets.
            own = ops.unstack(ops.stop_gradient(self.sum(ops.stack(own))))
        return self._weigh(sums, own)

    def counts(self, hm: Tensor, cls: Tensor, ind: Tensor, wh: Tensor, reg: Tensor, reg_mask: Tensor,
               radius: Tensor | None = None) -> Tensor:
        """Return the counts of hm, wh and reg in this device's batch, float32 (3,). Arguments: as construct.

        Not with more_positives: there, they also depend on the predicted boxes.
        """
        pair = ops.concat((hm[:, :1], hm[:, :1]), 1)
        # Counts depend only on the targets. So any maps of the right shape can stand for the network's.
        maps: tuple[Tensor, ...] = (hm, ops.concat((hm, hm), 1) if self.net.cat_spec_wh else pair, pair)
        if self.net.box_head == "ltrb":
            maps = (hm, ops.concat((pair, pair), 1), hm[:, :1])
        return ops.stack(self._sums(maps, hm, cls, ind, wh, reg, reg_mask, radius)[1])

    def _sums(self, outputs: tuple[Tensor, ...], hm: Tensor, cls: Tensor, ind: Tensor, wh: Tensor, reg: Tensor,
              reg_mask: Tensor, radius: Tensor | None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the sums and the counts of hm, wh and reg in this device's batch."""
        logits, sizes = ops.cast(outputs[0], ms.float32), ops.cast(outputs[1], ms.float32)
        if self.net.more_positives:
            more = fitting_cells(ops.stop_gradient(sizes), cls, ind, wh, reg, reg_mask, hm.shape[1])
            hm_loss = focal_loss(logits, hm, more)
        else:
            hm_loss = self.hm_loss(logits, hm)
        mask = ops.expand_dims(ops.cast(reg_mask, ms.float32), 2)
        off_loss = (ops.zeros_like(hm_loss[0]), ops.ones_like(hm_loss[1]))
        if self.net.box_head == "ltrb":
            boxes, weight = draw_boxes(ind, wh, reg, reg_mask, hm.shape[2:])
            wh_loss = giou_loss(sizes, boxes, weight)
            if self.net.iou_score:
                off_loss = iou_loss(ops.cast(outputs[2], ms.float32), sizes, boxes, weight)
        elif self.net.dense_wh:
            target = draw_dense_wh(ind, radius, reg_mask, wh, hm.shape[2:])
            peaks = hm * _outside_regions(hm) if self.regions else hm
            wh_loss = dense_l1_loss(sizes, target, ops.amax(peaks, 1, True))
        else:
            pairs = gather_pairs(sizes, ind, cls if self.net.cat_spec_wh else None)
            wh_loss = self.wh_loss(pairs, wh, mask)
        if self.net.reg_offset:
            off_loss = self.pair_loss(gather_pairs(ops.cast(outputs[2], ms.float32), ind), reg, mask)
        return (hm_loss[0], wh_loss[0], off_loss[0]), (hm_loss[1], wh_loss[1], off_loss[1])

    def _weigh(self, sums: tuple[Tensor, ...], counts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the total loss and the losses hm, wh and off from this device's sums and the counts of the step."""
        if self.devices > 1:
            sums = (self.devices * sums[0], self.devices * sums[1], self.devices * sums[2])
        hm_loss = sums[0] / ops.maximum(counts[0], 1.0)
        wh_loss = sums[1] / (counts[1] + EPS)
        off_loss = sums[2] / (counts[2] + EPS)
        loss = self.net.hm_weight * hm_loss + self.net.wh_weight * wh_loss + self.net.off_weight * off_loss
        return loss, hm_loss, wh_loss, off_loss
