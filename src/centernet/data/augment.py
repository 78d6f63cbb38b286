"""Data augmentation: random crop, scale, rotation, mirroring and colours of training images.

With default settings, the rules are those of the paper's released code for detection. The other settings of STRONG
are stronger: other scales and shapes of objects, other colours, and several images in one (mosaic.py).

No function has state: all random numbers come from the generator that is passed in. Therefore an image looks the same
for any number of threads and in a resumed run.
"""
from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import cv2
import numpy as np

from centernet.config.schema import DatasetConfig
from centernet.geometry import affine_matrix, transform_points

CROP_SCALES = np.arange(0.6, 1.4, 0.1)  # 0.6, 0.7 .. 1.3
CROP_BORDER = 128                       # smallest distance of a crop's centre from the image border, in pixels
LIGHTING = 0.1                          # standard deviation along the principal components of colour
GRAY = np.array([0.114, 0.587, 0.299])  # weights of B, G, R in the gray value (ITU-R BT.601)
# Gray value Y and the colour differences U and V of a pixel B, G, R (ITU-R BT.601).
YUV = np.array([GRAY, 0.492 * ([1, 0, 0] - GRAY), 0.877 * ([0, 0, 1] - GRAY)])
BACK = np.linalg.inv(YUV)
# Settings of strong augmentation. At their defaults, the augmentation is that of the paper.
STRONG = ("scale_range", "aspect", "brightness", "contrast", "saturation", "hue", "mosaic", "mixup")


def without_strong(data: DatasetConfig) -> DatasetConfig:
    """Return the settings with the paper's augmentation in place of strong augmentation."""
    defaults = DatasetConfig()
    return dataclasses.replace(data, **{name: getattr(defaults, name) for name in STRONG})


@dataclass(frozen=True, eq=False)
class View:
    """The region of a (mirrored) image that becomes the network's input."""

    center: np.ndarray     # (2,) float32 x, y in pixels of the image; of the mirrored image if flip
    scale: float           # width of the region in pixels, without the aspect
    rotation: float        # degrees
    flip: bool             # mirror the image left to right first
    aspect: float = 1.0    # factor of objects' width / height; their area stays
    average: bool = False  # average pixels when the image becomes less than half as large

    def matrix(self, size: tuple[int, int]) -> np.ndarray:
        """Return the (2, 3) affine map from the (mirrored) image to an output of size (height, width)."""
        matrix = affine_matrix(self.center, self.scale, self.rotation, (size[1], size[0]))
        if self.aspect == 1:
            return matrix
        stretch, middle = np.sqrt([self.aspect, 1 / self.aspect]), np.array([size[1], size[0]]) / 2
        matrix[:, 2] -= middle
        return np.column_stack([stretch[:, None] * matrix[:, :2], stretch * matrix[:, 2] + middle])


def whole_view(height: int, width: int, input_res: tuple[int, int]) -> View:
    """Return the view that fits a whole image of height x width pixels into an input of (height, width)."""
    center = np.array([width / 2, height / 2], np.float32)
    # For a square input this is the image's longer side. For other inputs the image fits, too.
    return View(center, float(max(width, height * input_res[1] / input_res[0])), 0.0, False)


def draw_view(rng: np.random.Generator, height: int, width: int, data: DatasetConfig) -> View:
    """Draw a random view of an image of height x width pixels."""
    whole = whole_view(height, width, data.input_res_train)
    center, scale, rotation = whole.center, whole.scale, 0.0
    aspect = math.exp(rng.uniform(-1, 1) * math.log1p(data.aspect)) if data.aspect else 1.0
    if data.scale_range:
        center, scale = _draw_crop(rng, height, width, aspect, data)
    elif data.rand_crop:
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
    return View(center.astype(np.float32), scale, rotation, flip, aspect, bool(data.scale_range))


def _draw_crop(rng: np.random.Generator, height: int, width: int, aspect: float,
               data: DatasetConfig) -> tuple[np.ndarray, float]:
    """Return centre and scale of a View by scale_range: the rules of CenterNet* (Zhou 2021) for scale and crop.

    The image gets its new aspect and is enlarged until it fits into the input exactly, times a number that is uniform
    in scale_range. The input is a part of it at a random place. In a direction in which the image is smaller than the
    input, it lies at a random place of the input.
    """
    stretch = np.sqrt([aspect, 1 / aspect])
    size, room = np.array([width, height]) * stretch, np.array(data.input_res_train[::-1])
    smallest, largest = data.scale_range
    factor = rng.uniform(smallest, largest) * (room / size).min()
    left_top = rng.random(2) * (factor * size - room)  # of the input, in pixels of the enlarged image
    return (left_top + room / 2) / (factor * stretch), float(room[0] / factor)


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
    matrix = view.matrix(input_res)
    if view.flip:
        image = cv2.flip(image, 1)  # image[:, ::-1] would make OpenCV copy the image, which is slower than the warp
    if view.average:
        return _warp_covered(*_shrink(image, matrix), input_res)
    return cv2.warpAffine(image, matrix, (input_res[1], input_res[0]), flags=cv2.INTER_LINEAR)


def _warp_covered(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Warp only the part of the output that the image covers: an image of scale_range often covers little of it."""
    height, width = image.shape[:2]
    corners = transform_points(np.array([[-1.0, -1], [width, -1], [-1, height], [width, height]]), matrix)
    left, top = np.clip(np.floor(corners.min(0)), 0, size[::-1]).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners.max(0)) + 1, 0, size[::-1]).astype(int).tolist()
    output = np.zeros((*size, 3), np.uint8)
    if left < right and top < bottom:
        matrix = matrix - [[0, 0, left], [0, 0, top]]
        output[top:bottom, left:right] = cv2.warpAffine(image, matrix, (right - left, bottom - top))
    return output


def _shrink(image: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average blocks of n x n pixels if an affine map makes an image n times smaller; return the rest of the map, too.

    The map's bilinear samples use four pixels. Without the averages, they would skip most pixels of such an image.
    """
    factor = int(1 / np.hypot(*matrix[:, :2]).max())
    if factor < 2:
        return image, matrix
    blocks = np.minimum(factor, image.shape[1::-1])
    size = image.shape[1::-1] // blocks
    # Only whole blocks: OpenCV takes 2 to 10 times as long for others. The rest is narrower than a pixel of the output.
    width, height = size * blocks
    shrunk = cv2.resize(image[:height, :width], size.tolist(), interpolation=cv2.INTER_AREA)
    offset = matrix[:, :2] @ (blocks / 2 - 0.5) + matrix[:, 2]  # a pixel's centre has integer coordinates
    return shrunk, np.column_stack([matrix[:, :2] * blocks, offset])


def unchanged_colors() -> np.ndarray:
    """Return the color matrix that only divides by 255, see jitter_matrix."""
    return np.eye(3, 4, dtype=np.float32) / 255


def draw_colors(rng: np.random.Generator, image: np.ndarray, data: DatasetConfig) -> np.ndarray:
    """Return a random color matrix for a (H, W, 3) uint8 image, see jitter_matrix."""
    order = rng.permutation(3)
    largest = np.array([data.brightness, data.contrast, data.saturation])[order]
    factors, lighting = 1 + rng.uniform(-largest, largest), rng.normal(0, LIGHTING, 3)
    hue = rng.uniform(-data.hue, data.hue) if data.hue else 0.0
    return jitter_matrix(image, order, factors, lighting, data, hue)


def jitter_matrix(image: np.ndarray, order: np.ndarray, factors: np.ndarray, lighting: np.ndarray,
                  data: DatasetConfig, hue: float = 0.0) -> np.ndarray:
    """Return the (3, 4) float32 color matrix of a training image.

    It maps (B, G, R, 1) of an image in 0..255 to the (B, G, R) that the network gets before mean and std. They are on
    the scale 0..1, but not limited to it, as in the paper's code. Each change is linear in the pixel, in its gray
    value and in the mean gray value m of the unchanged image. Together they are
    (a * I + b * gray) @ pixel + c * m + lighting. A hue rotation in place of I changes no gray value, so it may come at
    any place of the order.

    Args:
        image: (H, W, 3) uint8 BGR.
        order: kinds of change in their order: 0 brightness, 1 contrast, 2 saturation.
        factors: the factor of each change, in the same order.
        lighting: (3,) weights of the principal components of colour.
        data: the principal components.
        hue: degrees, see hue_matrix.
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
    turn = hue_matrix(hue) if hue else np.eye(3)
    linear = (pixel * turn + gray * np.tile(GRAY, (3, 1))) / 255
    return np.column_stack([linear, constant]).astype(np.float32)


def hue_matrix(degrees: float) -> np.ndarray:
    """Return the (3, 3) map of B, G, R that rotates the colour differences (U, V) of BT.601. Gray values stay.

    This hue is linear in the pixel, unlike that of HSV.
    """
    angle = math.radians(degrees)
    turn = np.eye(3)
    turn[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return BACK @ turn @ YUV
