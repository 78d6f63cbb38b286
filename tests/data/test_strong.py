"""Strong augmentation of one image: scale, aspect, colours, visible part of boxes; and the defaults beside it."""
import colorsys
import dataclasses

import cv2
import numpy as np
import pytest

from centernet.config.load import load_config
from centernet.data.augment import STRONG, draw_colors, draw_view, hue_matrix, warp, without_strong
from centernet.data.pipeline import make_sample
from centernet.data.targets import to_output_boxes, visible_part
from centernet.errors import UserError
from tests.tiny_training import apply_colors

SIZE = (96, 144)  # height and width of the network's input


@pytest.fixture(scope="module")
def data():
    config = load_config("train", [], "").dataset_config
    return dataclasses.replace(config, input_res_train=SIZE, output_res=(24, 36), max_objs=5)


def rng(seed):
    return np.random.default_rng(seed)


def evenness(values, low, high):
    """The largest distance between the distribution of values and the uniform one (Kolmogorov), times sqrt(count)."""
    ranks = np.arange(len(values)) / len(values)
    return np.abs((np.sort(values) - low) / (high - low) - ranks).max() * np.sqrt(len(values))


def test_scale_aspect_and_place_follow_their_distributions(data):
    data = dataclasses.replace(data, scale_range=(0.1, 2.0), aspect=0.4, flip_prop=0.0)
    height, width, count = 90, 200, 2000
    matrices = [draw_view(rng(seed), height, width, data).matrix(SIZE) for seed in range(count)]
    assert all(m[0, 1] == 0 == m[1, 0] for m in np.round(matrices, 9))
    sizes = np.array([(m[1, 1] * height, m[0, 0] * width) for m in matrices])  # of the image in the input
    assert evenness((sizes / SIZE).max(1), 0.1, 2.0) < 1.6
    ratios = np.log(sizes[:, 1] / sizes[:, 0] * height / width)
    assert evenness(ratios, -np.log(1.4), np.log(1.4)) < 1.6
    for axis in (0, 1):
        left = np.array([m[1 - axis, 2] for m in matrices])  # of the image, in the input; it fits or covers the input
        assert evenness(left / (np.array(SIZE)[axis] - sizes[:, axis]), 0, 1) < 1.6


@pytest.mark.parametrize("strong", [
    {"scale_range": (0.3, 2.0)}, {"scale_range": (0.3, 2.0), "aspect": 0.4}, {"aspect": 1.0}, {}])
def test_boxes_follow_pixels(data, strong):
    """The bounding box of a rectangle's pixels is its target box: within a pixel, and a pixel's width where it ends."""
    data = dataclasses.replace(data, color_aug=False, **strong)
    image = np.zeros((180, 160, 3), np.uint8)
    x1, y1, x2, y2 = box = np.array([30, 40, 120, 110])
    image[y1:y2 + 1, x1:x2 + 1] = 255
    file = cv2.imencode(".png", image)[1].tobytes()
    limit, checked = 4 * np.array([35, 23, 35, 23]), 0
    for seed in range(80):
        pixels, _, _, _, ind, wh, reg, mask = make_sample(file, box[None].astype(np.float32), np.zeros(1, np.int32),
                                                          data, 1, rng(seed))
        bright = np.argwhere(pixels[..., 0] > 127)[:, ::-1]
        if not mask[0] or not len(bright):
            continue
        center = np.array(divmod(int(ind[0]), 36))[::-1] + reg[0]
        found = 4 * np.concatenate([center - wh[0] / 2, center + wh[0] / 2])
        half = np.diag(draw_view(rng(seed), 180, 160, data).matrix(SIZE))[[0, 1, 0, 1]] / 2  # of a stored pixel
        edges = np.concatenate([bright.min(0), bright.max(0)])
        expected = found + half * [-1, -1, 1, 1]
        inside = (expected > 0) & (expected < limit) & (found > 0) & (found < limit)
        assert (np.abs(expected - edges)[inside] <= 1.1).all(), seed  # 0.1 for averaged edges
        checked += inside.sum()
    assert checked > 80


def test_small_images_show_the_mean_of_their_pixels(data):
    data = dataclasses.replace(data, scale_range=(0.9, 0.9), aspect=0.3)
    stripes = np.zeros((960, 1440, 3), np.uint8)
    stripes[::2] = 200
    for seed in range(5):
        view = draw_view(rng(seed), 960, 1440, data)
        small = warp(stripes, view, SIZE)
        inside = small[cv2.erode((small[..., 0] > 0).astype(np.uint8), np.ones((5, 5)),
                                 borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0]
        assert len(inside) > 3000 and 80 < inside.min() <= inside.max() < 120
    alone = warp(stripes, dataclasses.replace(view, average=False), SIZE)
    assert alone.max() > 150  # without averages, a pixel shows one stripe


def test_warping_the_covered_part_is_warping_all(data):
    image = cv2.GaussianBlur(rng(3).integers(60, 255, (70, 110, 3), np.uint8), (9, 9), 3)
    data = dataclasses.replace(data, scale_range=(0.8, 2.0), aspect=0.4, aug_rot=0.5, rotate=20.0)
    for seed in range(30):
        view = draw_view(rng(seed), 70, 110, data)
        part, whole = (warp(image, dataclasses.replace(view, average=average), SIZE).astype(int)
                       for average in (True, False))
        assert np.abs(part - whole).max() <= 8 and np.abs(part - whole).mean() < 0.3, seed  # 1/32 pixel at an edge


def test_visible_part():
    boxes = np.array([[0, 0, 10, 10], [-5, 0, 5, 10], [-5, -5, 5, 5], [30, 0, 40, 9], [3, 3, 3, 9]], np.float32)
    np.testing.assert_allclose(visible_part(boxes, 20, 30), [1, 0.5, 0.25, 0, 0])


def test_boxes_that_are_hardly_visible_are_dropped():
    identity = np.array([[1.0, 0, 0], [0, 1, 0]])
    boxes = np.array([[-6, 2, 4, 12], [-4, 2, 6, 12], [34, 2, 36, 4]], np.float32)  # 0.4, 0.6 and all of it are visible
    kept = [(to_output_boxes(boxes, identity, 0, (24, 36), share)[:, 2] > 0).tolist() for share in (0, 0.5, 0.6, 1)]
    assert kept == [[True] * 3, [False, True, True], [False, True, True], [False, False, True]]
    np.testing.assert_array_equal(to_output_boxes(boxes, identity, 0, (24, 36), 0.5)[1:],
                                  to_output_boxes(boxes, identity, 0, (24, 36))[1:])


def test_ignored_regions_stay_however_little_is_visible(data):
    """Otherwise their cells would be background."""
    file = cv2.imencode(".png", np.zeros((200, 200, 3), np.uint8))[1].tobytes()
    data = dataclasses.replace(data, scale_range=(1.5, 2.0), min_visible=1.0)
    box = np.array([[20, 20, 180, 180]], np.float32)
    sizes = {name: [make_sample(file, box, np.array([name], np.int32), data, 1, np.random.default_rng(seed))[5][0, 0]
                    for seed in range(6)] for name in (0, -1)}
    assert max(sizes[0]) == 0 and min(sizes[-1]) > 0


def test_the_setting_min_visible_is_used(data):
    file = cv2.imencode(".png", np.zeros((200, 200, 3), np.uint8))[1].tobytes()
    data = dataclasses.replace(data, scale_range=(1.5, 2.0))
    box = np.array([[20, 20, 180, 180]], np.float32)
    kept = [sum(make_sample(file, box, np.zeros(1, np.int32), dataclasses.replace(data, min_visible=share), 1,
                            rng(seed))[-1][0] for seed in range(20)) for share in (0, 0.7, 1)]
    assert kept[0] == 20 > kept[1] > 0 == kept[2]


@pytest.mark.parametrize("ignored", [False, True], ids=["objects", "ignored regions"])
def test_boxes_outside_of_the_crop_take_no_slots(data, ignored):
    """400 boxes, and a crop that shows a ninth of the image: its boxes have a slot, wherever they are in the file."""
    file = cv2.imencode(".png", np.zeros((200, 200, 3), np.uint8))[1].tobytes()
    data = dataclasses.replace(data, scale_range=(3, 3), color_aug=False, max_objs=128)
    boxes = np.array([[x, y, x + 9, y + 9] for x in range(0, 200, 10) for y in range(0, 200, 10)], np.float32)
    classes = np.full(400, -1 if ignored else 0, np.int32)
    for seed in range(6):
        few, all_ = (make_sample(file, boxes, classes, dataclasses.replace(data, max_objs=slots), 1, rng(seed))
                     for slots in (128, 400))
        kept = all_[5][:, 0] > 0  # wh
        assert 20 < kept.sum() < 128
        for found, expected in zip(few[2:], all_[2:], strict=True):
            np.testing.assert_array_equal(found[:kept.sum()], expected[kept])
            assert not found[kept.sum():].any()
        enough = make_sample(file, boxes[:128], classes[:128], data, 1, rng(seed))
        for found, expected in zip(enough[2:], all_[2:], strict=True):  # each box keeps its own slot
            np.testing.assert_array_equal(found, expected[:128])


def turned(pixel, degrees):
    """A colour R, G, B after a rotation of its (U, V) of BT.601, as complex numbers; one step after the other."""
    red, green, blue = pixel
    gray = 0.299 * red + 0.587 * green + 0.114 * blue
    color = (0.492 * (blue - gray) + 0.877j * (red - gray)) * np.exp(1j * np.radians(degrees))
    red, blue = gray + color.imag / 0.877, gray + color.real / 0.492
    return red, (gray - 0.299 * red - 0.114 * blue) / 0.587, blue


@pytest.mark.parametrize("degrees", [0, 17, -80, 180])
def test_hue_matrix(degrees):
    for pixel in rng(0).random((10, 3)):
        found = hue_matrix(degrees) @ pixel[::-1]
        np.testing.assert_allclose(found[::-1], turned(pixel, degrees), rtol=0, atol=1e-12)
    np.testing.assert_allclose(hue_matrix(degrees) @ np.full(3, 0.3), [0.3] * 3)
    np.testing.assert_allclose([0.114, 0.587, 0.299] @ hue_matrix(degrees), [0.114, 0.587, 0.299])


def test_hue_is_about_that_of_hsv():
    for pixel in 0.4 + 0.2 * rng(1).random((20, 3)):
        before, after = (colorsys.rgb_to_hsv(*color)[0] for color in (pixel, turned(pixel, 20)))
        assert abs(((after - before) * 360 - 20 + 180) % 360 - 180) < 12


def test_the_colour_matrix_equals_the_steps_with_hue_anywhere(data):
    data = dataclasses.replace(data, brightness=0.2, contrast=0.6, saturation=0.9, hue=40.0)
    image = rng(5).integers(0, 255, (20, 30, 3), np.uint8)
    largest = np.array([0.2, 0.6, 0.9])
    for seed in range(6):
        draws = rng(seed)
        order = draws.permutation(3)
        factors = 1 + draws.uniform(-largest[order], largest[order])
        light = np.dot(data.eig_vec, np.array(data.eig_val) * draws.normal(0, 0.1, 3))
        degrees = draws.uniform(-40, 40)
        found = apply_colors(image, draw_colors(rng(seed), image, data))
        for place in (0, 3):  # of the hue among the other changes
            pixels = image.astype(np.float64) / 255
            gray = (pixels @ [0.114, 0.587, 0.299])[..., None]  # of the unchanged image, as in the paper's code
            for kind, factor in [*zip(order[:place], factors), (3, 0), *zip(order[place:], factors[place:])]:
                if kind == 3:
                    pixels = np.stack(turned(np.moveaxis(pixels[..., ::-1], -1, 0), degrees)[::-1], axis=-1)
                else:
                    pixels = pixels * factor + (1 - factor) * [0, gray.mean(), gray][kind]
            np.testing.assert_allclose(found, pixels + light, rtol=0, atol=1e-5)


def test_colour_draws_stay_in_their_limits(data):
    data = dataclasses.replace(data, brightness=0.3, contrast=0.0, saturation=0.0)
    image = np.full((2, 2, 3), 100, np.uint8)
    factors = [255 * draw_colors(rng(seed), image, data)[0, 0] for seed in range(1000)]
    assert evenness(np.array(factors), 0.7, 1.3) < 1.6


def test_defaults_draw_what_they_always_drew(data):
    """The numbers of the version before there was strong augmentation."""
    image = np.arange(90 * 60 * 3).reshape(90, 60, 3).astype(np.uint8)
    data = dataclasses.replace(data, input_res_train=(512, 512))
    for seed, center, scale, flip, row in GOLDEN_DRAWS:
        draws = rng((317, 4, seed))
        view = draw_view(draws, 480, 640, data)
        assert (view.center.tolist(), view.scale, view.flip) == (center, scale, flip)
        np.testing.assert_allclose(draw_colors(draws, image, data)[1], row, rtol=1e-5)


GOLDEN_DRAWS = (
    (0, [456.0, 189.0], 511.99999999999994, True,
     [8.996356336865574e-05, 0.003918011672794819, 0.00023595706443302333, -0.06391987949609756]),
    (1, [401.0, 267.0], 448.0, True,
     [-0.00010603044938761741, 0.00507573876529932, -0.0002780974027700722, -0.18866966664791107]),
    (2, [242.0, 351.0], 511.99999999999994, True,
     [0.0001287400082219392, 0.002705096732825041, 0.0003376602253410965, 0.02926447056233883]))


def test_without_strong_is_the_default(data):
    defaults = load_config("train", [], "").dataset_config
    strong = dataclasses.replace(data, scale_range=(0.1, 2.0), aspect=0.4, brightness=0.1, contrast=0.1, saturation=0.1,
                                 hue=5.0, mosaic=0.5, mixup=0.5, min_visible=0.3)
    plain = without_strong(strong)
    assert all(getattr(plain, name) == getattr(defaults, name) != getattr(strong, name) for name in STRONG)
    assert plain == dataclasses.replace(data, min_visible=0.3)


@pytest.mark.parametrize("flags, words", [
    (["scale_range", "0.5"], "scale_range must be [] or two numbers above 0, the smaller one first, found [0.5]"),
    (["scale_range", "2", "0.1"], "scale_range must be [] or two numbers above 0"),
    (["aspect", "-0.1"], "aspect must be 0 or greater"), (["hue", "200"], "hue must be between 0 and 180"),
    (["mosaic", "1.5"], "mosaic must be between 0 and 1"),
    (["plain_epochs", "-1"], "plain_epochs must be 0 or greater")])
def test_mistakes_are_explained(flags, words):
    with pytest.raises(UserError) as caught:
        load_config("train", [f"--dataset_config.{flags[0]}", *flags[1:]], "")
    assert words in str(caught.value)
