"""Image files of infer.py: which files are taken, and what is listed of them."""
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from centernet.categories import categories_from_names
from centernet.detection.result import result_of
from centernet.errors import UserError
from centernet.evaluation.image_files import find_images, infer_images


class Detector:
    """It finds one box that is larger than the image."""

    settings = SimpleNamespace(score_thresh=0.1)

    def __call__(self, image):
        rows = np.array([[-7.5, -3, 99, 20.25, 0.5, 0]], np.float32)
        return result_of(rows, image, categories_from_names(("disc",)), 0.1)


def test_listed_boxes_end_at_the_border(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((30, 40, 3), np.uint8))
    infer_images(Detector(), [tmp_path / "a.jpg"], tmp_path / "found")
    listed = json.loads((tmp_path / "found/detections.json").read_text())["images"][0]["detections"]
    assert [row["box"] for row in listed] == [[0, 0, 40, 20.2]]
    assert Detector()(np.zeros((30, 40, 3), np.uint8)).to_coco(1)[0]["bbox"] == [-7.5, -3, 106.5, 23.25]


def test_a_video_is_named_with_the_way_out(tmp_path, caplog):
    (tmp_path / "clip.MP4").write_bytes(b"\0\0\0\x18ftypmp42")
    with pytest.raises(UserError, match="clip.MP4: videos are not supported.*ffmpeg -i clip.MP4 frames/%06d.jpg"):
        find_images(str(tmp_path / "clip.MP4"))
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert find_images(str(tmp_path)) == [tmp_path / "a.jpg"] and "videos are not supported" in caplog.text
