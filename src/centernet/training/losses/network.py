"""Training graph: normalisation of uint8 images, network and losses."""
from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from centernet.config.schema import DatasetConfig, NetConfig
from centernet.config.sections import DOWN_RATIO
from centernet.training.losses.heatmap import DrawHeatmap, ellipse_radii
from centernet.training.losses.terms import DetectionLoss


class Normalize(nn.Cell):
    """uint8 BGR images (B,H,W,3) and their color matrices -> float32 (B,3,H,W) in the network's colour order.

    Colours, mean and std are one matrix product: ((colors @ (pixel, 1)) - mean) / std. On Ascend 910B, MindSpore
    computes matrix products of float32 in float32 (its wheel, device_context/ascend/op_precision.py).
    """

    def __init__(self, data: DatasetConfig):
        super().__init__()
        self.to_rgb = data.to_rgb
        self.reverse = ops.ReverseV2(axis=[1])
        mean = np.zeros((3, 4))
        mean[:, 3] = data.mean
        self.mean = Tensor(mean, ms.float32)
        self.scale = Tensor(1 / np.array(data.std)[:, None], ms.float32)
        self.product = ops.BatchMatMul(transpose_b=True)

    def construct(self, image: Tensor, colors: Tensor) -> Tensor:
        """Return the normalised batch. colors: (B,3,4), see augment.jitter_matrix."""
        if self.to_rgb:
            colors = self.reverse(colors)
        colors = (colors - self.mean) * self.scale
        batch, height, width, _ = image.shape
        pixels = ops.reshape(ops.cast(image, ms.float32), (batch, height * width, 3))
        out = self.product(colors[:, :, :3], pixels) + colors[:, :, 3:]
        return ops.reshape(out, (batch, 3, height, width))


class LossNetwork(nn.Cell):
    """Training batch -> loss, hm_loss, wh_loss, off_loss (float32 scalars), averaged over the network's stacks.

    The parameters have the names of the network's parameters.

    Args:
        network: its of_each_stack returns the raw maps of each stack, see net.maps.
        net: kinds and weights of the losses.
        data: colour order, mean and std.
        num_classes: channels of hm.
        devices: number of devices that train together, see DetectionLoss.
        regions: mask ignored regions, see DrawHeatmap and DetectionLoss.
    """

    def __init__(self, network: nn.Cell, net: NetConfig, data: DatasetConfig, num_classes: int, devices: int = 1,
                 regions: bool = False):
        super().__init__(auto_prefix=False)
        self.network = network
        self.normalize = Normalize(data)
        self.ellipse = net.hm_gaussian == "ellipse"
        self.draw = DrawHeatmap(num_classes, regions)
        self.loss = DetectionLoss(net, devices, regions)

    def construct(self, image: Tensor, colors: Tensor, cls: Tensor, radius: Tensor, ind: Tensor, wh: Tensor,
                  reg: Tensor, reg_mask: Tensor, hm: Tensor | None = None,
                  counts: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the losses of a batch.

        Args:
            image: (B,H,W,3) uint8 BGR.
            colors: (B,3,4) float32, see augment.jitter_matrix.
            cls, radius, ind, reg_mask: (B,M) int32, see DetectionLoss.
            wh, reg: (B,M,2) float32, output cells.
            hm: (B,C,h,w) float32 target; None: draw it from cls, ind and radius (or wh, with hm_gaussian ellipse).
            counts: see DetectionLoss.
        """
        stacks = self.network.of_each_stack(self.normalize(image, colors))
        if hm is None:
            hm = self.draw(ind, cls, self._reach(radius, wh), reg_mask, stacks[0][0].shape[2:], wh)
        loss, hm_loss, wh_loss, off_loss = self.loss(stacks[0], hm, cls, ind, wh, reg, reg_mask, radius, counts)
        for outputs in stacks[1:]:
            further = self.loss(outputs, hm, cls, ind, wh, reg, reg_mask, radius, counts)
            loss, hm_loss = loss + further[0], hm_loss + further[1]
            wh_loss, off_loss = wh_loss + further[2], off_loss + further[3]
        count = len(stacks)
        if count == 1:
            return loss, hm_loss, wh_loss, off_loss
        return loss / count, hm_loss / count, wh_loss / count, off_loss / count

    def of_part(self, counts: Tensor, image: Tensor, colors: Tensor, cls: Tensor, radius: Tensor, ind: Tensor,
                wh: Tensor, reg: Tensor, reg_mask: Tensor,
                hm: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the losses of a part of a batch with the counts of the whole batch. Arguments: as construct."""
        return self.construct(image, colors, cls, radius, ind, wh, reg, reg_mask, hm, counts)

    def counts(self, image: Tensor, _colors: Tensor, cls: Tensor, radius: Tensor, ind: Tensor, wh: Tensor,
               reg: Tensor, reg_mask: Tensor, hm: Tensor | None = None) -> Tensor:
        """Return the counts of hm, wh and reg in this device's batch, float32 (3,). Arguments: as construct."""
        if hm is None:
            hm = self.draw(ind, cls, self._reach(radius, wh), reg_mask,
                           (image.shape[1] // DOWN_RATIO, image.shape[2] // DOWN_RATIO), wh)
        return self.loss.counts(hm, cls, ind, wh, reg, reg_mask, radius)

    def _reach(self, radius: Tensor, wh: Tensor) -> Tensor:
        """Return the radii of the objects' Gaussians."""
        return ellipse_radii(wh) if self.ellipse else radius
