"""Soft-NMS against the paper's code, and its rules one by one."""
import numpy as np
import pytest

from centernet.detection.soft_nms import GAUSSIAN, HARD, LINEAR, soft_nms


@pytest.mark.parametrize("case", range(6))
def test_equals_the_papers_code(golden, case):
    data = golden("softnms")
    method, Nt, threshold, sigma = data[f"{case}_arg"]
    result = soft_nms(data[f"{case}_in"], int(method), Nt, threshold, sigma)
    expected = data[f"{case}_out"]
    expected = expected[np.argsort(-expected[:, 4], kind="stable")]
    assert result.shape == expected.shape and result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


def boxes_of(*rows):
    return np.array(rows, np.float32)


SHIFTED = boxes_of([0, 0, 9, 9, 0.9], [0, 5, 9, 14, 0.8])  # common 50, union 150


@pytest.mark.parametrize("method, score", [(GAUSSIAN, 0.8 * np.exp(-(1 / 3) ** 2 / 0.5)), (LINEAR, 0.8 * 2 / 3)])
def test_hand_computed(method, score):
    result = soft_nms(SHIFTED, method, Nt=0.3)
    np.testing.assert_allclose(result[:, 4], [0.9, score], rtol=1e-6)


def test_hard_removes_and_frees_what_the_removed_box_overlapped():
    chain = boxes_of([0, 0, 9, 9, 0.9], [0, 4, 9, 13, 0.8], [0, 8, 9, 17, 0.7])
    np.testing.assert_array_equal(soft_nms(chain, HARD, Nt=0.4), chain[[0, 2]])


def test_the_order_of_picks_follows_the_new_scores():
    # The second box sinks below the third one, which then lowers it further.
    boxes = boxes_of([0, 0, 9, 9, 0.9], [0, 1, 9, 10, 0.8], [0, 9, 9, 18, 0.5])
    result = soft_nms(boxes, GAUSSIAN)

    def decay(common):
        return np.exp(-(common / (200 - common)) ** 2 / 0.5)

    third = 0.5 * decay(10)
    np.testing.assert_allclose(result[:, 4], [0.9, third, 0.8 * decay(90) * decay(20)], rtol=1e-5)


def test_classes_do_not_affect_each_other():
    boxes = np.concatenate([np.repeat(SHIFTED[:1], 4, 0), np.arange(4)[:, None]], axis=1).astype(np.float32)
    np.testing.assert_array_equal(soft_nms(boxes), boxes)


def test_a_low_score_is_dropped_only_after_an_overlap():
    boxes = boxes_of([0, 0, 9, 9, 0.9], [1, 1, 9, 9, 0.0005], [50, 50, 60, 60, 0.0005])
    np.testing.assert_array_equal(soft_nms(boxes), boxes[[0, 2]])


def test_the_best_of_low_scores_stays():
    boxes = boxes_of([0, 0, 9, 9, 0.0009], [0, 0, 9, 9, 0.0008])
    np.testing.assert_array_equal(soft_nms(boxes), boxes[:1])


def test_without_a_threshold_every_box_stays_and_has_one_turn():
    boxes = boxes_of([0, 0, 9, 9, 0.9], [0, 0, 9, 9, 0.8], [0, 0, 9, 9, 0.7])
    np.testing.assert_allclose(soft_nms(boxes, HARD, threshold=0.0)[:, 4], [0.9, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("rows", [np.zeros((0, 6), np.float32), boxes_of([5, 5, 5, 5, 0.3])])
def test_nothing_and_a_single_box(rows):
    np.testing.assert_array_equal(soft_nms(rows), rows)


def test_the_input_stays_as_it_was():
    before = SHIFTED.copy()
    soft_nms(SHIFTED)
    np.testing.assert_array_equal(SHIFTED, before)
