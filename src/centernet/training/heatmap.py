"""Training targets that are drawn on the device, from a few numbers per object.

A Gaussian of radius r (cells) has sigma (2r + 1) / 6 and is cut off at a distance
of r in x and in y; where objects overlap the largest value counts.
"""
from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops


def draw_gaussians(ind: Tensor, radius: Tensor, valid: Tensor, size: tuple[int, int]) -> Tensor:
    """One map per object.

    Args:
        ind: (B,M) int32, the centre's cell y * W + x.
        radius: (B,M) int32, cells.
        valid: (B,M), 1 for an object, 0 for an unused slot (its map is all zero).
        size: H, W of the map.

    Returns:
        (B,M,H,W) float32 in 0..1, exactly 1 at the centre.
    """
    height, width = size
    # Three axes: (B,M,cells of one side)
    center = ops.expand_dims(ops.cast(ind, ms.float32), 2)
    y = ops.floor((center + 0.5) * (1.0 / width))
    x = center - y * width
    reach = ops.expand_dims(ops.cast(radius, ms.float32), 2)
    falloff = 18.0 / ops.square(2 * reach + 1)  # 1 / (2 sigma^2)
    rows = _profile(ms.numpy.arange(height), y, reach, falloff) * ops.expand_dims(ops.cast(valid, ms.float32), 2)
    columns = _profile(ms.numpy.arange(width), x, reach, falloff)
    return ops.expand_dims(rows, 3) * ops.expand_dims(columns, 2)


def _profile(cells: Tensor, center: Tensor, reach: Tensor, falloff: Tensor) -> Tensor:
    """The Gaussian along one axis, (B,M,cells); a map is the product of two."""
    distance = ops.cast(cells, ms.float32) - center
    return ops.exp(-distance * distance * falloff) * ops.cast(ops.abs(distance) <= reach, ms.float32)


class DrawHeatmap(nn.Cell):
    """Target heatmaps: ind, cls, radius, valid (B,M) -> (B,num_classes,H,W) float32."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.num_classes = num_classes
        self.largest = ops.UnsortedSegmentMax()

    def construct(self, ind: Tensor, cls: Tensor, radius: Tensor, valid: Tensor, size: tuple[int, int]) -> Tensor:
        """Largest Gaussian of each class in each cell; arguments as for draw_gaussians, cls in 0..num_classes-1."""
        batch, count = ind.shape
        gaussians = ops.reshape(draw_gaussians(ind, radius, valid, size), (batch * count, size[0] * size[1]))
        first = ops.reshape(ms.numpy.arange(batch) * self.num_classes, (batch, 1))
        segments = ops.reshape(ops.cast(cls, ms.int32) + ops.cast(first, ms.int32), (batch * count,))
        drawn = self.largest(gaussians, segments, batch * self.num_classes)
        # A class without objects gets the smallest float.
        return ops.reshape(ops.maximum(drawn, 0.0), (batch, self.num_classes, *size))


def draw_dense_wh(ind: Tensor, radius: Tensor, valid: Tensor, wh: Tensor, size: tuple[int, int]) -> Tensor:
    """In each cell the wh of the object whose Gaussian is the largest there; of equal ones the last object's.

    Args:
        ind, radius, valid, size: as for draw_gaussians.
        wh: (B,M,2) float32 in cells.

    Returns:
        (B,2,H,W) float32; cells outside all Gaussians hold an arbitrary object's wh and must get no weight.
    """
    batch, count = ind.shape
    gaussians = ops.reshape(draw_gaussians(ind, radius, valid, size), (batch, count, size[0] * size[1]))
    strongest = count - 1 - ops.argmax(ops.flip(gaussians, (1,)), 1)
    index = ops.expand_dims(ops.cast(strongest, ms.int32), 1)
    dense = ops.gather_elements(ops.transpose(wh, (0, 2, 1)), 2, ops.concat((index, index), 1))
    return ops.reshape(dense, (batch, 2, *size))
