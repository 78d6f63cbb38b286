"""Errors by type: a case of each, with dAP by hand."""
import pytest

from centernet.evaluation.html_report.error_types import TYPES, classify, error_types
from centernet.evaluation.html_report.matching import match_images


def box(bbox, category=1, crowd=0, image_id=1):
    return {"image_id": image_id, "bbox": bbox, "category_id": category, "iscrowd": crowd}


def hit(bbox, score, category=1, image_id=1):
    return {"image_id": image_id, "bbox": bbox, "category_id": category, "score": score}


A, B = [0, 0, 10, 10], [50, 0, 10, 10]
HALF = [0, 0, 10, 4]     # IoU with A: 0.4
CASES = {"localisation": hit(HALF, 0.5), "class": hit(A, 0.5, 2), "both": hit(HALF, 0.5, 2),
         "duplicate": hit([0, 0, 10, 9], 0.5), "background": hit([200, 200, 5, 5], 0.5)}


@pytest.mark.parametrize("kind", CASES)
def test_a_false_positive_has_one_type(kind):
    image, = match_images([box(A)], [hit(A, 0.9), CASES[kind]], [1])
    kinds, targets = classify(image)
    assert kinds == ["", kind] and targets.tolist() == [-1, 0 if kind in ("localisation", "class") else -1]
    errors = error_types([image])
    assert errors.counts == {name: int(name == kind) for name in TYPES}
    assert errors.ap50 == 1 and set(errors.gains.values()) == {0.0}  # it is below the right one


def test_localisation_is_corrected_once_for_each_object():
    """Two boxes of IoU 0.4 before a right one of a second object: AP 1/3 * 51/101; one corrected, one left out: 1."""
    found = [hit(HALF, 0.9), hit([0, 6, 10, 4], 0.8), hit(B, 0.7)]
    errors = error_types(match_images([box(A), box(B)], found, [1]))
    assert errors.ap50 == pytest.approx(51 / 101 / 3)
    assert errors.counts["localisation"] == 2 and errors.counts["missed"] == 0  # an error of place explains it
    assert errors.gains["localisation"] == pytest.approx(1 - errors.ap50)
    assert errors.false_positives == pytest.approx(51 / 101 - errors.ap50)
    assert errors.false_negatives == pytest.approx(1 / 3 - errors.ap50)


def test_a_corrected_class_counts_for_the_right_one():
    """Category 1: A is called 2, so its AP is 0. Category 2: the false one comes first, so its AP is 1/2."""
    errors = error_types(match_images([box(A, 1), box(B, 2)], [hit(A, 0.9, 2), hit(B, 0.8, 2)], [1]))
    assert errors.ap50 == pytest.approx(0.25) and errors.counts["class"] == 1 and errors.counts["missed"] == 0
    assert errors.gains["class"] == pytest.approx(0.75)


def test_background_both_and_duplicates_are_left_out():
    """The false one of category 2 comes first: its AP is 1/2; without the false one 1. Category 1 has 1 always."""
    for kind in ("both", "background"):
        false = {**CASES[kind], "category_id": 2, "score": 0.95}
        errors = error_types(match_images([box(A), box(B, 2)], [false, hit(A, 0.9), hit(B, 0.9, 2)], [1]))
        assert errors.ap50 == 0.75 and errors.gains == {name: 0.25 * (name == kind) for name in TYPES}
    errors = error_types(match_images([box(A), box(B)], [hit(A, 0.9), hit(A, 0.8), hit(B, 0.7)], [1]))
    assert errors.counts["duplicate"] == 1 and errors.ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert errors.gains["duplicate"] == pytest.approx(1 - errors.ap50)


def test_missed_objects_leave_the_count():
    errors = error_types(match_images([box(A), box(B)], [hit(A, 0.9)], [1]))
    assert errors.ap50 == pytest.approx(51 / 101) and errors.counts["missed"] == 1
    assert errors.gains["missed"] == pytest.approx(50 / 101)


def test_a_category_of_missed_objects_alone_leaves_the_mean():
    errors = error_types(match_images([box(A), box(B, 2)], [hit(A, 0.9)], [1]))
    assert errors.ap50 == 0.5 and errors.gains["missed"] == 0.5
    with_false = error_types(match_images([box(A), box(B, 2)], [hit(A, 0.9), hit([200, 0, 5, 5], 0.9, 2)], [1]))
    assert with_false.ap50 == 0.5 and with_false.gains["missed"] == 0


def test_detections_in_regions_are_no_errors():
    found = [hit(A, 0.9), hit([50, 50, 9, 9], 0.95)]
    errors = error_types(match_images([box(A), box([40, 40, 40, 40], crowd=1)], found, [1]))
    assert errors.ap50 == 1 and set(errors.counts.values()) == {0}


def test_without_annotations_there_are_none():
    assert error_types(match_images([], [hit(A, 0.5)], [1])) is None
    assert error_types(match_images([box(A)], [], [1, 2])).counts["missed"] == 1
