"""Training targets that the device draws from a few numbers for each object.

A Gaussian of radius r (in output cells) has sigma (2r + 1) / 6 and is cut off at a distance of r in x and in y. An
ellipse has two radii. Where objects overlap, the largest value counts.
"""
from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from centernet.geometry import ELLIPSE_SHARE, IGNORED


def draw_gaussians(ind: Tensor, radius: Tensor, valid: Tensor, size: tuple[int, int]) -> Tensor:
    """Draw one map for each object.

    Args:
        ind: (B,M) int32, position of the centre in the output map: y * W + x.
        radius: (B,M) int32, output cells; or (B,M,2) float32, the radii in x and y, see ellipse_radii.
        valid: (B,M), 1 for an object, 0 for an unused slot (its map is zero).
        size: (H, W) of the map.

    Returns:
        (B,M,H,W) float32 in 0..1, exactly 1 at the centre.
    """
    rows, columns = profiles(ind, radius, valid, size)
    return ops.expand_dims(rows, 3) * ops.expand_dims(columns, 2)


def profiles(ind: Tensor, radius: Tensor, valid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the Gaussians along y (B,M,H) and x (B,M,W); a map is their product. Arguments: as draw_gaussians."""
    x, y = cell_of(ind, size[1])
    right = down = ops.cast(radius, ms.float32)
    if radius.ndim == 3:
        right, down = right[:, :, 0], right[:, :, 1]
    rows = gaussian(_distances(size[0], y), ops.expand_dims(down, 2)) * ops.expand_dims(ops.cast(valid, ms.float32), 2)
    return rows, gaussian(_distances(size[1], x), ops.expand_dims(right, 2))


def cell_of(ind: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return column and row of positions y * width + x, as float32."""
    cell = ops.cast(ind, ms.float32)
    y = ops.floor((cell + 0.5) * (1.0 / width))
    return cell - y * width, y


def ellipse_radii(wh: Tensor) -> Tensor:
    """Return the radii (B,M,2) in x and y of the elliptic Gaussians of boxes (B,M,2), see ELLIPSE_SHARE; in cells."""
    return ops.floor(wh * (ELLIPSE_SHARE / 2))


def gaussian(distance: Tensor, reach: Tensor) -> Tensor:
    """Return the Gaussian along one axis at distances from the centre, in cells; 0 beyond its reach."""
    falloff = 18.0 / ops.square(2 * reach + 1)  # 1 / (2 sigma^2)
    return ops.exp(-distance * distance * falloff) * ops.cast(ops.abs(distance) <= reach, ms.float32)


def _distances(length: int, center: Tensor) -> Tensor:
    """Return the distances of all cells of an axis from centres: (B,M) -> (B,M,length)."""
    return ops.cast(ms.numpy.arange(length), ms.float32) - ops.expand_dims(center, 2)


def with_regions(rows: Tensor, columns: Tensor, ind: Tensor, valid: Tensor, wh: Tensor,
                 size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Put the profiles of ignored regions, IGNORED in the box and 0 outside, in place of those of their slots.

    Args:
        rows, columns: see profiles.
        ind, valid, wh, size: as for DrawHeatmap.
    """
    region = ops.cast(wh[:, :, 0] > 0, ms.float32) * (1 - ops.cast(valid, ms.float32))
    region = ops.expand_dims(region, 2)
    reach = ops.ceil(wh * 0.5)
    x, y = cell_of(ind, size[1])
    flat_rows = ops.cast(ops.abs(_distances(size[0], y)) <= reach[:, :, 1:], ms.float32)
    flat_columns = ops.cast(ops.abs(_distances(size[1], x)) <= reach[:, :, :1], ms.float32)
    return rows + IGNORED * region * flat_rows, columns * (1 - region) + region * flat_columns


class DrawHeatmap(nn.Cell):
    """Target heatmaps: ind, cls, radius, valid (B,M) -> (B,num_classes,H,W) float32 in 0..1.

    Args:
        num_classes: number of maps of an image.
        regions: also draw ignored regions, with the value IGNORED; construct needs wh.
    """

    def __init__(self, num_classes: int, regions: bool = False):
        super().__init__()
        self.regions = regions
        self.num_classes = num_classes
        self.largest = ops.UnsortedSegmentMax()

    def construct(self, ind: Tensor, cls: Tensor, radius: Tensor, valid: Tensor, size: tuple[int, int],
                  wh: Tensor | None = None) -> Tensor:
        """Return the largest value of each class at each position.

        Args:
            ind, radius, valid, size: as for draw_gaussians.
            cls: (B,M) int32 class of each object or region.
            wh: (B,M,2) float32, sizes in cells; a slot with a size and valid 0 is an ignored region.
        """
        batch, count = ind.shape
        rows, columns = profiles(ind, radius, valid, size)
        if self.regions:
            rows, columns = with_regions(rows, columns, ind, valid, wh, size)
        gaussians = ops.reshape(ops.expand_dims(rows, 3) * ops.expand_dims(columns, 2),
                                (batch * count, size[0] * size[1]))
        first = ops.reshape(ms.numpy.arange(batch) * self.num_classes, (batch, 1))
        segments = ops.reshape(ops.cast(cls, ms.int32) + ops.cast(first, ms.int32), (batch * count,))
        drawn = self.largest(gaussians, segments, batch * self.num_classes)
        # UnsortedSegmentMax gives the smallest float to a class without objects.
        return ops.reshape(ops.maximum(drawn, 0.0), (batch, self.num_classes, *size))


def draw_dense_wh(ind: Tensor, radius: Tensor, valid: Tensor, wh: Tensor, size: tuple[int, int]) -> Tensor:
    """Return, at each position, the wh of the object with the largest Gaussian there; of equal Gaussians the last one.

    Args:
        ind, radius, valid, size: as for draw_gaussians.
        wh: (B,M,2) float32 in output cells.

    Returns:
        (B,2,H,W) float32. Positions outside all Gaussians hold the wh of an arbitrary object: their weight must be 0.
    """
    batch, count = ind.shape
    gaussians = ops.reshape(draw_gaussians(ind, radius, valid, size), (batch, count, size[0] * size[1]))
    strongest = count - 1 - ops.argmax(ops.flip(gaussians, (1,)), 1)
    index = ops.expand_dims(ops.cast(strongest, ms.int32), 1)
    dense = ops.gather_elements(ops.transpose(wh, (0, 2, 1)), 2, ops.concat((index, index), 1))
    return ops.reshape(dense, (batch, 2, *size))
