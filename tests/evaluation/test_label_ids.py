"""postprocess.py joins images and annotations by file name, because the C++ program may have counted the images."""
import json
from dataclasses import asdict

import numpy as np
import pytest
from tiny_model import CATEGORIES, tiny_manifest

from centernet.cli import postprocess
from centernet.data.annotations import read_annotations
from centernet.detection.transform import Meta
from centernet.errors import UserError
from centernet.evaluation.label_ids import label_ids
from centernet.evaluation.prepared_set import PreparedSet, _preparation, write_detections
from centernet.files import sha256
from centernet.runtimes.manifest import manifest_path, write_manifest

META = Meta((32.0, 32.0), 64.0, 16, 16)  # images of 64 x 64 pixels, and an output map of 16 x 16
COUNTED = ("a.jpg", "b.jpg", "c.jpg")    # as the C++ program numbers them: 1, 2, 3


def box_of(name):
    """The only box of an image in the annotations, x, y, width, height in pixels; another one in each image."""
    place = 4 * (ord(name[0]) - ord("a"))
    return [4 + 2 * place, 4 + place, 16, 24]


def write_labels(path, names):
    """An annotation file whose images are these names, with the ids 1, 2, 3, ..."""
    document = {"images": [{"id": number, "file_name": name, "width": 64, "height": 64}
                           for number, name in enumerate(names, 1)],
                "annotations": [{"id": number, "image_id": number, "category_id": CATEGORIES.ids[0], "iscrowd": 0,
                                 "bbox": box_of(name), "area": 16 * 24} for number, name in enumerate(names, 1)],
                "categories": CATEGORIES.to_json()}
    path.write_text(json.dumps(document))
    return path


def labels_of(tmp_path, names):
    return read_annotations(write_labels(tmp_path / "labels.json", names))


@pytest.fixture
def counted(tmp_path):
    """What the C++ program leaves of a.jpg, b.jpg and c.jpg, with perfect detections; and the flags of postprocess."""
    (tmp_path / "m.mindir").write_bytes(b"")
    manifest = tiny_manifest((64, 64), sha256=sha256(tmp_path / "m.mindir"))
    write_manifest(manifest, manifest_path(tmp_path / "m.mindir"))
    for folder in ("meta", "result_Files"):
        (tmp_path / folder).mkdir()
    for number, name in enumerate(COUNTED, 1):
        (tmp_path / f"meta/{number}.json").write_text(json.dumps({"image_id": number, "file_name": name,
                                                                  **asdict(META)}))
        x, y, width, height = box_of(name)
        rows = np.zeros((20, 6), np.float32)
        rows[0] = [x / 4, y / 4, (x + width) / 4, (y + height) / 4, 0.9, 0]
        write_detections(tmp_path / "result_Files", number, rows)
    (tmp_path / "meta/index.json").write_text(json.dumps({
        "count": 3, "annotation_file": "", **_preparation(manifest),
        "images": [{"image_id": number, "file_name": name} for number, name in enumerate(COUNTED, 1)]}))
    return ["--model_path", str(tmp_path / "m.mindir"), "--result_path", str(tmp_path / "result_Files"),
            "--meta_path", str(tmp_path / "meta"), "--label_path", str(tmp_path / "labels.json"),
            "--save_path", str(tmp_path / "ap"), "--device_target", "CPU"]


@pytest.mark.fault("images that the C++ program counted", "an annotation file with other ids for the same names",
                   "matched by name, and a line says so")
def test_images_that_were_counted_have_the_annotations_of_their_names(tmp_path, counted, capsys):
    write_labels(tmp_path / "labels.json", ("b.jpg", "c.jpg", "a.jpg", "z.jpg"))
    assert postprocess.main(counted) == 0
    assert json.loads((tmp_path / "ap/metrics.json").read_text())["AP"] == pytest.approx(1)
    said = "other image ids than {}: images are matched by file name (a.jpg: 1 here, 3 there)"
    assert said.format(tmp_path / "labels.json") in capsys.readouterr().out
    best = {row["image_id"]: row["bbox"] for row in json.loads((tmp_path / "ap/val_pred_eval.json").read_text())
            if row["score"] > 0.5}
    assert best == {3: box_of("a"), 1: box_of("b"), 2: box_of("c")}
    named = json.loads((tmp_path / "ap/val_pred_result.json").read_text())
    assert {name: row["image_id"] for name, row in named.items()} == {"a.jpg": 3, "b.jpg": 1, "c.jpg": 2}


@pytest.mark.fault("annotations of other images", "an annotation file with the ids of a prepared set and other names",
                   "an error with the file and the first image")
def test_annotations_of_other_images_are_refused(tmp_path, counted, capsys):
    write_labels(tmp_path / "labels.json", ("a.jpg", "d.jpg", "c.jpg"))
    assert postprocess.main(counted) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'meta/index.json'}: its image 2 is b.jpg, and {tmp_path / 'labels.json'} has no image of " \
           "this name ('d.jpg' has its id). Name the annotation file" in said
    assert not (tmp_path / "ap/metrics.json").exists()


@pytest.mark.parametrize("names, labels, ids", [
    (COUNTED, ("a.jpg", "b.jpg", "c.jpg"), (1, 2, 3)),
    (COUNTED, ("val\\c.jpg", "val/B.JPG", "file://host/a.jpg?x"), (3, 2, 1)),  # as image_finder compares them
    (("a b.jpg", "b.jpg"), ("b.png", "a%20b.png"), (2, 1)),                   # converted to JPEG
    (("a.jpg", "A.jpg"), ("A.jpg", "a.jpg"), (2, 1)),                         # exact names come first
    (("a.jpg",), ("a.png", "a.jpg"), (2,)),
    (("two/1.jpg",), ("one/1.jpg", "two/1.jpg"), (2,)),
])
def test_names_that_fit(tmp_path, names, labels, ids):
    prepared = PreparedSet(tmp_path, dict(enumerate(names, 1)), "")
    assert tuple(label_ids(prepared, labels_of(tmp_path, labels)).values()) == ids


@pytest.mark.parametrize("names, labels, message", [
    (("1.jpg",), ("one/1.jpg", "two/1.jpg"), r"its image 1 is 1.jpg, .* has 2 that fit: one/1.jpg \(id 1\), two/1.jpg"),
    (("b.jpg", "b.jpeg"), ("a.jpg", "b.png"), r"image 2 is b.jpeg, .* has one entry for it and b.jpg: b.png \(id 2\)"),
    (("a.jpg", "b.jpg"), ("a.jpg",), r"image 2 is b.jpg, .* has no image of this name\. Name"),
])
def test_names_that_do_not_decide(tmp_path, names, labels, message):
    prepared = PreparedSet(tmp_path, dict(enumerate(names, 1)), "")
    with pytest.raises(UserError, match=message):
        label_ids(prepared, labels_of(tmp_path, labels))


def test_sets_of_preprocess_keep_their_ids(tmp_path, caplog):
    """Two entries of one file are kept by the reader; and the file that --label_path names may have other folders."""
    labels = labels_of(tmp_path, ("a.jpg", "a.jpg", "x/b.jpg", "y/b.jpg"))
    caplog.set_level("INFO")
    for names in (("a.jpg", "a.jpg", "x/b.jpg", "y/b.jpg"), ("val/a.jpg", "val/a.jpg", "b.jpg", "b.jpg")):
        prepared = PreparedSet(tmp_path, dict(enumerate(names, 1)), str(labels.path))
        assert label_ids(prepared, labels) == {1: 1, 2: 2, 3: 3, 4: 4}
    assert "matched by file name" not in caplog.text
