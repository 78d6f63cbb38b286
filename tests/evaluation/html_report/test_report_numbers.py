"""Matching, curves, thresholds and the confusion matrix: small cases by hand, random ones against pycocotools."""
import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from centernet.evaluation.html_report.confusion import confusion_matrix
from centernet.evaluation.html_report.curves import Point, Ranking, best_point, ranking_of
from centernet.evaluation.html_report.matching import match_images, object_counts


def box(image_id, bbox, category=1, crowd=0):
    return {"image_id": image_id, "bbox": bbox, "category_id": category, "iscrowd": crowd}


def hit(image_id, bbox, score, category=1):
    return {"image_id": image_id, "bbox": bbox, "category_id": category, "score": score}


def random_case(seed, images=12, classes=3):
    """Boxes, regions, and detections near them or anywhere, some with equal scores."""
    rng = np.random.default_rng(seed)
    boxes, found = [], []
    for image_id in range(1, images + 1):
        for _ in range(int(rng.integers(0, 7))):
            place = [float(value) for value in (*rng.integers(0, 60, 2), *rng.integers(8, 40, 2))]
            boxes.append(box(image_id, place, int(rng.integers(1, classes + 1)), int(rng.random() < 0.15)))
            for _ in range(int(rng.integers(0, 4))):
                near = [value + float(shift) for value, shift in zip(place, rng.integers(-6, 7, 4))]
                wrong = rng.random() < 0.2
                found.append(hit(image_id, near, round(float(rng.random()), 1),
                                 int(rng.integers(1, classes + 1)) if wrong else boxes[-1]["category_id"]))
        found.append(hit(image_id, [70.0, 70.0, 20.0, 20.0], round(float(rng.random()), 1)))
    return boxes, found


def by_pycocotools(boxes, found, images, iou, max_dets=100):
    truth, results = COCO(), COCO()
    listed = [{"id": number} for number in range(1, images + 1)]
    categories = [{"id": number, "name": str(number)} for number in (1, 2, 3)]
    truth.dataset = {"images": listed, "categories": categories, "annotations": [
        {**row, "id": number, "area": row["bbox"][2] * row["bbox"][3]} for number, row in enumerate(boxes, 1)]}
    results.dataset = {"images": listed, "categories": categories, "annotations": [
        {**row, "id": number, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
        for number, row in enumerate(found, 1)]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        results.createIndex()
        evaluation = COCOeval(truth, results, "bbox")
        evaluation.params.iouThrs, evaluation.params.maxDets = np.array([iou]), [max_dets]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][0, :, :, 0, 0]


@pytest.mark.parametrize("seed, iou, max_dets", [(0, 0.5, 100), (1, 0.5, 100), (2, 0.75, 100), (3, 0.5, 2)])
def test_the_curves_are_those_of_pycocotools(seed, iou, max_dets):
    boxes, found = random_case(seed)
    images = match_images(boxes, found, range(1, 13), iou, max_dets)
    expected = by_pycocotools(boxes, found, 12, iou, max_dets)
    assert any(image.ignored.any() for image in images)  # the case has regions that matter
    for place, category in enumerate((1, 2, 3)):
        ranking = ranking_of(images, category)
        np.testing.assert_allclose(ranking.interpolated(), expected[:, place], rtol=0, atol=1e-12)
        assert ranking.average_precision() == pytest.approx(expected[:, place].mean(), abs=1e-12)


def test_an_object_is_matched_once_and_regions_are_ignored():
    boxes = [box(1, [0, 0, 10, 10]), box(1, [50, 50, 40, 40], crowd=1)]
    found = [hit(1, [0, 0, 10, 9], 0.5), hit(1, [0, 0, 10, 10], 0.9), hit(1, [60, 60, 5, 5], 0.8),
             hit(1, [60, 60, 5, 5], 0.7, category=2)]
    image, = match_images(boxes, found, [1])
    assert [row["score"] for row in image.found] == [0.9, 0.8, 0.7, 0.5]
    assert image.partner.tolist() == [0, -1, -1, -1]
    assert image.ignored.tolist() == [False, True, False, False]  # a region is one of its category
    assert object_counts([image]) == {1: 1}
    ranking = ranking_of([image])
    assert (ranking.scores.tolist(), ranking.hits.tolist(), ranking.objects) == ([0.9, 0.7, 0.5], [True, False, False],
                                                                                 1)


def test_the_best_threshold_takes_all_detections_of_its_score():
    # hit 0.9, miss 0.8, hit 0.6 and miss 0.6 (equal), of 2 objects: F1 is 2/3, 1/2, 2/3 -> the higher threshold
    point = best_point(Ranking.of([0.6, 0.9, 0.8, 0.6], [True, True, False, False], 2))
    assert point == Point(0.9, 1.0, 0.5, pytest.approx(2 / 3))
    # without the wrong one at 0.6: F1 = 4/5
    point = best_point(Ranking.of([0.6, 0.9, 0.8], [True, True, False], 2))
    assert point == Point(0.6, pytest.approx(2 / 3), 1.0, pytest.approx(0.8))
    assert best_point(Ranking.of([0.5], [False], 3)) is None and best_point(Ranking.of([], [], 3)) is None


def test_ap_by_hand():
    assert Ranking.of([0.9, 0.8, 0.7], [True, False, True], 2).average_precision() == pytest.approx(
        (51 + 50 * 2 / 3) / 101)
    assert Ranking.of([], [], 2).average_precision() == 0 and Ranking.of([0.5], [False], 0).average_precision() == -1


def test_confusion_by_hand():
    boxes = [box(1, [0, 0, 10, 10], 1), box(1, [30, 0, 10, 10], 1), box(1, [60, 0, 10, 10], 2)]
    found = [hit(1, [0, 0, 10, 10], 0.9, 1),     # right
             hit(1, [0, 0, 10, 10], 0.8, 2),     # on an object that is taken: nothing is there
             hit(1, [30, 0, 10, 9], 0.7, 2),     # object of 1, called 2
             hit(1, [60, 0, 10, 10], 0.2, 2)]    # right, but below the threshold
    images = match_images(boxes, found, [1])
    assert confusion_matrix(images, (1, 2), 0.3).tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert confusion_matrix(images, (1, 2), 0.1).tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert confusion_matrix(match_images([], [], [1]), (1,), 0.3).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("seed", [0, 4])
def test_the_confusion_matrix_counts_every_object_and_detection_once(seed):
    boxes, found = random_case(seed)
    images = match_images(boxes, found, range(1, 13))
    matrix = confusion_matrix(images, (1, 2, 3), 0.4)
    objects = object_counts(images)
    counted = [row for image in images for row, ignored in zip(image.found, image.ignored)
               if row["score"] >= 0.4 and not ignored]
    assert matrix[:3].sum(1).tolist() == [objects[number] for number in (1, 2, 3)]
    assert matrix[:, :3].sum(0).tolist() == [sum(row["category_id"] == number for row in counted)
                                             for number in (1, 2, 3)]
