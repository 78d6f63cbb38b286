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
