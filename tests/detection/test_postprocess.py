"""Boxes back in the image against the paper's code; the K best; results and files."""
import json

import numpy as np
import pytest

from centernet.categories import Categories
from centernet.detection.postprocess import merge, to_coco_results, to_image_boxes, write_json, write_results
from centernet.detection.transform import Meta
from centernet.errors import UserError

SPARSE = Categories(("disc", "frame", "cross"), (1, 7, 90))


@pytest.mark.parametrize("index", [0, 1])
def test_equals_the_papers_code(golden, index):
    data = golden("decode")
    height, width = data["hm_logits"].shape[2:]
    centers, sizes = data["c"], data["s"]
    meta = Meta(tuple(centers), tuple(sizes), height, width)
    boxes = to_image_boxes(data["dets"][index], meta)
    expected = data[f"post{index}"][:, [1, 2, 3, 4, 5, 0]]
    boxes = boxes[np.lexsort((-boxes[:, 4], boxes[:, 5]))]
    expected = expected[np.lexsort((-expected[:, 4], expected[:, 5]))]
    np.testing.assert_allclose(boxes, expected, atol=1e-4)


def test_a_scaled_image_leads_back_to_the_original_pixels():
    # keep_res: 60 x 40 pixels scaled by 0.5 to 30 x 20, in an input of 32 x 32: 4 pixels a cell.
    meta = Meta((15.0, 10.0), (32.0, 32.0), 8, 8, 0.5)
    boxes = to_image_boxes(np.array([[1, 2, 3, 4, 0.5, 2]], np.float32), meta)
    np.testing.assert_allclose(boxes, [[(4 - 1) * 2, (8 - 6) * 2, (12 - 1) * 2, (16 - 6) * 2, 0.5, 2]], rtol=1e-6)


def row(x, score, cls=0):
    return [x, 0, x + 9, 9, score, cls]


def test_the_k_best_of_all_classes_and_scales():
    scales = [np.array([row(0, 0.3), row(100, 0.9, 1)], np.float32), np.array([row(200, 0.6, 2)], np.float32)]
    np.testing.assert_allclose(merge(scales, 2, False)[:, 4], [0.9, 0.6])
    assert merge(scales, 10, True).shape == (3, 6)


def test_soft_nms_is_within_a_class_and_before_the_choice_of_the_best():
    boxes = np.array([row(0, 0.9), row(0, 0.8), row(0, 0.7, 1)], np.float32)
    np.testing.assert_allclose(merge([boxes], 2, False)[:, 4:], [[0.9, 0], [0.8, 0]])
    np.testing.assert_allclose(merge([boxes], 2, True)[:, 4:], [[0.9, 0], [0.7, 1]])


def test_coco_results_have_sparse_ids_and_sides():
    results = to_coco_results(5, np.array([[1.234, 2.346, 11.5, 22, 0.12345678, 2]], np.float32), SPARSE)
    assert results == [{"image_id": 5, "category_id": 90, "bbox": [1.23, 2.35, 10.27, 19.65], "score": 0.123457}]
    assert to_coco_results(5, np.zeros((0, 6), np.float32), SPARSE) == []


def test_files(tmp_path):
    boxes = {3: np.array([[1, 2, 11, 22, 0.5, 1]], np.float32), 4: np.zeros((0, 6), np.float32)}
    results = write_results(tmp_path / "a" / "val", "val", boxes, {3: "x/3.jpg", 4: "4.jpg"}, SPARSE)
    folder = tmp_path / "a" / "val"
    assert json.loads((folder / "val_pred_eval.json").read_text()) == results
    assert results == [{"image_id": 3, "category_id": 7, "bbox": [1, 2, 10, 20], "score": 0.5}]
    assert json.loads((folder / "val_pred_result.json").read_text()) == {
        "x/3.jpg": {"image_id": 3, "detections": [{"category": "frame", "score": 0.5, "box": [1, 2, 11, 22]}]},
        "4.jpg": {"image_id": 4, "detections": []}}
    assert sorted(path.name for path in folder.iterdir()) == ["val_pred_eval.json", "val_pred_result.json"]


@pytest.mark.fault("two images with one file name in the results", "such results", "none is lost")
def test_no_image_is_lost_if_two_have_one_file_name_and_ids_are_those_of_the_file(tmp_path):
    boxes = {number: np.array([[1, 2, 3, 4, 0.5, 0]], np.float32) for number in (3, 4, 5)}
    results = write_results(tmp_path, "val", boxes, {3: "x/a.jpg", 4: "./x/a.jpg", 5: "b"}, SPARSE, {5: "five"})
    readable = json.loads((tmp_path / "val_pred_result.json").read_text())
    assert {name: row["image_id"] for name, row in readable.items()} == {"x/a.jpg": 3, "./x/a_id4.jpg": 4, "b": 5}
    assert [row["image_id"] for row in results] == [3, 4, 5]
    assert [row["image_id"] for row in json.loads((tmp_path / "val_pred_eval.json").read_text())] == [3, 4, "five"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*file/metrics.json"):
        write_json(tmp_path / "file" / "metrics.json", {})
