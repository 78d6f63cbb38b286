"""Image files of infer.py: which files are taken, and what is listed of them."""
import contextlib
import json
import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from centernet.categories import categories_from_names
from centernet.detection.finder import Finder, chosen_classes
from centernet.detection.result import result_of
from centernet.errors import UserError
from centernet.evaluation.found_files import listed
from centernet.evaluation.image_files import infer_images
from centernet.evaluation.inputs import Inputs, find_inputs
from centernet.evaluation.videos import require_readable


class Detector:
    """It finds one box that is larger than the image, and a weak box of another category."""

    spec = SimpleNamespace(categories=categories_from_names(("disc", "\u5706")))

    def __init__(self, score_thresh=0.1):
        self.settings = SimpleNamespace(score_thresh=score_thresh)

    def rows(self, image):
        return np.array([[-7.5, -3, 99, 20.25, 0.5, 0], [5, 5, 9, 9, 0.25, 1]], np.float32)

    def __call__(self, image):
        return result_of(self.rows(image)[:1], image, self.spec.categories, 0.1)


def picture(path, height=30, width=40):
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    return path


def found_in(folder):
    return json.loads((folder / "detections.json").read_text())


def test_listed_boxes_end_at_the_border(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((30, 40, 3), np.uint8))
    infer_images(Finder(Detector(0.3)), [tmp_path / "a.jpg"], tmp_path / "found")
    listed = found_in(tmp_path / "found")["images"][0]["detections"]
    assert [row["box"] for row in listed] == [[0, 0, 40, 20.2]]
    assert Detector()(np.zeros((30, 40, 3), np.uint8)).to_coco(1)[0]["bbox"] == [-7.5, -3, 106.5, 23.25]


@pytest.mark.parametrize("box", [[40, 5, 50, 9], [-9, 5, 0.04, 9], [5, -9, 9, 0], [5, 30, 9, 40], [5, 9, 9, 5]])
def test_boxes_without_a_pixel_of_the_image_are_not_listed(box):
    rows = np.array([[*box, 0.9, 0], [1, 2, 3, 4, 0.5, 0]], np.float32)
    found = listed(result_of(rows, np.zeros((30, 40, 3), np.uint8), Detector.spec.categories, 0.1))
    assert [row["box"] for row in found] == [[1, 2, 3, 4]]


def test_a_video_is_named_with_the_way_out(tmp_path, caplog):
    (tmp_path / "clip.MP4").write_bytes(b"\0\0\0\x18ftypmp42")
    clip, = find_inputs([str(tmp_path / "clip.MP4")]).videos
    with pytest.raises(UserError, match="clip.MP4: OpenCV cannot open this video. .* ffmpeg -i clip.MP4 -c:v libx264"):
        require_readable(clip)
    (tmp_path / "clip.MP4").write_bytes(b"")
    with pytest.raises(UserError, match="clip.MP4: OpenCV cannot open this video. The file is empty .0 bytes.: copy"):
        require_readable(clip)
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert find_inputs([str(tmp_path)]) == Inputs((tmp_path / "a.jpg",), (clip,))


def test_the_json_states_its_box_format_and_the_picture(tmp_path):
    infer_images(Finder(Detector()), [picture(tmp_path / "a.bmp")], tmp_path / "found")
    document = found_in(tmp_path / "found")
    assert document["box_format"].startswith("x1, y1, x2, y2 in pixels") and "clipped" in document["box_format"]
    assert document["images"][0]["picture"] == "pictures/a.bmp.jpg"
    assert (tmp_path / "found/pictures/a.bmp.jpg").is_file()
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == ["detections.json", "pictures"]


@pytest.mark.fault("results of an earlier run in the folder", "infer twice with other images",
                   "the pictures that the earlier list names are removed; foreign files stay, with a warning")
@pytest.mark.fault("two images would have the same picture", "b.webp and b.webp.jpg", "each has a picture of its own")
def test_each_image_has_its_own_picture(tmp_path):
    paths = [picture(tmp_path / name, height) for name, height in (("b.webp", 30), ("b.webp.jpg", 50), ("c.jpeg", 30))]
    infer_images(Finder(Detector()), paths, tmp_path / "found")
    names = [row["picture"] for row in found_in(tmp_path / "found")["images"]]
    assert names == ["pictures/b.webp.jpg", "pictures/b.webp_id2.jpg", "pictures/c.jpeg"]
    heights = [len(cv2.imread(str(tmp_path / "found" / name))) for name in names]
    assert heights[0] < heights[1]


def test_pictures_of_an_earlier_run_do_not_stay(tmp_path, caplog):
    folder = tmp_path / "found"
    for name in ("a.jpg", "b.jpg"):
        infer_images(Finder(Detector()), [picture(tmp_path / name)], folder, ("json", "csv", "coco"))
    assert [path.name for path in (folder / "pictures").iterdir()] == ["b.jpg"] and not caplog.records
    (folder / "pictures/mine.jpg").write_bytes(b"x")
    (tmp_path / "outside.jpg").write_bytes(b"x")
    rows = [{"picture": name} for name in ("../outside.jpg", str(tmp_path / "outside.jpg"),
                                           "pictures/../../outside.jpg")]
    (folder / "detections.json").write_text(json.dumps({"images": [*rows, 7, {"picture": 7}]}))
    infer_images(Finder(Detector()), [tmp_path / "a.jpg"], folder)
    assert (tmp_path / "outside.jpg").is_file() and (folder / "pictures/mine.jpg").is_file()
    assert "2 pictures that are not of the last run" in caplog.text and not (folder / "detections.csv").exists()


def test_csv_and_coco_files_have_the_same_boxes(tmp_path):
    infer_images(Finder(Detector()), [picture(tmp_path / "a.jpg")], tmp_path / "found", ("csv", "coco"))
    table = (tmp_path / "found/detections.csv").read_text().splitlines()
    assert table[0] == "file,category,category_id,score,x1,y1,x2,y2,width,height"
    assert table[1] == f"{tmp_path}/a.jpg,disc,1,0.5,0.0,0.0,40.0,20.2,40,30"
    assert table[2] == f"{tmp_path}/a.jpg,\u5706,2,0.25,5.0,5.0,9.0,9.0,40,30"
    with contextlib.redirect_stdout(None):
        coco = COCO(str(tmp_path / "found/detections_coco.json"))
    assert [row["bbox"] for row in coco.loadAnns(coco.getAnnIds(catIds=[1]))] == [[0, 0, 40, 20.2]]


@pytest.mark.parametrize(("finder", "boxes", "text"), [
    (Finder(Detector(0.6)), 0, "0 boxes in 1 of 1 images: .*highest score is 0.5, the threshold 0.6: .*--score_thresh"),
    (Finder(Detector(), most=1), 1, "1 boxes in 1 of 1"), (Finder(Detector(), classes=(1,)), 1, "1 boxes"),
    (Finder(Detector(0.3), classes=(1,)), 0, "The highest score is 0.25, the threshold 0.3"),
])
def test_choices_and_the_highest_score_of_nothing(tmp_path, caplog, finder, boxes, text):
    caplog.set_level("INFO")
    infer_images(finder, [picture(tmp_path / "a.jpg")], tmp_path / "found")
    assert len(found_in(tmp_path / "found")["images"][0]["detections"]) == boxes
    assert re.search(text, caplog.text)


def test_classes_by_name_and_id():
    names = categories_from_names(("disc", "Traffic Light", "7"))
    assert chosen_classes(["traffic light", "1"], names) == (0, 1) and chosen_classes([], names) == ()
    assert chosen_classes(["7"], names) == (2,)
    with pytest.raises(UserError, match="--classes cat: the model has no .* disc \\(1\\), Traffic Light \\(2\\)"):
        chosen_classes(["cat"], names)
    with pytest.raises(UserError, match=r"; did you mean Traffic Light\?"):
        chosen_classes(["trafic light"], names)
    with pytest.raises(UserError, match=r"7 \(3\)\. Separate several of them by spaces"):
        chosen_classes(["disc,7"], names)
