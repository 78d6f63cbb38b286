import math
from contextlib import nullcontext

import numpy as np
import pytest
from mindspore import Tensor

from centernet.data.targets import draw_heatmap
from centernet.device import eager
from centernet.geometry import gaussian_radius
from centernet.training.losses.heatmap import DrawHeatmap, draw_dense_wh, ellipse_radii


def radii(wh, mask):
    """Radius of each object, from its box's size in cells."""
    return np.array([max(0, int(gaussian_radius(math.ceil(h), math.ceil(w)))) if kept else 0
                     for (w, h), kept in zip(wh, mask)], np.int32)


@pytest.mark.parametrize("case", range(5))
def test_heatmaps_equal_official_targets(case, golden):
    """The first one is drawn by a compiled graph."""
    arrays = golden("targets")
    ind, mask, wh = (arrays[f"{case}_{name}"] for name in ("ind", "mask", "wh"))
    cls = np.zeros(len(ind), np.int32)
    known = arrays[f"{case}_cls"][:len(ind)]
    cls[:len(known)] = known
    inputs = [array.astype(np.int32)[None] for array in (ind, cls, radii(wh, mask), mask)]
    with eager() if case else nullcontext():
        ours = DrawHeatmap(80)(*map(Tensor, inputs), (128, 128)).asnumpy()[0]
    np.testing.assert_allclose(ours, arrays[f"{case}_hm"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(ours == 1, arrays[f"{case}_hm"] == 1)


def gaussian(y, x, radius, size):
    """Reference: one map."""
    rows, columns = np.mgrid[:size[0], :size[1]]
    distance = (rows - y) ** 2 + (columns - x) ** 2
    near = (abs(rows - y) <= radius) & (abs(columns - x) <= radius)
    return np.exp(-distance / (2 * ((2 * radius + 1) / 6) ** 2)) * near


def test_images_classes_and_unused_slots_are_kept_apart(layer_by_layer):
    size = (5, 9)
    ind, cls = [[2 * 9 + 3, 4 * 9 + 8], [0, 0]], [[1, 1], [0, 0]]
    drawn = DrawHeatmap(2)(*[Tensor(np.array(a, np.int32)) for a in (ind, cls, [[2, 1], [1, 3]], [[1, 1], [1, 0]])],
                           size).asnumpy()
    expected = np.zeros((2, 2, *size))
    expected[0, 1] = np.maximum(gaussian(2, 3, 2, size), gaussian(4, 8, 1, size))
    expected[1, 0] = gaussian(0, 0, 1, size)
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=1e-6)


def test_centers_in_the_first_column_of_maps_of_any_width(layer_by_layer):
    for width in (41, 83, 170):
        ind = np.arange(0, 12 * width, width, dtype=np.int32)[None]
        one = [Tensor(np.full_like(ind, value)) for value in (0, 0, 1)]
        drawn = DrawHeatmap(1)(Tensor(ind), *one, (12, width)).asnumpy()[0, 0]
        assert drawn[:, 0].tolist() == [1] * 12 and not drawn[:, 1:].any()


def test_ellipses_equal_the_formula_on_the_device_and_on_the_host(layer_by_layer):
    """Cut off at the border, thin, smaller than a cell, overlapping in one class and in another."""
    size, sides = (11, 17), [[9, 14], [16, 3], [0.4, 0.3], [7.5, 8], [4, 30]]
    ind, cls = [0, 5 * 17 + 8, 10 * 17 + 16, 6 * 17 + 9, 3], [1, 1, 0, 1, 0]
    expected = np.zeros((2, *size))
    for (w, h), cell, kind in zip(sides[:4], ind, cls):
        y, x = divmod(cell, 17)
        reach = int(0.54 * w / 2), int(0.54 * h / 2)
        for row, column in np.ndindex(size):
            distance = abs(column - x), abs(row - y)
            if distance[0] <= reach[0] and distance[1] <= reach[1]:
                power = sum(d ** 2 / (2 * ((2 * r + 1) / 6) ** 2) for d, r in zip(distance, reach))
                expected[kind, row, column] = max(expected[kind, row, column], math.exp(-power))
    valid, wh = np.array([[1, 1, 1, 1, 0]], np.int32), np.array([sides], np.float32)
    ind, cls = np.array([ind], np.int32), np.array([cls], np.int32)
    ours = DrawHeatmap(2)(Tensor(ind), Tensor(cls), ellipse_radii(Tensor(wh)), Tensor(valid), size).asnumpy()
    np.testing.assert_allclose(ours[0], expected, rtol=0, atol=1e-5)
    host = draw_heatmap(cls, ind * 0, ind, valid, 2, *size, wh)
    np.testing.assert_allclose(host, ours, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(host == 1, ours == 1)


def test_dense_sizes_are_those_of_the_strongest_object():
    size = (7, 9)
    centers, reach = [(2, 2), (2, 5), (5, 5), (3, 3)], [2, 1, 3, 3]
    ind = np.array([[y * 9 + x for y, x in centers]], np.int32)
    wh = np.random.RandomState(1).uniform(1, 9, (1, 4, 2)).astype(np.float32)
    valid = np.array([[1, 1, 1, 0]], np.int32)
    ours = draw_dense_wh(Tensor(ind), Tensor(np.array([reach], np.int32)), Tensor(valid), Tensor(wh), size).asnumpy()[0]
    drawn = np.stack([gaussian(y, x, r, size) for (y, x), r in zip(centers[:3], reach)])
    for y, x in np.argwhere(drawn.max(0) > 0):
        best = np.flatnonzero(np.isclose(drawn[:, y, x], drawn[:, y, x].max(), rtol=1e-6))[-1]
        np.testing.assert_array_equal(ours[:, y, x], wh[0, best], err_msg=f"cell {y}, {x}")


def test_of_equal_gaussians_the_last_object_counts():
    same = [Tensor(np.array([[30, 30]], np.int32)), Tensor(np.array([[2, 2]], np.int32)),
            Tensor(np.array([[1, 1]], np.int32))]
    wh = Tensor(np.array([[[1, 2], [3, 4]]], np.float32))
    assert draw_dense_wh(*same, wh, (8, 8)).asnumpy()[0, :, 3, 6].tolist() == [3, 4]
