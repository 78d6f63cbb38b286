import math
from contextlib import nullcontext

import numpy as np
import pytest
from mindspore import Tensor

from centernet.device import eager
from centernet.geometry import gaussian_radius
from centernet.training.heatmap import DrawHeatmap, draw_dense_wh


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
