"""Model specification: the expected input and the meaning of the classes, for every kind of model."""
from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from centernet.categories import Categories
from centernet.config.schema import DatasetConfig, NetConfig

LOG = logging.getLogger("centernet")


@dataclass(frozen=True)
class ModelSpec:
    """The part that a checkpoint's record, an exported model's manifest and the configuration have in common.

    Attributes:
        categories: names and COCO ids; the class of a detection is a position in them.
        mean, std: of pixels / 255, in color_order; the network's input is (pixel / 255 - mean) / std.
        color_order: "BGR" or "RGB", of the network's input.
        down_ratio: side of one output cell, in input pixels.
        input_size: (height, width) in pixels, for fixed resolution.
        raw: an exported model takes uint8 BGR images (H, W, 3) and normalises them in its graph.
    """

    categories: Categories
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    color_order: str
    down_ratio: int
    input_size: tuple[int, int]
    raw: bool = False

    def __post_init__(self) -> None:
        if self.color_order not in ("BGR", "RGB"):
            raise ValueError(f"color_order must be BGR or RGB, found {self.color_order!r}")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError(f"mean and std must be three numbers each, found {self.mean!r} and {self.std!r}")

    @property
    def to_rgb(self) -> bool:
        """Return whether the channels of a BGR image must be reversed."""
        return self.color_order == "RGB"

    @property
    def scaling(self) -> tuple[np.ndarray, np.ndarray]:
        """Return factor and offset, float32 (3,) in color_order: the network's input is pixel * factor - offset."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        return 1 / (255 * std), mean / std

    def model_input(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) BGR -> the model's input: the same image if raw, otherwise as `normalize`."""
        return image if self.raw else self.normalize(image)

    def normalize(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) BGR -> float32 (3, H, W) in color_order: (pixel / 255 - mean) / std."""
        factor, offset = self.scaling
        planes = np.empty((3, *image.shape[:2]), np.float32)
        for channel in range(3):
            np.multiply(image[:, :, 2 - channel if self.to_rgb else channel], factor[channel], out=planes[channel])
            planes[channel] -= offset[channel]
        return planes


def warn_of_statistics(spec: ModelSpec, data: DatasetConfig, named: Collection[str], model: str) -> None:
    """Log the image statistics that the configuration names, if they are not those of a model, which are used."""
    own = {"mean": spec.mean, "std": spec.std, "to_rgb": spec.to_rgb}
    other = [f"dataset_config.{name} {getattr(data, name)} (its own: {value})" for name, value in own.items()
             if f"dataset_config.{name}" in named and getattr(data, name) != value]
    if other:
        LOG.warning("note: %s has the image statistics of its training, and they are used. So these have no effect: %s",
                    model, ", ".join(other))


def configured_spec(data: DatasetConfig, net: NetConfig, categories: Categories) -> ModelSpec:
    """Return the ModelSpec of the network that a configuration describes."""
    return ModelSpec(categories, data.mean, data.std, "RGB" if data.to_rgb else "BGR", net.down_ratio,
                     data.input_res_test)
