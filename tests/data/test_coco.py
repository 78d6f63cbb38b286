import json
import shutil

import numpy as np
import pytest
from tiny_coco import edit, make_coco

from centernet.data.coco import locate, read_coco
from centernet.errors import UserError


def read(folder, annotation_file):
    return read_coco(annotation_file, folder / "train2017")


def test_boxes_classes_and_sizes(tmp_path):
    path = make_coco(tmp_path, num_images=3, empty=(1,))
    dataset = read(tmp_path, path)
    document = json.loads(path.read_text())
    assert dataset.defects.counts == {}
    assert dataset.categories.ids == (1, 7, 90)
    assert [image.id for image in dataset.images] == [100, 101, 102]
    assert (dataset.images[0].height, dataset.images[0].width) == (96, 128)
    assert dataset.images[1].boxes.shape == (0, 4)
    first = [row for row in document["annotations"] if row["image_id"] == 100]
    x, y, w, h = first[0]["bbox"]
    assert dataset.images[0].boxes[0].tolist() == [x, y, x + w, y + h]
    assert dataset.images[0].classes.tolist() == [{1: 0, 7: 1, 90: 2}[row["category_id"]] for row in first]
    assert dataset.images[0].boxes.dtype == np.float32
    assert dataset.images[0].classes.dtype == np.int32


def add_box(document, **changes):
    document["annotations"].append({**document["annotations"][0], "id": 900, **changes})


def box(*numbers):
    return lambda document: add_box(document, bbox=list(numbers))


DEFECTS = {
    "NaN": (box(1, 2, float("nan"), 5), "NaN or infinite"),
    "infinite": (box(1, 2, 5, float("inf")), "NaN or infinite"),
    "beyond float32": (box(1e308, 2, 5, 5), "numbers above 1e+09"),
    "left of the image": (box(-20, 2, 10, 10), "without area"),
    "below the image": (box(3, 96, 10, 10), "without area"),
    "zero width": (box(3, 3, 0, 10), "without area"),
    "negative height": (box(3, 30, 10, -5), "without area"),
    "three numbers": (box(3, 3, 5), "4 numbers"),
    "words": (box("a", "b", "c", "d"), "4 numbers"),
    "no box": (lambda d: add_box(d, bbox=None), "4 numbers"),
    "unknown category": (lambda d: add_box(d, category_id=5), "unknown category"),
    "category of a wrong type": (lambda d: add_box(d, category_id=[1]), "unknown category"),
    "unknown image": (lambda d: add_box(d, image_id=1), "unknown image"),
    "image id as other text": (lambda d: add_box(d, image_id="0100"), "unknown image"),
    "an annotation that is no object": (lambda d: d["annotations"].append(7), "unknown image"),
}


@pytest.mark.parametrize("change, words", DEFECTS.values(), ids=DEFECTS)
def test_defective_boxes_are_left_out_and_reported(tmp_path, change, words):
    path = make_coco(tmp_path, num_images=2)
    edit(path, change)
    dataset = read(tmp_path, path)
    assert sum(len(image.boxes) for image in dataset.images) == 6
    assert list(dataset.defects.counts.values()) == [1]
    assert words in dataset.defects.lines()[0]


def test_repeated_ids(tmp_path):
    path = make_coco(tmp_path, num_images=2)
    edit(path, lambda d: (add_box(d, id=1, bbox=[5, 5, 9, 9]), d["images"].append(dict(d["images"][0]))))
    dataset = read(tmp_path, path)
    assert dataset.defects.counts == {"image id used twice, later entry left out": 1,
                                     "annotation id used twice, boxes kept": 1}
    assert len(dataset.images) == 2
    assert len(dataset.images[0].boxes) == 4


@pytest.mark.parametrize("changes", [{"id": None}, {"id": 7.5}, {"id": True}, {"id": [7]}, {"id": float("inf")},
                                     {"file_name": ""}, {"file_name": None}, {"file_name": []}])
def test_unusable_image_entries(tmp_path, changes):
    path = make_coco(tmp_path, num_images=3)
    edit(path, lambda d: d["images"][0].update(changes))
    dataset = read(tmp_path, path)
    assert len(dataset.images) == 2
    assert dataset.defects.lines()[0].split()[1:3] == ["image", "entry"]
    assert dataset.defects.counts["annotation of an unknown image"] == 3


@pytest.mark.fault("an image with a side above 32,766 pixels", "entries of such sizes", "left out and counted")
@pytest.mark.parametrize("side", [32767, 10**400, "40000"])
def test_an_image_that_no_one_can_warp_is_left_out(tmp_path, side):
    path = make_coco(tmp_path, num_images=2)
    edit(path, lambda d: d["images"][0].update(width=side))
    dataset = read(tmp_path, path)
    assert [image.id for image in dataset.images] == [101]
    assert dataset.defects.counts == {"image entry with a side above 32766 pixels": 1}


def test_missing_and_empty_files_and_many_examples(tmp_path):
    path = make_coco(tmp_path, num_images=8)
    (tmp_path / "train2017/000000.jpg").write_bytes(b"")
    for number in range(1, 6):
        (tmp_path / f"train2017/00000{number}.jpg").unlink()
    dataset = read(tmp_path, path)
    assert [image.id for image in dataset.images] == [106, 107]
    assert dataset.defects.counts == {"image file of 0 bytes": 1, "image file missing": 5}
    assert dataset.defects.lines()[1].endswith("id 103: 000003.jpg; ...)")


def test_boxes_reaching_past_the_border_and_crowds_stay_as_annotated(tmp_path):
    path = make_coco(tmp_path, num_images=1)
    edit(path, lambda d: add_box(d, bbox=[120.5, 90, 50, 50], iscrowd=1))
    dataset = read(tmp_path, path)
    assert dataset.defects.counts == {}
    assert dataset.images[0].boxes[-1].tolist() == [120.5, 90, 170.5, 140]


BAD_FILES = {
    "truncated": (lambda text: text[:len(text) // 2], "not valid JSON.*truncated"),
    "empty file": (lambda text: "", "not valid JSON"),
    "a list": (lambda text: "[1, 2]", "not in COCO's format"),
    "without images": (lambda text: '{"annotations": [], "categories": []}', "'images' is missing"),
    "without categories": (lambda text: text.replace('"categories"', '"kinds"'), "'categories' is missing"),
    "no annotations": (lambda text: json.dumps({**json.loads(text), "annotations": []}), "'annotations' is empty"),
    "no image rows": (lambda text: json.dumps({**json.loads(text), "images": []}), "'images' is empty"),
    "no category rows": (lambda text: json.dumps({**json.loads(text), "categories": []}), "'categories' is empty"),
}


@pytest.mark.parametrize("change, words", BAD_FILES.values(), ids=BAD_FILES)
def test_unusable_annotation_files(tmp_path, change, words):
    path = make_coco(tmp_path, num_images=1)
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=f"instances_train2017.json.*{words}"):
        read(tmp_path, path)


def test_binary_and_missing_annotation_files(tmp_path):
    path = make_coco(tmp_path, num_images=1)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        read(tmp_path, path)
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path, tmp_path / "no.json")


def test_test_set_has_no_annotations(tmp_path):
    path = make_coco(tmp_path, num_images=2)
    edit(path, lambda d: d.pop("annotations"))
    assert [len(image.boxes) for image in read(tmp_path, path).images] == [0, 0]


LAYOUTS = {
    ("train", "annotations/instances_train2017.json", "train2017"),
    ("train", "annotations/instance_train2017.json", "train2017"),
    ("train", "annotations/instances_train2017.json", "images/train2017"),
    ("train", "annotations/train.json", "images/train"),
    ("val", "annotations/instances_val2017.json", "val2017"),
    ("val", "annotations/val.json", "images/val"),
    ("test", "annotations/image_info_test-dev2017.json", "test2017"),
    ("test", "annotations/image_info_test2017.json", "test2017"),
    ("test", "annotations/instances_test2017.json", "test2017"),
    ("test", "annotations/test.json", "images/test"),
}


@pytest.mark.parametrize("split, file, folder", sorted(LAYOUTS))
def test_layouts(tmp_path, split, file, folder):
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text("{}")
    (tmp_path / folder).mkdir(parents=True)
    assert locate(str(tmp_path), split) == (tmp_path / file, tmp_path / folder)


def test_what_was_looked_for_is_said(tmp_path):
    make_coco(tmp_path, num_images=1)
    with pytest.raises(UserError, match="has no annotation file of the val split; tried annotations/instances_val"):
        locate(str(tmp_path), "val")
    shutil.move(tmp_path / "train2017", tmp_path / "pictures")
    with pytest.raises(UserError, match="no folder of images of the train split.*images/train2017.*--image_dir"):
        locate(str(tmp_path), "train")
    with pytest.raises(UserError, match="no data set is given"):
        locate("", "train")
    with pytest.raises(UserError, match="nowhere does not exist"):
        locate(str(tmp_path / "nowhere"), "train")


def test_files_named_by_flags(tmp_path):
    path = make_coco(tmp_path, num_images=1)
    assert locate("", "val", str(path), str(tmp_path / "train2017")) == (path, tmp_path / "train2017")
    absent = tmp_path / "no"
    for file, folder, words in [(path, absent, "--image_dir"), (absent, tmp_path, "--annotation_file"),
                                (tmp_path, tmp_path, "this is a folder"), (path, path, "this is a file"),
                                (path, "", "go together"), ("", tmp_path, "go together")]:
        with pytest.raises(UserError, match=words):
            locate("", "val", str(file), str(folder))


def test_names_in_nested_folders(tmp_path):
    path = make_coco(tmp_path, num_images=4)
    images = tmp_path / "train2017"
    for name, folder in [("000000.jpg", "images/cats"), ("000001.jpg", "images/dogs"), ("000002.jpg", "images/dogs")]:
        (images / folder).mkdir(parents=True, exist_ok=True)
        shutil.move(images / name, images / folder / name)
    edit(path, lambda d: d["images"][1].update(file_name="dogs/000001.jpg"))
    edit(path, lambda d: d["images"][2].update(file_name="cats/000002.jpg"))  # it is in dogs: no match
    shutil.copy(images / "000003.jpg", images / "images/cats/000003.jpg")     # the direct one wins
    dataset = read(tmp_path, path)
    found = {image.id: str(image.path.relative_to(images)) for image in dataset.images}
    assert found == {100: "images/cats/000000.jpg", 101: "images/dogs/000001.jpg", 103: "000003.jpg"}
    assert dataset.defects.counts == {"image file missing": 1}


def test_ambiguous_names_are_reported(tmp_path):
    path = make_coco(tmp_path, num_images=2)
    images = tmp_path / "train2017"
    for folder in ("a", "b"):
        (images / folder).mkdir()
        shutil.copy(images / "000000.jpg", images / folder)
    (images / "000000.jpg").unlink()
    dataset = read(tmp_path, path)
    assert [image.id for image in dataset.images] == [101]
    assert dataset.defects.counts == {"image name in several folders": 1}


def test_real_annotations(coco_mini):
    dataset = read_coco(*locate(str(coco_mini), "val"))
    assert len(dataset.categories) == 80
    assert len(dataset.images) == 79
    assert dataset.defects.counts == {}
