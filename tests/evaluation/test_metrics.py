"""COCO's figures: named, restricted to the evaluated images, for incomplete annotation files too."""
import json

import pytest

from centernet.categories import Categories
from centernet.data.annotations import read_annotations
from centernet.errors import UserError
from centernet.evaluation.metrics import STATS, evaluate_results

SPARSE = Categories(("disc", "frame", "cross"), (1, 7, 90))
LINES = """\
 Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000
 Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 1.000
 Average Precision  (AP) @[ IoU=0.75      | area=   all | maxDets=100 ] = 1.000
 Average Precision  (AP) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = 1.000
 Average Precision  (AP) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ] = 1.000
 Average Precision  (AP) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = -1.000
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=  1 ] = 1.000
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets= 10 ] = 1.000
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000
 Average Recall     (AR) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = 1.000
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ] = 1.000
 Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = -1.000"""


def close(value, wanted):
    return abs(value - wanted) < 1e-9


def annotation(image_id, category_id, box, **more):
    return {"image_id": image_id, "category_id": category_id, "bbox": box, **more}


def result(image_id, category_id, box, score=0.9):
    return {"image_id": image_id, "category_id": category_id, "bbox": box, "score": score}


SMALL, MEDIUM = [10, 10, 20, 20], [5, 5, 50, 60]


@pytest.fixture
def annotations(tmp_path):
    """Writer and reader of a file without info, ids, area or iscrowd: images 1, 2, 3; image 3 has no box."""
    def write(*rows):
        path = tmp_path / "val.json"
        rows = rows or (annotation(1, 1, SMALL), annotation(2, 7, MEDIUM))
        path.write_text(json.dumps({"images": [{"id": number} for number in (1, 2, 3)], "annotations": rows,
                                    "categories": SPARSE.to_json()}))
        return read_annotations(path)
    return write


PERFECT = [result(1, 1, SMALL), result(2, 7, MEDIUM)]


def test_coco_lines_and_named_figures(annotations, capsys):
    labels = annotations()
    capsys.readouterr()  # the reader's own line, where the log goes to the console
    metrics = evaluate_results(labels, PERFECT, SPARSE)
    assert metrics.summary == LINES
    assert [getattr(metrics, name) for name in STATS] == pytest.approx([1, 1, 1, 1, 1, -1] * 2)
    assert (metrics.images, metrics.annotated, metrics.detected, metrics.highest_score) == (3, 2, 2, 0.9)
    assert metrics.note() == ""
    assert capsys.readouterr().out == ""


def test_each_category_has_its_own_ap(annotations):
    metrics = evaluate_results(annotations(), [PERFECT[0], result(2, 7, [5, 5, 50, 45]), result(3, 90, SMALL)], SPARSE)
    disc, frame, cross = metrics.classes
    assert (disc.name, disc.annotated, disc.detected) == ("disc", 1, 1) and close(disc.AP, 1) and close(disc.AP50, 1)
    assert close(frame.AP50, 1) and close(frame.AP, 0.6)  # IoU 0.75: six of the ten thresholds
    assert (cross.AP, cross.annotated, cross.detected) == (-1, 0, 1)
    assert close(metrics.AP, 0.8)
    table = metrics.class_table().splitlines()
    assert table[1].split() == ["disc", "1.000", "1.000", "1", "1"]
    assert table[3].split() == ["cross", "-", "-", "0", "1"]
    assert table[4].startswith("detected: boxes of every score")  # 3 detected, 2 annotated
    assert len(evaluate_results(annotations(), PERFECT[:1], SPARSE).class_table().splitlines()) == 4


def test_only_the_evaluated_images_count(annotations):
    metrics = evaluate_results(annotations(), PERFECT[:1], SPARSE, image_ids=[1, 3])
    assert close(metrics.AP, 1) and metrics.images == 2 and metrics.annotated == 1
    assert close(evaluate_results(annotations(), PERFECT[:1], SPARSE).AP, 0.5)


def test_no_detection_is_zero_with_a_hint(annotations):
    metrics = evaluate_results(annotations(), [], SPARSE)
    assert metrics.AP == 0 and metrics.AR_100 == 0 and metrics.highest_score == 0
    assert "no box was detected in 3 images" in metrics.note()


def test_wrong_boxes_are_zero_with_a_hint(annotations):
    metrics = evaluate_results(annotations(), [result(1, 1, [90, 90, 9, 9], 0.07)], SPARSE)
    assert metrics.AP == 0
    assert "1 boxes were detected in 3 images, the highest score is 0.070" in metrics.note()


def test_nothing_annotated_is_said(annotations):
    metrics = evaluate_results(annotations(), [], SPARSE, image_ids=[3])
    assert metrics.AP == -1 and "None of the evaluated images has an annotated box" in metrics.note()


def test_crowds_and_given_areas_are_respected(annotations):
    crowd = annotation(1, 1, [50, 50, 40, 40], iscrowd=1, id=7, area=1600)
    given = annotations(annotation(1, 1, SMALL, id=0, area=5000, iscrowd=0), crowd)
    metrics = evaluate_results(given, [PERFECT[0], result(1, 1, [60, 60, 20, 20], 0.95)], SPARSE)
    assert metrics.annotated == 1 and close(metrics.AP, 1)  # the box in the crowd is no false one
    assert metrics.AP_small == -1 and close(metrics.AP_medium, 1)


def test_defective_annotations_are_left_out(annotations):
    given = annotations(annotation(1, 1, SMALL), annotation(1, 1, [float("nan"), 0, 5, 5]), annotation(1, 2, SMALL),
                        annotation(9, 1, SMALL), {"image_id": 1, "category_id": 1}, annotation(1, 1, [1, 2]),
                        annotation("1", [1], SMALL), annotation(1, 1, [10**400, 0, 5, 5]), 7)
    metrics = evaluate_results(given, PERFECT[:1], SPARSE)
    assert metrics.annotated == 1 and close(metrics.AP, 1)


def test_boxes_that_training_leaves_out_count_as_in_coco_s_programs(annotations):
    given = annotations(annotation(1, 1, SMALL), annotation(1, 1, [-50, 0, 20, 20]), annotation(1, 1, [5, 5, 0, 9]))
    metrics = evaluate_results(given, PERFECT[:1], SPARSE)
    assert metrics.annotated == 3 and close(metrics.AR_100, 1 / 3)


@pytest.mark.parametrize("more", [{"area": None, "iscrowd": None}, {"area": "large", "iscrowd": "no"}, {"area": True}])
def test_unusable_areas_and_crowd_marks_are_taken_as_missing(annotations, more):
    metrics = evaluate_results(annotations(annotation(1, 1, SMALL, **more)), PERFECT[:1], SPARSE)
    assert metrics.annotated == 1 and close(metrics.AP_small, 1) and metrics.AP_medium == -1


@pytest.mark.fault("more than 100 objects of a category in an image", "300 boxes",
                   "noted; eval_config.max_dets counts them all")
def test_crowded_images_are_noted_and_more_detections_can_count(annotations):
    boxes = [[x % 20 * 8, x // 20 * 8, 6, 6] for x in range(300)]
    given = annotations(*(annotation(1, 1, box) for box in boxes), annotation(2, 7, MEDIUM))
    found = [result(1, 1, box, 0.9 - number / 1000) for number, box in enumerate(boxes)] + PERFECT[1:]
    capped = evaluate_results(given, found, SPARSE)
    assert close(capped.classes[0].AP50, 34 / 101) and "maxDets=100 ] = 0.66" in capped.summary
    assert "1 images have more than 100 boxes of a category" in capped.note() and "max_dets" in capped.note()
    whole = evaluate_results(given, found, SPARSE, max_dets=300)
    assert close(whole.AP, 1) and close(whole.AR_100, 1) and whole.note() == ""
    assert "maxDets=300 ] = 1.000" in whole.summary and "maxDets= 10 ]" in whole.summary


@pytest.mark.parametrize("classes, max_dets, K, noted", [
    (2, 100, 100, ["K"]), (2, 100, 150, []), (1, 300, 100, ["K"]), (1, 100, 100, ["max_dets", "K"]),
    (1, 100, 150, ["max_dets"])])
@pytest.mark.fault("an image has more objects than K", "150 boxes of two categories",
                   "noted, with the setting to raise: eval_config.K, eval_config.max_dets or both")
def test_images_with_more_boxes_than_the_model_gives(annotations, classes, max_dets, K, noted):
    kinds = [(1, 7)[number % classes] for number in range(150)]
    rows = [annotation(1, kind, [number % 20 * 8, number // 20 * 8, 6, 6]) for number, kind in enumerate(kinds)]
    found = [result(1, row["category_id"], row["bbox"], 0.9 - number / 1000) for number, row in enumerate(rows[:K])]
    metrics = evaluate_results(annotations(*rows), found, SPARSE, max_dets=max_dets, K=K)
    assert [name for name in ("max_dets", "K") if f"raise eval_config.{name}" in metrics.note()] == noted
    assert ("1 images have more than 100 boxes, but the model gives at most 100" in metrics.note()) == ("K" in noted)
    assert (metrics.AR_100 > 0.99) == (not noted)


def test_metrics_survive_json(annotations):
    row = json.loads(json.dumps(evaluate_results(annotations(), PERFECT, SPARSE).to_json()))
    assert close(row["AP"], 1) and row["images"] == 3 and row["classes"][1]["name"] == "frame" and "summary" not in row


def test_results_of_another_data_set(annotations):
    with pytest.raises(UserError, match=r"1 evaluated images are not in .*val\.json \(ids \[77\]\)"):
        evaluate_results(annotations(), [result(77, 1, SMALL)], SPARSE)
    with pytest.raises(UserError, match=r"category ids \[4\]"):
        evaluate_results(annotations(), [result(1, 4, SMALL)], SPARSE)
