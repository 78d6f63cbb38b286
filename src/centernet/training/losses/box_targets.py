"""Targets of the box head ltrb, drawn by the device from a few numbers for each object (TTFNet, Liu et al. 2020).

The kernel of an object is the elliptic Gaussian g of its box (geometry.ELLIPSE_SHARE). All its cells learn the box,
with the weight log(area) * g / sum(g): area in input pixels, sum over the cells of the kernel that lie in the map. So a
large object counts more than a small one, but far less than its area says. Where kernels meet, the smallest box wins;
of equal areas the last object.
"""
from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, ops

from centernet.config.sections import CELL_POINT, DOWN_RATIO
from centernet.training.losses.heatmap import cell_of, ellipse_radii, gaussian, profiles


def draw_boxes(ind: Tensor, wh: Tensor, reg: Tensor, valid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the box and the weight that each cell learns.

    Only find_owners has a tensor of the size (B,M,H,W). All else is read at the owner of each cell from nine numbers
    for each object.

    Args:
        ind: (B,M) int32, position of the centre in the output map: y * W + x.
        wh: (B,M,2) float32, width and height in output cells.
        reg: (B,M,2) float32, offset of the centre within its cell.
        valid: (B,M), 1 for an object, 0 for an unused slot.
        size: (H, W) of the map.

    Returns:
        ltrb (B,4,H,W) float32, distances from the cell's point to the sides in cells, negative if the point is outside
        of the box; and the weight (B,1,H,W) float32, at least 0. Cells outside all kernels have the weight 0 and the
        box of an arbitrary object.
    """
    batch, count = ind.shape
    height, width = size
    radii = ellipse_radii(wh)
    rows, columns = profiles(ind, radii, valid, size)
    area = wh[:, :, 0] * wh[:, :, 1]
    total = ops.maximum(ops.reduce_sum(rows, 2) * ops.reduce_sum(columns, 2), 1.0)  # the centre alone has 1
    # The logarithm would be negative below one pixel.
    strength = ops.log(ops.maximum(area * DOWN_RATIO ** 2, 1.0)) / total * ops.cast(valid, ms.float32)
    center = ops.stack(cell_of(ind, width), 2)
    numbers = ops.concat((center, radii, CELL_POINT - reg, wh * 0.5, ops.expand_dims(strength, 2)), 2)
    owner = ops.reshape(find_owners(rows, columns, area), (batch, 1, height * width))
    index = ops.tile(owner, (1, numbers.shape[2], 1))
    at_cells = ops.reshape(ops.gather_elements(ops.transpose(numbers, (0, 2, 1)), 2, index), (batch, -1, height, width))
    x = ops.reshape(ops.cast(ms.numpy.arange(width), ms.float32), (1, 1, 1, width))
    y = ops.reshape(ops.cast(ms.numpy.arange(height), ms.float32), (1, 1, height, 1))
    right, down = x - at_cells[:, :1], y - at_cells[:, 1:2]
    weight = gaussian(right, at_cells[:, 2:3]) * gaussian(down, at_cells[:, 3:4]) * at_cells[:, 8:]
    from_center, half = ops.concat((right, down), 1) + at_cells[:, 4:6], at_cells[:, 6:8]
    return ops.concat((half + from_center, half - from_center), 1), weight


def find_owners(rows: Tensor, columns: Tensor, area: Tensor) -> Tensor:
    """Return the slot of the object that each cell belongs to; 0 for cells outside all kernels.

    Args:
        rows, columns: (B,M,H) and (B,M,W) float32, the kernels' profiles, see heatmap.profiles.
        area: (B,M) float32.

    Returns:
        (B,H,W) int32.
    """
    order = 1 + later_of(area)
    inside = ops.cast(rows > 0, ms.float32) * ops.expand_dims(order, 2)
    covered = ops.expand_dims(inside, 3) * ops.expand_dims(ops.cast(columns > 0, ms.float32), 2)
    return ops.cast(ops.argmax(covered, 1), ms.int32)


def later_of(area: Tensor) -> Tensor:
    """Return the place of each object in the order of falling area, objects of one area in the order of slots.

    Pairs are compared: other than a sort, that gives the same order on every device.

    Args:
        area: (B,M) float32.

    Returns:
        (B,M) float32, 0 for the largest object.
    """
    one, other = ops.expand_dims(area, 2), ops.expand_dims(area, 1)
    slots = ms.numpy.arange(area.shape[1])
    earlier = ops.cast(ops.expand_dims(slots, 0) < ops.expand_dims(slots, 1), ms.float32)
    before = ops.cast(other > one, ms.float32) + ops.cast(ops.equal(other, one), ms.float32) * earlier
    return ops.reduce_sum(before, 2)
