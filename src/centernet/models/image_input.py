"""Normalisation in the graph of an exported model that takes uint8 images."""
from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops


class ImageInput(nn.Cell):
    """A model of normalised images as a model of uint8 BGR images (B,H,W,3), with static shapes.

    The result has the same bits as ModelSpec.normalize. (The training normalises in training/losses/network.py.) The
    operators are those that MindSpore Lite 2.0 and the chips for inference have: Lite builds no graph whose 4D input
    goes into a Transpose, so three axes are transposed; and a Gather swaps the channels, because some chips have no
    ReverseV2.

    Args:
        model: normalised float32 (B,3,H,W) -> outputs.
        factor, offset: ModelSpec.scaling.
        to_rgb: reverse the channels first.
    """

    def __init__(self, model: nn.Cell, factor: Sequence[float] | np.ndarray,
                 offset: Sequence[float] | np.ndarray, to_rgb: bool):
        super().__init__(auto_prefix=False)
        self.model = model
        self.to_rgb = to_rgb
        self.order = Tensor(np.array([2, 1, 0], np.int32))
        self.factor = Tensor(np.array(factor, np.float32).reshape(1, 3, 1, 1))
        self.offset = Tensor(np.array(offset, np.float32).reshape(1, 3, 1, 1))

    def construct(self, image: Tensor):
        """Return the model's outputs."""
        batch, height, width, channels = image.shape
        x = ops.reshape(ops.cast(image, ms.float32), (batch, height * width, channels))
        x = ops.transpose(x, (0, 2, 1))
        if self.to_rgb:
            x = ops.gather(x, self.order, 1)
        return self.model(ops.reshape(x, (batch, channels, height, width)) * self.factor - self.offset)
