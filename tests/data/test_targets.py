import numpy as np
import pytest

from centernet.data.targets import draw_heatmap, encode, to_output_boxes
from centernet.geometry import affine_matrix, gaussian_radius

OUTPUT = (128, 128)


def golden_case(data, k):
    width, flip = int(data[f"{k}_size"][0]), bool(data[f"{k}_flip"])
    matrix = affine_matrix(data[f"{k}_c"], float(data[f"{k}_s"]), 0.0, (OUTPUT[1], OUTPUT[0]))
    boxes = to_output_boxes(data[f"{k}_boxes"], matrix, width if flip else 0, OUTPUT)
    return encode(boxes, data[f"{k}_cls"].astype(np.int32), OUTPUT, 128)


@pytest.mark.parametrize("k", range(5))
def test_targets_equal_golden(golden, k):
    data = golden("targets")
    targets = golden_case(data, k)
    np.testing.assert_array_equal(targets.ind, data[f"{k}_ind"])
    np.testing.assert_array_equal(targets.reg_mask, data[f"{k}_mask"])
    np.testing.assert_allclose(targets.wh, data[f"{k}_wh"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(targets.reg, data[f"{k}_reg"], rtol=0, atol=1e-5)
    heatmap = draw_heatmap(targets.cls, targets.radius, targets.ind, targets.reg_mask, 80, *OUTPUT)
    np.testing.assert_allclose(heatmap, data[f"{k}_hm"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(heatmap == 1, data[f"{k}_hm"] == 1)
    assert [array.dtype for array in targets] == [np.int32] * 3 + [np.float32] * 2 + [np.int32]


def test_golden_covers_more_boxes_than_slots_and_dropped_ones(golden):
    data = golden("targets")
    assert max(len(data[f"{k}_boxes"]) for k in range(5)) > 128
    assert any((data[f"{k}_mask"][:len(data[f"{k}_boxes"])] == 0).any() for k in range(5))


def test_a_box_needs_width_and_height():
    boxes = np.array([[5, 5, 5, 9], [5, 5, 9, 5], [5, 5, 9, 9], [np.nan, 5, 9, 9]], np.float32)
    targets = encode(boxes, np.array([1, 2, 3, 4], np.int32), OUTPUT, 6)
    assert targets.reg_mask.tolist() == [0, 0, 1, 0, 0, 0]
    assert targets.cls.tolist() == [0, 0, 3, 0, 0, 0]
    assert targets.ind[2] == 7 * 128 + 7


def test_row_of_a_map_wider_than_high():
    targets = encode(np.array([[100, 20, 120, 30]], np.float32), np.zeros(1, np.int32), (64, 160), 1)
    assert targets.ind[0] == 25 * 160 + 110
    heatmap = draw_heatmap(targets.cls, targets.radius, targets.ind, targets.reg_mask, 2, 64, 160)
    assert np.unravel_index(heatmap.argmax(), heatmap.shape) == (0, 25, 110)


def test_rotated_box_encloses_its_corners():
    matrix = affine_matrix(np.array([64.0, 64.0]), 128.0, 45.0, OUTPUT)
    box = to_output_boxes(np.array([[54, 54, 74, 74]], np.float32), matrix, 0, OUTPUT)[0]
    half = 10 * np.sqrt(2)
    np.testing.assert_allclose(box, [64 - half, 64 - half, 64 + half, 64 + half], atol=1e-3)


def test_without_margin_boxes_end_at_the_border_of_the_map():
    """As head ltrb needs them. A strip at the border has its centre in the last cell, also after rounding."""
    identity, (height, width) = np.array([[1.0, 0, 0], [0, 1, 0]]), OUTPUT
    boxes = np.array([[width - 6, height - 4, width + 9, height + 9]], np.float32)
    assert to_output_boxes(boxes, identity, 0, OUTPUT, margin=0).tolist() == [[width - 6, height - 4, width, height]]
    assert to_output_boxes(boxes, identity, 0, OUTPUT).tolist() == [[width - 6, height - 4, width - 1, height - 1]]
    strip = np.array([[np.nextafter(np.float32(width), np.float32(0)), 2, width, 6]], np.float32)
    targets = encode(strip, np.zeros(1, np.int32), OUTPUT, 1)
    assert targets.reg_mask.tolist() == [1] and targets.ind.tolist() == [4 * width + width - 1]


def test_mirrored_box_follows_mirrored_pixels():
    image = np.zeros((128, 128), np.uint8)
    image[30:40, 10:30] = 255
    identity = np.array([[1.0, 0, 0], [0, 1, 0]])
    # Corners of a box are pixel positions, so 10..29 becomes 98..117.
    x1, y1, x2, y2 = to_output_boxes(np.array([[10, 30, 29, 39]], np.float32), identity, 128, OUTPUT)[0].astype(int)
    assert (image[:, ::-1][y1:y2 + 1, x1:x2 + 1] == 255).all()
    assert image[:, ::-1].sum() == 255 * (x2 - x1 + 1) * (y2 - y1 + 1)


def test_overlapping_peaks_keep_the_larger_value():
    ind = np.array([10 * 32 + 10, 10 * 32 + 12], np.int32)
    radius, ones = np.array([6, 1], np.int32), np.ones(2, np.int32)
    both = draw_heatmap(np.zeros(2, np.int32), radius, ind, ones, 1, 32, 32)
    singles = [draw_heatmap(np.zeros(1, np.int32), radius[k:k + 1], ind[k:k + 1], ones[:1], 1, 32, 32) for k in (0, 1)]
    np.testing.assert_array_equal(both, np.maximum(*singles))


def test_a_batch_of_heatmaps_is_that_of_its_images():
    random = np.random.default_rng(2)
    columns = [random.integers(0, limit, (3, 9), np.int32) for limit in (4, 8, 24 * 32, 2)]
    together = draw_heatmap(*columns, 4, 24, 32)
    assert together.shape == (3, 4, 24, 32)
    np.testing.assert_array_equal(together, np.stack([draw_heatmap(*rows, 4, 24, 32) for rows in zip(*columns)]))
    assert len({image.tobytes() for image in together}) == 3


def test_a_crowd_of_boxes_has_the_radius_of_each():
    random = np.random.default_rng(3)
    corners = random.uniform(0, 60, (100, 2))
    boxes = np.hstack([corners, corners + random.uniform(0.1, 60, (100, 2))]).astype(np.float32)
    sizes = np.ceil((boxes[:, 2:] - boxes[:, :2]).astype(np.float64))
    found = encode(boxes, np.zeros(100, np.int32), OUTPUT, 100).radius
    assert found.tolist() == [max(0, int(gaussian_radius(height, width))) for width, height in sizes]


def test_border_peak_is_cut_and_radius_zero_is_one_cell():
    heatmap = draw_heatmap(np.array([0, 1], np.int32), np.array([3, 0], np.int32),
                           np.array([0, 31 * 32 + 31], np.int32), np.ones(2, np.int32), 2, 32, 32)
    assert heatmap[0, 0, 0] == 1
    assert heatmap[0, 4:].max() == heatmap[0, :, 4:].max() == 0
    assert heatmap[1].sum() == heatmap[1, 31, 31] == 1
