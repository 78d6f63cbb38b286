"""CenterNet with a ResNet-18 or ResNet-50 and its training step in PyTorch, for comparisons with ours.

benchmarks/training_step.py compares the time of a step, benchmarks/torch_training.py trains with it. Modules have the
names of the paper's code, so that weights can be exchanged with weights/name_maps.py.
"""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Build a 1x1 convolution with batch norm if the shape changes; None is the identity."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B,Cin,H,W) -> (B,width,H/stride,W/stride)."""
        kept = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + kept)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norm, and a shortcut."""

    expansion = 4

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
        self.downsample = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B,Cin,H,W) -> (B,4*width,H/stride,W/stride)."""
        kept = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + kept)


BLOCKS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)), "resnet50": (Bottleneck, (3, 4, 6, 3))}


class TorchCenterNet(nn.Module):
    """Network: (B,3,H,W) -> raw hm (B,classes,H/4,W/4), wh and reg (B,2,H/4,W/4).

    The neck is that of the paper's ResNets: transposed convolutions without a 3x3 convolution before them.

    Args:
        backbone: a key of BLOCKS.
        classes: channels of hm.
        filters: channels of the transposed convolutions.
        head_conv: channels of each head's 3x3 convolution.
    """

    # Added by name in __init__.
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential
    hm: nn.Sequential
    wh: nn.Sequential
    reg: nn.Sequential

    def __init__(self, backbone: str, classes: int, filters: tuple[int, ...], head_conv: int):
        super().__init__()
        block, counts = BLOCKS[backbone]
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for index, count in enumerate(counts):
            width = 64 * 2 ** index
            first = block(channels, width, 1 if index == 0 else 2)
            channels = block.expansion * width
            self.add_module(f"layer{index + 1}",
                            nn.Sequential(first, *[block(channels, width, 1) for _ in range(count - 1)]))
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


def detection_losses(maps: tuple[Tensor, Tensor, Tensor], batch: dict[str, Tensor],
                     wh_weight: float = 0.1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the whole loss and the losses of hm, wh and the offset.

    Args:
        maps: raw hm, wh and reg.
        batch: hm (B,C,h,w), wh and reg (B,M,2), mask (B,M,1) float32, and ind (B,M) int64.
        wh_weight: weight of the size; the others weigh 1.
    """
    hm, wh, reg = maps
    hm_loss = focal_loss(hm, batch["hm"])
    wh_loss = pair_loss(wh, batch["ind"], batch["wh"], batch["mask"])
    off_loss = pair_loss(reg, batch["ind"], batch["reg"], batch["mask"])
    return hm_loss + wh_weight * wh_loss + off_loss, hm_loss, wh_loss, off_loss


def load_weights(network: nn.Module, weights: dict[str, np.ndarray]) -> None:
    """Load all parameters and batch norm statistics by name. Raise ValueError if the names are not the network's."""
    missing, unexpected = network.load_state_dict(
        {name: torch.from_numpy(value) for name, value in weights.items()}, strict=False)
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        raise ValueError(f"the two networks differ: {missing} {unexpected}")


class TorchStep:
    """Forward, backward and Adam on one batch.

    Args:
        weights: name -> array, for all parameters and batch norm statistics.
        batch: float32 image (B,3,H,W), hm, wh, reg, mask (B,M,1) and int64 ind.
        net: backbone, classes, filters and head_conv of the network.
    """

    def __init__(self, weights: dict[str, np.ndarray], batch: dict[str, np.ndarray], net: dict):
        self.network = TorchCenterNet(**net)
        load_weights(self.network, weights)
        self.batch = {name: torch.from_numpy(value) for name, value in batch.items()}
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1.25e-4)

    def __call__(self) -> list[float]:
        """Run one step and return loss, hm loss, wh loss and offset loss."""
        losses = detection_losses(self.network(self.batch["image"]), self.batch)
        self.optimizer.zero_grad()
        losses[0].backward()
        self.optimizer.step()
        return [part.item() for part in losses]
