"""What detects on a batch of prepared images: a checkpoint's network here, exported models in exported.py.

Evaluation, infer.py and the tests see only the Backend contract, so all give
comparable numbers through the same preparation and post-processing.
"""
from __future__ import annotations

from typing import Protocol

import mindspore as ms
import numpy as np
from mindspore import nn

from centernet.categories import Categories
from centernet.config.schema import DatasetConfig, NetConfig
from centernet.errors import UserError
from centernet.models.decode import Detect


class Backend(Protocol):
    """What a detector needs to know of, and ask from, a model.

    mean, std are of pixels / 255 in the network's colour order (RGB if to_rgb,
    else BGR); K detections an image; fixed_shape is (B, H, W) of a model whose
    input size is frozen (B is 0 if any number of images goes), None if any size goes; compiles
    says whether each new input size takes a compilation.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    to_rgb: bool
    categories: Categories
    down_ratio: int
    K: int
    fixed_shape: tuple[int, int, int] | None
    compiles: bool

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Detect: normalised float32 (B,3,H,W) -> float32 (B,K,6): x1,y1,x2,y2 in output-map cells, score, class."""
        ...


class CheckpointBackend:
    """A network with its weights, at any input size; each new size is compiled once."""

    fixed_shape = None
    compiles = True

    def __init__(self, network: nn.Cell, net: NetConfig, data: DatasetConfig, categories: Categories,
                 K: int, flip_test: bool = False):
        self.mean, self.std, self.to_rgb = data.mean, data.std, data.to_rgb
        self.categories = categories
        self.down_ratio = net.down_ratio
        self.K = K
        self._net = net
        self._detect = Detect(network, K, net.cat_spec_wh, flip_test)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Detect on float32 (B,3,H,W), see Backend; raises UserError for sizes that do not suit the network or K."""
        require_size(images.shape[2], images.shape[3], self._net)
        require_cells(images.shape[2], images.shape[3], self.K)
        # At each call: a training loop that validates switches the network back in between.
        self._detect.set_train(False)
        return self._detect(ms.Tensor(np.ascontiguousarray(images, np.float32))).asnumpy()


def map_size(height: int, width: int) -> tuple[int, int]:
    """Cells (h, w) of the output map: strides halve five times, rounding up, three up-convolutions double.

    A quarter of sizes that are multiples of 32, hence of all that networks but ResNets take.
    """
    return -(-height // 32) * 8, -(-width // 32) * 8


def require_size(height: int, width: int, net: NetConfig) -> None:
    """Raise UserError if an input of height x width pixels is not of a size that the backbone takes."""
    unit = net.size_unit
    if height % unit or width % unit:
        raise UserError(f"{net.backbone} takes inputs whose height and width are multiples of {unit}, found {height} x "
                        f"{width}: set --eval_config.pad to {unit - 1}, or other sizes without eval_config.keep_res")


def require_cells(height: int, width: int, K: int) -> None:
    """Raise UserError if an input of height x width pixels has fewer output cells than K detections need."""
    rows, columns = map_size(height, width)
    if rows * columns < K:
        raise UserError(f"eval_config.K is {K}, but an input of {height} x {width} pixels has only {rows} x {columns} "
                        f"= {rows * columns} output cells: set --eval_config.K to at most {rows * columns}, or use "
                        "a larger input")


def speed(seconds: list[float], batch: int) -> str:
    """A line for the log on the time of each call of a backend with `batch` images.

    The first call, which may compile, is told apart.
    """
    first = f"first run: {seconds[0]:.2f} s"
    if len(seconds) == 1:
        return first
    per_image = sum(seconds[1:]) / (len(seconds) - 1) / batch
    return f"{per_image * 1000:.1f} ms an image, {1 / per_image:.1f} images/s; {first}"
