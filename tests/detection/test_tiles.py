"""Tiles of a large image give the boxes of the whole image."""
import numpy as np
import pytest

from centernet.detection.tiles import detect_tiles, merge_tiles, tile_windows


def painted(image):
    """Boxes of the painted rectangles of an image: colour value v is an object, its class v % 2, its score v / 255."""
    rows = []
    for value in np.unique(image[image > 0]):
        y, x = np.nonzero(image[:, :, 0] == value)
        rows.append([x.min(), y.min(), x.max() + 1, y.max() + 1, value / 255, value % 2])
    return np.array(rows, np.float32).reshape(-1, 6)


def by_place(rows):
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize(("size", "tile", "overlap"), [((700, 900), 256, 0.25), ((300, 1000), 200, 0.4),
                                                       ((150, 120), 256, 0.2), ((513, 512), 512, 0.0)])
def test_tiles_give_the_boxes_of_the_whole_image(size, tile, overlap):
    rng = np.random.default_rng(1)
    image = np.zeros((*size, 3), np.uint8)
    for value in range(40, 120):  # apart from each other, smaller and larger than the overlap
        height, width = rng.integers(10, 90, 2)
        y, x = rng.integers(0, size[0] - min(height, size[0] - 1)), rng.integers(0, size[1] - min(width, size[1] - 1))
        if not image[max(0, y - 6):y + height + 6, max(0, x - 6):x + width + 6].any():
            image[y:y + height, x:x + width] = value
    whole = painted(image)
    assert len(whole) >= 4
    np.testing.assert_allclose(by_place(detect_tiles(painted, image, tile, overlap)), by_place(whole), atol=1e-4)


def test_an_object_over_many_tiles_is_one_box():
    image = np.zeros((400, 1500, 3), np.uint8)
    image[100:300, 50:1450] = 90
    np.testing.assert_allclose(detect_tiles(painted, image, 256, 0.2), painted(image), atol=1e-4)


def test_what_the_rule_keeps_and_joins():
    windows = tile_windows(100, 180, 100, 0.2)
    assert windows == [(0, 0, 100, 100), (80, 0, 180, 100)]
    whole = [82, 30, 97, 60, 0.4, 0]  # within the shared area
    nested = [[10, 10, 60, 60, 0.9, 0], [12, 12, 58, 58, 0.8, 0]]  # of one tile: the detector's own decision
    other_class = [83, 31, 98, 61, 0.5, 1]
    twins = [[84, 30, 96, 60, 0.6, 0], other_class]
    found = merge_tiles(windows, [np.array([whole, *nested]), np.array(twins)], 100, 180)
    assert sorted(round(float(score), 1) for score in found[:, 4]) == [0.5, 0.6, 0.8, 0.9]
    # A cut box is replaced by the whole one, even if its score is higher.
    found = merge_tiles(windows, [np.array([[60, 30, 95, 60, 0.3, 0]]), np.array([[80, 31, 95, 60, 0.9, 0]])], 100, 180)
    np.testing.assert_allclose(found, [[60, 30, 95, 60, 0.3, 0]], atol=1e-6)
    # Two cut boxes become one, with the better score.
    parts = [np.array([[60, 30, 100, 60, 0.3, 0]]), np.array([[80, 32, 140, 60, 0.9, 0]])]
    found = merge_tiles(windows, parts, 100, 180)
    np.testing.assert_allclose(found, [[60, 30, 140, 60, 0.9, 0]], atol=1e-6)
    # A small whole object in front of a large cut one does not end it.
    small, left, right = [85, 40, 93, 48, 0.7, 0], [20, 20, 100, 80, 0.9, 0], [80, 20, 160, 80, 0.8, 0]
    found = merge_tiles(windows, [np.array([left, small]), np.array([right, small])], 100, 180)
    np.testing.assert_allclose(found, [[20, 20, 160, 80, 0.9, 0], small], atol=1e-6)
    assert merge_tiles(windows, [np.zeros((0, 6))] * 2, 100, 180).shape == (0, 6)


def test_windows_cover_the_image_with_at_least_the_overlap():
    for length in (100, 1000, 1024, 1025, 4000):
        starts = sorted({window[0] for window in tile_windows(10, length, 256, 0.2)})
        assert starts[0] == 0 and (starts[-1] + 256 == length or length <= 256)
        assert all(b - a <= 256 * 0.8 for a, b in zip(starts, starts[1:]))
