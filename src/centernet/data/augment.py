"""Data augmentation: random crop, scale, rotation, mirroring and colours of training images.

The rules are those of the paper's released code for detection. No function has state: all random numbers come from
the generator that is passed in. Therefore an image looks the same for any number of threads and in a resumed run.
"""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from centernet.config.schema import DatasetConfig
from centernet.geometry import affine_matrix

CROP_SCALES = np.arange(0.6, 1.4, 0.1)  # 0.6, 0.7 .. 1.3
CROP_BORDER = 128                       # smallest distance of a crop's centre from the image border, in pixels
JITTER = 0.4                            # largest change of brightness, contrast and saturation
LIGHTING = 0.1                          # standard deviation along the principal components of colour
GRAY = np.array([0.114, 0.587, 0.299])  # weights of B, G, R in the gray value (ITU-R BT.601)


@dataclass(frozen=True, eq=False)
class View:
    """The region of a (mirrored) image that becomes the network's input."""

    center: np.ndarray  # (2,) float32 x, y in pixels of the image; of the mirrored image if flip
    scale: float        # width of the region in pixels
    rotation: float     # degrees
    flip: bool          # mirror the image left to right first

    def matrix(self, size: tuple[int, int]) -> np.ndarray:
        """Return the (2, 3) affine map from the (mirrored) image to an output of size (height, width)."""
        return affine_matrix(self.center, self.scale, self.rotation, (size[1], size[0]))


def whole_view(height: int, width: int, input_res: tuple[int, int]) -> View:
    """Return the view that fits a whole image of height x width pixels into an input of (height, width)."""
    center = np.array([width / 2, height / 2], np.float32)
    # For a square input this is the image's longer side. For other inputs the image fits, too.
    return View(center, float(max(width, height * input_res[1] / input_res[0])), 0.0, False)


def draw_view(rng: np.random.Generator, height: int, width: int, data: DatasetConfig) -> View:
    """Draw a random view of an image of height x width pixels."""
    whole = whole_view(height, width, data.input_res_train)
    center, scale, rotation = whole.center, whole.scale, 0.0
    if data.rand_crop:
        scale *= float(rng.choice(CROP_SCALES))
        borders = [crop_border(width), crop_border(height)]
        center = np.array([rng.integers(border, size - border) for border, size in zip(borders, (width, height))])
    else:
        shifts = _clipped_normal(rng, data.shift, 2), _clipped_normal(rng, data.shift, 2)
        center = center + scale * np.array(shifts)
        scale *= 1 + _clipped_normal(rng, data.scale, 1)
    if rng.random() < data.aug_rot:
        rotation = _clipped_normal(rng, data.rotate, 2)
    flip = bool(rng.random() < data.flip_prop)
    if flip:
        center = np.array([width - center[0] - 1, center[1]])
    return View(center.astype(np.float32), scale, rotation, flip)


def crop_border(size: int) -> int:
    """Return CROP_BORDER, halved until an image side of `size` pixels has room for a centre between the borders."""
    border = CROP_BORDER
    while size <= 2 * border and border:
        border //= 2
    return border


def _clipped_normal(rng: np.random.Generator, deviation: float, limit: int) -> float:
    return deviation * float(np.clip(rng.standard_normal(), -limit, limit))


def warp(image: np.ndarray, view: View, input_res: tuple[int, int]) -> np.ndarray:
    """Cut the view out of an image: (h, w, 3) uint8 -> (H, W, 3) uint8. Pixels outside the image are black."""
    if view.flip:
        image = cv2.flip(image, 1)  # image[:, ::-1] would make OpenCV copy the image, which is slower than the warp
    return cv2.warpAffine(image, view.matrix(input_res), (input_res[1], input_res[0]), flags=cv2.INTER_LINEAR)


def unchanged_colors() -> np.ndarray:
    """Return the color matrix that only divides by 255, see jitter_matrix."""
    return np.eye(3, 4, dtype=np.float32) / 255


def draw_colors(rng: np.random.Generator, image: np.ndarray, data: DatasetConfig) -> np.ndarray:
    """Return a random color matrix for a (H, W, 3) uint8 image, see jitter_matrix."""
    order, factors = rng.permutation(3), 1 + rng.uniform(-JITTER, JITTER, 3)
    return jitter_matrix(image, order, factors, rng.normal(0, LIGHTING, 3), data)


def jitter_matrix(image: np.ndarray, order: np.ndarray, factors: np.ndarray, lighting: np.ndarray,
                  data: DatasetConfig) -> np.ndarray:
    """Return the (3, 4) float32 color matrix of a training image.

    It maps (B, G, R, 1) of an image in 0..255 to the (B, G, R) that the network gets before mean and std. They are on
    the scale 0..1, but not limited to it, as in the paper's code. Each change is linear in the pixel, in its gray
    value and in the mean gray value m of the unchanged image. Together they are
    (a * I + b * gray) @ pixel + c * m + lighting.

    Args:
        image: (H, W, 3) uint8 BGR.
        order: kinds of change in their order: 0 brightness, 1 contrast, 2 saturation.
        factors: the factor of each change, in the same order.
        lighting: (3,) weights of the principal components of colour.
        data: the principal components.
    """
    pixel, gray, mean = 1.0, 0.0, 0.0
    for kind, factor in zip(order, factors):
        pixel, gray, mean = pixel * factor, gray * factor, mean * factor
        if kind == 1:    # contrast: blend with the mean gray value
            mean += 1 - factor
        elif kind == 2:  # saturation: blend with the pixel's own gray value
            gray += 1 - factor
    means = cv2.mean(cv2.cvtColor(image, cv2.COLOR_BGR2BGRA))[:3]  # with four channels, OpenCV uses vector instructions
    constant = mean * (GRAY @ means) / 255 + np.array(data.eig_vec) @ (np.array(data.eig_val) * lighting)
    linear = (pixel * np.eye(3) + gray * np.tile(GRAY, (3, 1))) / 255
    return np.column_stack([linear, constant]).astype(np.float32)
