"""The reader of annotation files. What it refuses is tested through read_coco in test_coco.py, too."""
import json

import numpy as np
import pytest
from tiny_coco import edit, make_coco

from centernet.data.annotations import read_annotations
from centernet.data.coco import read_coco
from centernet.errors import UserError


def test_ground_truth_is_what_the_file_says(tmp_path):
    path = make_coco(tmp_path, num_images=3, empty=(1,))
    edit(path, lambda document: document["annotations"][1].update(iscrowd=1, area=7.5, bbox=[0.1, 0.2, 30.3, 40.4]))
    document, annotations = json.loads(path.read_text()), read_annotations(path)
    rows = document["annotations"]
    assert annotations.path == path and annotations.categories.ids == (1, 7, 90)
    assert annotations.image_ids == (100, 101, 102)
    assert annotations.box_images.tolist() == [row["image_id"] for row in rows]
    assert [annotations.categories.ids[index] for index in annotations.box_classes] == [
        row["category_id"] for row in rows]
    assert annotations.boxes.tolist() == [row["bbox"] for row in rows]  # not rounded to float32
    assert annotations.areas.tolist() == [row["area"] for row in rows]
    assert annotations.crowds.tolist() == [False, True] + [False] * 4


def test_read_coco_holds_the_same(tmp_path):
    path = make_coco(tmp_path, num_images=3)
    edit(path, lambda document: document["images"][0].pop("file_name"))  # not usable, yet in the file
    alone, dataset = read_annotations(path), read_coco(path, tmp_path / "train2017")
    assert [image.id for image in dataset.images] == [101, 102]
    assert dataset.annotations.image_ids == alone.image_ids == (100, 101, 102)
    for name in ("box_images", "box_classes", "boxes", "areas", "crowds"):
        np.testing.assert_array_equal(getattr(dataset.annotations, name), getattr(alone, name))


def test_an_image_entry_may_have_a_key_image_id(tmp_path):
    path = make_coco(tmp_path, num_images=2)
    edit(path, lambda document: document["images"][0].update(image_id=7))
    assert [image.id for image in read_coco(path, tmp_path / "train2017").images] == [100, 101]


@pytest.mark.parametrize("text, message", [("{", "is not valid JSON"), ("[]", "not in COCO's format"),
                                           ("[" * 100_000, "is not valid JSON"), (None, "No such file"),
                                           ("\n<annotation>", "is XML, not COCO's JSON. For Pascal VOC")])
def test_messages_name_the_flag_and_the_file(tmp_path, text, message):
    path = tmp_path / "val.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=f"^--label_path .*val.json.*{message}"):
        read_annotations(path, "--label_path")
