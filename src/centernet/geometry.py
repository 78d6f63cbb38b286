"""Affine maps between images and network inputs, and the size of a box's Gaussian."""
from __future__ import annotations

import math

import cv2
import numpy as np

# An elliptic Gaussian reaches int(0.54 * width / 2) cells to each side of its centre, and int(0.54 * height / 2) cells
# up and down (TTFNet, Liu et al. 2020). Its sigmas are (2 * reach + 1) / 6.
ELLIPSE_SHARE = 0.54

# Value of the target heatmap in an ignored region. It is not a centre (1), and the focal loss gives a cell of the
# background the weight (1 - value)^4, here 1e-12. It is exact in float32, so that other losses can tell it.
IGNORED = 1 - 2 ** -10


def gaussian_radius(height: float | np.ndarray, width: float | np.ndarray, min_overlap: float = 0.7) -> np.ndarray:
    """Return the radius of each box's Gaussian, in output cells.

    A box whose corners move by at most this radius still overlaps the original by min_overlap. The radius is the
    smallest of three cases of corner shifts (Law and Deng 2018, CornerNet). The roots are those of the paper's
    released code, which divides by 2 instead of 2a. "Corrected" roots lower the accuracy, and existing weights were
    trained with these.

    Args:
        height, width: of one box, or arrays of one shape, in output cells.
        min_overlap: smallest intersection over union, 0..1.
    """
    total = height + width
    area = height * width

    def root(a: float, b: float | np.ndarray, c: float | np.ndarray) -> np.ndarray:
        return np.asarray(b + np.sqrt(b * b - 4 * a * c)) / 2

    return np.minimum(np.minimum(root(1, total, area * (1 - min_overlap) / (1 + min_overlap)),
                                 root(4, 2 * total, (1 - min_overlap) * area)),
                      root(4 * min_overlap, -2 * min_overlap * total, (min_overlap - 1) * area))


def affine_matrix(center: np.ndarray, scale: float | tuple[float, float] | np.ndarray, rotation: float,
                  output_size: tuple[int, int], inverse: bool = False) -> np.ndarray:
    """Return the affine map from a region of an image to an output of a given size.

    Args:
        center: (2,) x, y of the region's centre, image pixels.
        scale: the region's width in image pixels. Only the first value of a pair is used, so that the aspect ratio
            is kept.
        rotation: degrees, counter-clockwise in image coordinates.
        output_size: (width, height) of the output, in pixels or output cells.
        inverse: return the map from the output to the image instead.

    Returns:
        (2, 3) float64 matrix.
    """
    width = float(np.ravel(scale)[0])
    angle = math.pi * rotation / 180
    up = np.array([width * 0.5 * math.sin(angle), -width * 0.5 * math.cos(angle)])
    middle = np.array([output_size[0] * 0.5, output_size[1] * 0.5])
    source = _corner_triangle(np.asarray(center, np.float64), up)
    target = _corner_triangle(middle, np.array([0.0, output_size[0] * -0.5]))
    return cv2.getAffineTransform(target, source) if inverse else cv2.getAffineTransform(source, target)


def _corner_triangle(center: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return a centre, a second point, and a third point that forms a right angle with them; (3, 2) float32."""
    first = np.asarray(center, np.float32)
    second = np.asarray(center + up, np.float32)
    direction = first - second
    third = second + np.array([-direction[1], direction[0]], np.float32)
    return np.stack([first, second, third])


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply a (2, 3) matrix to (..., 2) points x, y. It computes in float64 and returns the points' dtype."""
    moved = np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return moved.astype(points.dtype, copy=False)
