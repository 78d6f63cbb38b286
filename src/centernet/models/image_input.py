"""Normalisation in the graph of an exported model that takes uint8 images."""
from __future__ import annotations

from typing import TYPE_CHECKING

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

if TYPE_CHECKING:  # MindSpore 2.0's old Python imports this file, but it cannot import that module
    from centernet.spec import ModelSpec


class ImageInput(nn.Cell):
    """A model of normalised images as a model of uint8 BGR images (B,H,W,3), with static shapes.

    The training normalises in training/loss_network.py. Here the operators are those that MindSpore Lite 2.0 and the
    chips for inference have: Lite builds no graph whose 4D input goes into a Transpose, so three axes are transposed;
    and a Gather swaps the channels, because some chips have no ReverseV2.

    Args:
        model: normalised float32 (B,3,H,W) -> outputs.
        spec: has mean, std (of pixels / 255, in the network's colour order) and to_rgb.
    """

    def __init__(self, model: nn.Cell, spec: ModelSpec):
        super().__init__(auto_prefix=False)
        self.model = model
        self.to_rgb = spec.to_rgb
        self.order = Tensor(np.array([2, 1, 0], np.int32))
        self.mean = Tensor((255 * np.array(spec.mean)).astype(np.float32).reshape(1, 3, 1, 1))
        self.scale = Tensor((1 / (255 * np.array(spec.std))).astype(np.float32).reshape(1, 3, 1, 1))

    def construct(self, image: Tensor):
        """Return the model's outputs."""
        batch, height, width, channels = image.shape
        x = ops.reshape(ops.cast(image, ms.float32), (batch, height * width, channels))
        x = ops.transpose(x, (0, 2, 1))
        if self.to_rgb:
            x = ops.gather(x, self.order, 1)
        return self.model((ops.reshape(x, (batch, channels, height, width)) - self.mean) * self.scale)
