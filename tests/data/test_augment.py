import dataclasses

import cv2
import numpy as np
import pytest

from centernet.config.load import load_config
from centernet.data.augment import View, crop_border, draw_colors, draw_view, warp, whole_view
from tests.tiny_training import apply_colors


@pytest.fixture(scope="module")
def data():
    return load_config("train", [], "").dataset_config


def views(data, count=400, size=(480, 640)):
    return [draw_view(np.random.default_rng(seed), *size, data) for seed in range(count)]


def test_random_crop_follows_the_rules(data):
    drawn = views(data)
    assert {round(view.scale / 640, 3) for view in drawn} == {0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3}
    plain = [view.center for view in drawn if not view.flip]
    assert min(c[0] for c in plain) >= 128
    assert max(c[0] for c in plain) < 640 - 128
    assert min(c[1] for c in plain) >= 128
    assert max(c[1] for c in plain) < 480 - 128
    assert np.ptp([c[0] for c in plain]) > 350
    assert 0.4 < np.mean([view.flip for view in drawn]) < 0.6
    assert all(view.rotation == 0 for view in drawn)


def test_mirroring_mirrors_the_center(data):
    plain = dataclasses.replace(data, flip_prop=0.0)
    mirrored = dataclasses.replace(data, flip_prop=1.0)
    one, other = (draw_view(np.random.default_rng(3), 480, 640, settings) for settings in (plain, mirrored))
    assert (one.flip, other.flip) == (False, True)
    assert other.center[0] == 640 - one.center[0] - 1
    assert other.center[1] == one.center[1]


def test_shift_and_scale_are_clipped_normals(data):
    drawn = views(dataclasses.replace(data, rand_crop=False, flip_prop=0.0, shift=0.1, scale=0.4), 2000)
    shifts = np.array([view.center - (320, 240) for view in drawn]) / 640
    scales = np.array([view.scale for view in drawn]) / 640
    assert abs(np.abs(shifts).max() - 0.2) < 1e-6
    assert abs(shifts.std() - 0.1 * 0.88) < 0.01  # a normal clipped at 2 sigma
    assert abs(scales.min() - 0.6) < 1e-6
    assert abs(scales.max() - 1.4) < 1e-6
    assert (scales == scales.max()).mean() > 0.1  # clipped at 1 sigma: 16 % on each side


def test_rotation_with_its_probability(data):
    drawn = views(dataclasses.replace(data, aug_rot=0.5, rotate=10.0))
    angles = np.array([view.rotation for view in drawn])
    assert 0.4 < (angles != 0).mean() < 0.6
    assert 15 < np.abs(angles).max() <= 20


@pytest.mark.parametrize("size, border", [(640, 128), (257, 128), (256, 64), (100, 32), (3, 1), (1, 0)])
def test_crop_border(size, border):
    assert crop_border(size) == border
    assert size - border > border


@pytest.mark.parametrize("size", [(1, 1), (2, 700), (300, 1)])
def test_tiny_images(data, size):
    image = np.full((*size, 3), 200, np.uint8)
    for seed in range(5):
        view = draw_view(np.random.default_rng(seed), *size, data)
        assert warp(image, view, (64, 64)).shape == (64, 64, 3)


def test_whole_view_fits_any_input():
    image = np.full((100, 200, 3), 255, np.uint8)
    for input_res in ((256, 256), (128, 512), (512, 128)):
        placed = warp(image, whole_view(100, 200, input_res), input_res)
        scale = min(input_res[0] / 100, input_res[1] / 200)
        assert abs((placed[..., 0] > 127).sum() - scale * scale * 100 * 200) < 0.03 * placed[..., 0].size


def test_warp_mirrors_first():
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    view = View(np.array([32, 32], np.float32), 64.0, 0.0, True)
    np.testing.assert_array_equal(warp(image, view, (64, 64)), image[:, ::-1])


def plain_jitter(rng, image, data):
    """The rules, one operation after the other on a float image / 255; values may lie outside 0..1."""
    image = image.astype(np.float64) / 255
    gray = image @ [0.114, 0.587, 0.299]
    mean = gray.mean()
    for kind in rng.permutation(3):
        alpha = 1 + rng.uniform(-0.4, 0.4)
        if kind == 0:
            image = image * alpha
        elif kind == 1:
            image = image * alpha + mean * (1 - alpha)
        else:
            image = image * alpha + gray[..., None] * (1 - alpha)
    return image + np.dot(data.eig_vec, np.array(data.eig_val) * rng.normal(0, 0.1, 3))


@pytest.mark.parametrize("seed", range(12))
def test_one_matrix_equals_the_steps(data, seed):
    image = cv2.GaussianBlur(np.random.default_rng(9).integers(0, 255, (40, 60, 3), np.uint8), (5, 5), 2)
    image = (image * [1.0, 0.7, 0.4]).astype(np.uint8)  # channels of different means
    colors = draw_colors(np.random.default_rng(seed), image, data)
    assert colors.dtype == np.float32 and colors.shape == (3, 4)
    found = apply_colors(image, colors)
    np.testing.assert_allclose(found, plain_jitter(np.random.default_rng(seed), image, data), rtol=0, atol=1e-5)
    assert np.abs(found - image / 255).mean() > 0.002


def test_no_pixel_is_clipped(data):
    """A bright picture keeps its content: its values above 1 differ as its pixels do."""
    image = np.tile(np.arange(200, 256, dtype=np.uint8)[None, :, None], (8, 1, 3))
    drawn = [apply_colors(image, draw_colors(np.random.default_rng(seed), image, data))[0] for seed in range(50)]
    assert max(values.max() for values in drawn) > 1.2
    assert all((np.diff(values, axis=0) > 0).all() for values in drawn)


def test_moments_of_many_draws_are_those_of_the_formula(data):
    """Brightness and contrast scale a gray image by the factors a and b, saturation does nothing to it."""
    image = np.array([[[40] * 3, [200] * 3]], np.uint8)
    drawn = np.array([apply_colors(image, draw_colors(np.random.default_rng(seed), image, data))[0]
                      for seed in range(4000)])
    difference, mean = drawn[:, 1, 0] - drawn[:, 0, 0], drawn[:, :, 0].mean(1)
    variance = 0.8 ** 2 / 12  # of a factor, uniform in 0.6..1.4
    assert difference.mean() == pytest.approx(160 / 255, rel=0.02)
    assert difference.std() == pytest.approx(160 / 255 * np.sqrt((1 + variance) ** 2 - 1), rel=0.04)
    assert mean.mean() == pytest.approx(120 / 255, rel=0.02)


def test_nothing_but_the_generator_is_random(data):
    np.random.seed(1)
    first = [draw_view(np.random.default_rng((1, 2, 3)), 480, 640, data) for _ in range(2)]
    np.random.seed(2)
    again = draw_view(np.random.default_rng((1, 2, 3)), 480, 640, data)
    assert first[0].scale == first[1].scale == again.scale
    np.testing.assert_array_equal(first[0].center, again.center)
