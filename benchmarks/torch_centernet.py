"""CenterNet with a ResNet-50 and its training step in PyTorch, for the comparison in benchmarks/training_step.py.

Modules have the names of the paper's code, so that weights can be exchanged with weights/name_maps.py.
"""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCKS = (3, 4, 6, 3)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norm, and a shortcut."""

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        out_channels = 4 * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                                            nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B,Cin,H,W) -> (B,4*width,H/stride,W/stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class TorchCenterNet(nn.Module):
    """Network: (B,3,H,W) -> raw hm (B,classes,H/4,W/4), wh and reg (B,2,H/4,W/4)."""

    def __init__(self, classes: int, filters: tuple[int, ...], head_conv: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for index, count in enumerate(BLOCKS):
            width = 64 * 2 ** index
            first = Bottleneck(channels, width, 1 if index == 0 else 2)
            channels = 4 * width
            self.add_module(f"layer{index + 1}",
                            nn.Sequential(first, *[Bottleneck(channels, width, 1) for _ in range(count - 1)]))
        up = []
        for width in filters:
            up += [nn.ConvTranspose2d(channels, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width),
                   nn.ReLU(inplace=True)]
            channels = width
        self.deconv_layers = nn.Sequential(*up)
        for name, outputs in (("hm", classes), ("wh", 2), ("reg", 2)):
            self.add_module(name, nn.Sequential(nn.Conv2d(channels, head_conv, 3, 1, 1), nn.ReLU(inplace=True),
                                                nn.Conv2d(head_conv, outputs, 1)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the raw maps of normalised images."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.deconv_layers(x)
        return self.hm(x), self.wh(x), self.reg(x)


def focal_loss(logits: Tensor, hm: Tensor) -> Tensor:
    """Return the penalty-reduced focal loss of clamped scores, divided by the number of centres."""
    score = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    positive = hm.eq(1).float()
    loss = (score.log() * (1 - score) ** 2 * positive
            + (1 - score).log() * score ** 2 * (1 - hm) ** 4 * (1 - positive))
    return -loss.sum() / positive.sum().clamp(min=1)


def pair_loss(maps: Tensor, ind: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the L1 loss of maps (B,2,H,W) at positions ind (B,M) int64 and target (B,M,2), where mask (B,M,1) is 1."""
    cells = maps.flatten(2).transpose(1, 2)
    read = cells.gather(1, ind[:, :, None].expand(-1, -1, 2))
    mask = mask.expand_as(read)
    return functional.l1_loss(read * mask, target * mask, reduction="sum") / (mask.sum() + 1e-4)


class TorchStep:
    """Forward, backward and Adam on one batch.

    Args:
        weights: name -> array, for all parameters and batch norm statistics.
        batch: float32 image (B,3,H,W), hm, wh, reg, mask (B,M,1) and int64 ind.
        net: classes, filters and head_conv of the network.
    """

    def __init__(self, weights: dict[str, np.ndarray], batch: dict[str, np.ndarray], net: dict):
        self.network = TorchCenterNet(**net)
        missing, unexpected = self.network.load_state_dict(
            {name: torch.from_numpy(value) for name, value in weights.items()}, strict=False)
        if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
            raise ValueError(f"the two networks differ: {missing} {unexpected}")
        self.batch = {name: torch.from_numpy(value) for name, value in batch.items()}
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1.25e-4)

    def __call__(self) -> list[float]:
        """Run one step and return loss, hm loss, wh loss and offset loss."""
        batch = self.batch
        hm, wh, reg = self.network(batch["image"])
        hm_loss = focal_loss(hm, batch["hm"])
        wh_loss = pair_loss(wh, batch["ind"], batch["wh"], batch["mask"])
        off_loss = pair_loss(reg, batch["ind"], batch["reg"], batch["mask"])
        loss = hm_loss + 0.1 * wh_loss + off_loss
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return [part.item() for part in (loss, hm_loss, wh_loss, off_loss)]
