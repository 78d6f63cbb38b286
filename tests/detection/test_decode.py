"""The NumPy decode gives the official numbers, and those of the decode in the graph."""
import numpy as np
import pytest
from mindspore import Tensor

from centernet.detection.decode import decode, sigmoid
from centernet.models.decode import Decode


@pytest.mark.parametrize(("case", "wh", "reg"), [("dets", "wh", "reg"), ("dets_noreg", "wh", None),
                                                 ("dets_catspec", "cat_wh", "reg")])
def test_decode_equals_official_code(case, wh, reg, golden):
    arrays = golden("decode")
    found = decode(sigmoid(arrays["hm_logits"]), arrays[wh], arrays[reg] if reg else None, 100, case == "dets_catspec")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, arrays[case], rtol=0, atol=1e-4)


@pytest.mark.parametrize("with_reg", [True, False])
@pytest.mark.parametrize("by_class", [True, False])
@pytest.mark.parametrize("size", [(24, 40), (7, 31)])
def test_decode_equals_the_graph_s(with_reg, by_class, size):
    rng = np.random.default_rng(5)
    channels = (4, 8 if by_class else 2, 2)
    hm, wh, reg = (rng.normal(0, 3, (3, count, *size)).astype(np.float32) for count in channels)
    maps = [hm, wh, *([reg] if with_reg else [])]
    expected = Decode(50, by_class)(*map(Tensor, maps)).asnumpy()
    found = decode(sigmoid(hm), wh, reg if with_reg else None, 50, by_class)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [(24, 40), (7, 31)])
def test_decode_of_distances_equals_the_graph_s_and_the_formula(size):
    rng = np.random.default_rng(5)
    hm, ltrb = (rng.normal(0, 3, (3, count, *size)).astype(np.float32) for count in (4, 4))
    expected = Decode(50, box_head="ltrb")(Tensor(hm), Tensor(ltrb)).asnumpy()
    found = decode(sigmoid(hm), ltrb, None, 50, box_head="ltrb")
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    for image, rows in enumerate(found):
        for x1, y1, x2, y2, score, cls in rows[:10]:
            (y, x), = np.argwhere(sigmoid(hm[image, int(cls)]) == score)
            left, top, right, bottom = ltrb[image, :, y, x]
            np.testing.assert_allclose([x1, y1, x2, y2], [x + 0.375 - left, y + 0.375 - top, x + 0.375 + right,
                                                          y + 0.375 + bottom], rtol=0, atol=1e-5)


def mirrored(boxes, width):
    """Boxes of a map of this width after mirroring: pixel i of its 4 * width pixels becomes 4 * width - 1 - i."""
    pixels = 4 * boxes[:, [2, 1, 0, 3]]
    pixels[:, [0, 2]] = 4 * width - 1 - pixels[:, [0, 2]]
    return pixels / 4


def test_mirrored_maps_of_distances_give_mirrored_boxes_to_the_bit():
    rng = np.random.default_rng(6)
    scores = rng.permutation(2 * 9 * 14).reshape(1, 2, 9, 14).astype(np.float32) / 300
    ltrb = rng.integers(0, 600, (1, 4, 9, 14)).astype(np.float32) / 64  # exact in float32
    back = scores[..., ::-1].copy(), ltrb[:, [2, 1, 0, 3], :, ::-1].copy()
    graph = Decode(20, from_scores=True, box_head="ltrb")
    for run in (lambda *maps: decode(*maps, None, 20, box_head="ltrb"),
                lambda *maps: graph(*map(Tensor, maps)).asnumpy()):
        found, other = run(scores, ltrb)[0], run(*back)[0]
        np.testing.assert_array_equal(other[:, 4:], found[:, 4:])
        np.testing.assert_array_equal(other[:, :4], mirrored(found[:, :4], 14))


def test_a_flat_map_is_filled_up_with_scores_of_0():
    scores = np.zeros((1, 1, 6, 8), np.float32) + np.linspace(0.9, 0.1, 8, dtype=np.float32)  # falls to the right
    maps = [scores, *np.zeros((2, 1, 2, 6, 8), np.float32)]
    found = decode(*maps, 10)
    np.testing.assert_array_equal(found[0, :, 4], [np.float32(0.9)] * 6 + [0] * 4)
    np.testing.assert_array_equal(found[0, :6, :2], [[0, row] for row in range(6)])
    np.testing.assert_array_equal(Decode(10, from_scores=True)(*map(Tensor, maps)).asnumpy()[0, :, 4], found[0, :, 4])


def test_scores_that_are_no_numbers_do_not_vanish():
    scores = np.full((2, 2, 6, 8), 0.5, np.float32)
    scores[1, 1, 3, 3] = np.nan
    found = decode(scores, *np.zeros((2, 2, 2, 6, 8), np.float32), 5)
    assert np.isfinite(found[0]).all() and np.isnan(found[1, :, 4]).all()


def test_scores_of_extreme_logits_are_0_and_1():
    logits = np.array([-1e4, -90, 0, 90, 1e4], np.float32)
    np.testing.assert_allclose(sigmoid(logits), [0, 0, 0.5, 1, 1], atol=1e-30)
    assert logits[0] == -1e4
