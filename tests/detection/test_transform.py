"""Test-time input against the paper's code, and its Meta."""
import cv2
import numpy as np
import pytest

from centernet.categories import Categories
from centernet.detection.transform import Meta, input_size, prepare_image
from centernet.errors import UserError
from centernet.geometry import affine_matrix, transform_points
from centernet.spec import ModelSpec

MEAN, STD = (0.408, 0.447, 0.470), (0.289, 0.274, 0.278)


def spec(to_rgb=False, size=(256, 256)):
    return ModelSpec(Categories(("a",), (1,)), MEAN, STD, "RGB" if to_rgb else "BGR", 4, size)


def prepare(image, scale=1.0, keep_res=True, pad=127, input_res=(256, 256), to_rgb=False):
    return prepare_image(image, spec(to_rgb, input_res), scale=scale, keep_res=keep_res, pad=pad)


@pytest.mark.parametrize("case, scale, keep_res, pad", [(0, 1, False, 0), (1, 1, True, 127), (2, 1, True, 31),
                                                        (3, 0.5, True, 31)])
def test_equals_the_papers_code(golden, coco_mini, case, scale, keep_res, pad):
    expected = golden("preprocess")
    image = cv2.imread(str(coco_mini / "val2017" / str(expected["image_name"])))
    planes, meta = prepare(image, scale, keep_res, pad)
    assert planes.dtype == np.float32 and planes.shape == tuple(expected[f"{case}_shape"][1:])
    step = 3 if keep_res else 1
    difference = np.abs(planes[:, ::step, ::step] - expected[f"{case}_x"][0])
    assert (difference <= 2 / 255 / np.array(STD)[:, None, None]).all()
    np.testing.assert_array_equal(meta.c, expected[f"{case}_c"])
    np.testing.assert_array_equal(meta.s, expected[f"{case}_s"])
    assert (meta.out_height, meta.out_width) == (planes.shape[1] // 4, planes.shape[2] // 4)


def test_sizes():
    assert input_size(426, 640, 1, True, 127, (9, 9)) == (512, 768)
    assert input_size(511, 512, 1, True, 31, (9, 9)) == (512, 544)
    assert input_size(426, 640, 2, False, 31, (680, 512)) == (680, 512)


@pytest.mark.parametrize("keep_res", [True, False])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("size", [(60, 100), (101, 57)])
def test_a_bright_spot_is_where_meta_says(keep_res, scale, size):
    image = np.zeros((*size, 3), np.uint8)
    y, x = size[0] // 2, size[1] // 3
    image[y - 2:y + 3, x - 2:x + 3] = 255
    planes, meta = prepare(image, scale, keep_res, 31, (128, 96))
    matrix = affine_matrix(np.array(meta.c), np.array(meta.s), 0, (planes.shape[2], planes.shape[1]))
    wanted = transform_points(np.array([[x * scale, y * scale]]), matrix)[0]
    weight = planes[0] - planes[0].min()
    centre = [(weight * grid).sum() / weight.sum() for grid in np.indices(weight.shape)][::-1]
    assert np.abs(np.array(centre) - wanted).max() < 1.5


@pytest.mark.parametrize("keep_res", [True, False])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_a_single_pixel_is_an_image(keep_res, scale):
    planes, meta = prepare(np.full((1, 1, 3), 200, np.uint8), scale, keep_res, 31, (64, 96))
    assert planes.shape == ((3, 32, 32) if keep_res else (3, 64, 96)) and np.isfinite(planes).all()


def test_colour_order():
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 2] = 255
    red = np.array([0, 0, 255]) / 255
    bgr = spec().normalize(image)[:, 1, 1]
    rgb = spec(to_rgb=True).normalize(image)[:, 1, 1]
    np.testing.assert_allclose(bgr, (red - MEAN) / STD, atol=1e-6)
    np.testing.assert_allclose(rgb, (red[::-1] - MEAN) / STD, atol=1e-6)


@pytest.mark.parametrize("s", [640.0, (768.0, 512.0)])
def test_meta_survives_json(s):
    meta = Meta((320.0, 213.5), s, 128, 192, 0.5)
    assert Meta.from_json(meta.to_json(), "a.json") == meta


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"c": [1], "s": 2, "out_height": 3, "out_width": 4}', '"x"'])
def test_a_broken_meta_file_is_named(text):
    with pytest.raises(UserError, match=r"a\.json is not the meta file"):
        Meta.from_json(text, "a.json")
