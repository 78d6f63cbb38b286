"""Annotation files as other tools write them: what is readable is read, counted and said."""
import json
import shutil

import cv2
import numpy as np
import pytest
from tiny_coco import edit, make_coco

from centernet.categories import Categories
from centernet.data.annotations import read_annotations
from centernet.data.coco import read_coco, read_evaluated
from centernet.data.repair import whole
from centernet.errors import UserError


def read(folder):
    return read_coco(folder / "annotations/instances_train2017.json", folder / "train2017")


def change_boxes(change):
    """Apply change(row) to all annotations but the first."""
    return lambda document: [change(row) for row in document["annotations"][1:]]


def change_images(change):
    return lambda document: [change(row) for row in document["images"]]


def set_ids(kind):
    """Write the ids of images with another type, in images and annotations."""
    def change(document):
        for row in document["images"]:
            row["id"] = kind(row["id"])
        for row in document["annotations"]:
            row["image_id"] = kind(row["image_id"])
    return change


WRITTEN = "number written as text or with a decimal point"
REPAIRED = {
    "float sizes": (change_images(lambda row: row.update(width=128.0, height="96")), WRITTEN, 2),
    "text categories": (change_boxes(lambda row: row.update(category_id=str(row["category_id"]))), WRITTEN, 5),
    "float categories": (change_boxes(lambda row: row.update(category_id=float(row["category_id"]))), WRITTEN, 5),
    "text boxes": (change_boxes(lambda row: row.update(bbox=list(map(str, row["bbox"])))), "written as text", 5),
    "float ids": (set_ids(float), WRITTEN, 2 + 6),
    "text ids": (set_ids(str), WRITTEN, 2 + 6),
    "no sizes": (change_images(lambda row: (row.pop("width"), row.pop("height"))), "taken from the file", 2),
    "sizes of 0": (change_images(lambda row: row.update(width=0, height=0)), "taken from the file", 2),
    "area as a list": (change_boxes(lambda row: row.update(area=[row["area"]])), "width x height of the box", 5),
    "area as a word": (change_boxes(lambda row: row.update(area="big")), "width x height of the box", 5),
    "area NaN": (change_boxes(lambda row: row.update(area=float("nan"))), "width x height of the box", 5),
}


@pytest.mark.fault("annotation files of other tools", "ids as text or 1.0, null areas, missing sizes, ...",
                   "repaired, counted and said")
@pytest.mark.parametrize("change, words, count", REPAIRED.values(), ids=REPAIRED)
def test_readable_values_are_repaired_and_counted(tmp_path, change, words, count):
    path = make_coco(tmp_path, num_images=2)
    before = read(tmp_path)
    assert before.report.lines() == []
    edit(path, change)
    after = read(tmp_path)
    assert after.defects.counts == {}
    ((kind, number),) = after.report.notes.counts.items()
    assert words in kind and number == count
    for one, other in zip(before.images, after.images, strict=True):
        assert (one.id, one.width, one.height) == (other.id, other.width, other.height)
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.classes, other.classes)
    np.testing.assert_array_equal(before.annotations.areas, after.annotations.areas)


@pytest.mark.parametrize("value, found", [
    (7, 7), (7.0, 7), ("7", 7), ("-7", -7), (" 7.0 ", 7), (True, None), (7.5, None), ("07", None), ("7.5", None),
    ("", None), ("\u0667", None), (None, None), ("9" * 30, None), (float("nan"), None), (float("inf"), None)])
def test_whole_numbers(value, found):
    assert whole(value) == found


KINDS = {"large": lambda number: number + 2**40, "negative": lambda number: -number,
         "text": lambda number: f"img_{number}"}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_any_id_gets_a_number_that_does_not_depend_on_the_file(tmp_path, kind):
    path = make_coco(tmp_path, num_images=3)
    edit(path, set_ids(kind))
    dataset = read(tmp_path)
    assert len(dataset.images) == 3 and all(len(image.boxes) == 3 for image in dataset.images)
    assert dataset.defects.counts == {} and list(dataset.report.notes.counts.values()) == [3]
    ids = [image.id for image in dataset.images]
    assert len(set(ids)) == 3 and all(0 <= number < 2**31 for number in ids)
    assert [dataset.annotations.file_ids[number] for number in ids] == [kind(100), kind(101), kind(102)]
    edit(path, lambda document: document["images"].reverse())
    assert sorted(read_annotations(path).image_ids) == sorted(ids)


def test_an_id_that_is_taken_gets_the_next_number(tmp_path):
    path = make_coco(tmp_path, num_images=2)
    edit(path, lambda document: document["images"][0].update(id="img"))
    taken = read_annotations(path).image_ids[0]
    edit(path, lambda document: document["images"][1].update(id=taken))
    assert read_annotations(path).image_ids == (taken + 1, taken)


NAMES = {
    "backslash": ("images\\x.jpg", "images/x.jpg"), "mixed": ("images\\1/x.jpg", "x.jpg"),
    "percent": ("Capture%20d%C3%A9cran%201.jpg", "Capture d\u00e9cran 1.jpg"),
    "URL": ("https://host.example/data/upload/1/x.jpg?d=1", "x.jpg"), "Windows path": ("C:\\a\\x.jpg", "x.jpg"),
    "other machine": ("/home/other/x.jpg", "x.jpg"), "one folder more": ("images/x.jpg", "x.jpg"),
    "other case": ("X.JPG", "x.jpg"), "other Unicode form": ("e\u0301.jpg", "\u00e9.jpg"),
    "folder of another case": ("Cats/x.jpg", "deep/cats/x.jpg"),
}


@pytest.mark.fault("file names of other systems", "backslashes, %20, URLs, folders of another machine, other case",
                   "found and counted")
@pytest.mark.parametrize("written, stored", NAMES.values(), ids=NAMES)
def test_file_names_of_other_tools(tmp_path, written, stored):
    path = make_coco(tmp_path, num_images=2)
    target = tmp_path / "train2017" / stored
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(tmp_path / "train2017/000000.jpg", target)
    edit(path, lambda document: document["images"][0].update(file_name=written))
    dataset = read(tmp_path)
    assert [image.path for image in dataset.images] == [target, tmp_path / "train2017/000001.jpg"]
    assert dataset.defects.counts == {} and list(dataset.report.notes.counts.values()) == [1]


def test_linked_folders_are_searched_once(tmp_path):
    make_coco(tmp_path, num_images=2)
    images = tmp_path / "train2017"
    (tmp_path / "elsewhere").mkdir()
    shutil.move(images / "000000.jpg", tmp_path / "elsewhere/000000.jpg")
    (images / "link").symlink_to(tmp_path / "elsewhere")
    (images / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/loop").symlink_to(images)
    assert [image.path.name for image in read(tmp_path).images] == ["000000.jpg", "000001.jpg"]


@pytest.mark.fault("two entries with one file name", "a merged annotation file", "a defect with both ids")
def test_entries_with_one_file_are_a_defect(tmp_path):
    path = make_coco(tmp_path, num_images=3)
    edit(path, lambda document: document["images"][2].update(file_name="./000000.jpg"))
    dataset = read(tmp_path)
    assert len(dataset.images) == 3
    assert dataset.defects.counts == {"file name used twice, both entries kept": 1}
    assert "id 102 and 100" in dataset.report.lines()[0]


SUSPICIOUS = {
    "corners": (lambda row: row.update(bbox=[60, 50, 120, 90]), "x1, y1, x2, y2"),
    "fractions": (lambda row: row.update(bbox=[0.25, 0.25, 0.5, 0.5]), "fractions of the image"),
}


@pytest.mark.fault("boxes as corners, or from 0 to 1", "annotation files with such boxes",
                   "counted as what they look like")
@pytest.mark.parametrize("change, words", SUSPICIOUS.values(), ids=SUSPICIOUS)
def test_boxes_of_another_form_are_defects(tmp_path, change, words):
    path = make_coco(tmp_path, num_images=2)
    edit(path, lambda document: [change(row) for row in document["annotations"]])
    ((kind, count),) = read(tmp_path).defects.counts.items()
    assert words in kind and count == 6


def test_a_group_of_categories_is_noted(tmp_path):
    path = make_coco(tmp_path, num_images=2)
    edit(path, lambda document: document["categories"].insert(0, {"id": 0, "name": "shapes", "supercategory": "none"}))
    edit(path, lambda document: [row.update(supercategory="shapes") for row in document["categories"][1:]])
    (line,) = read(tmp_path).report.lines()
    assert "note: category without boxes that is the supercategory of others" in line and "'shapes'" in line


@pytest.mark.fault("an evaluation with damaged annotations", "boxes that the conversion calls defects",
                   "counted and said before the AP; an error with --strict true")
def test_an_evaluation_says_what_it_leaves_out(tmp_path, caplog):
    path = make_coco(tmp_path, num_images=2, split="val")
    edit(path, lambda document: document["annotations"][0].update(category_id=5))
    edit(path, lambda document: document["annotations"][1].update(bbox=[float("nan")] * 4))
    given = str(tmp_path), "val", "", ""
    assert sum(len(image.boxes) for image in read_evaluated(*given, strict=False).images) == 4
    assert "2 defects, 0 notes" in caplog.text and "annotation 2 of image 100" in caplog.text
    with pytest.raises(UserError, match=r"2 defect\(s\); correct them(.|\n)*unknown category(.|\n)*NaN"):
        read_evaluated(*given, strict=True)


def test_good_data_is_evaluated_without_a_word(tmp_path, caplog):
    make_coco(tmp_path, num_images=2, split="val", empty=(1,))
    assert len(read_evaluated(str(tmp_path), "val", "", "", strict=True).images) == 2
    assert "defects" not in caplog.text


@pytest.mark.parametrize("mark, set_", [({"iscrowd": 1}, True), ({"ignore": 1}, True), ({"ignore": "1"}, True),
                                        ({"ignore": True}, True), ({"iscrowd": 1.0}, True), ({"ignore": 0}, False),
                                        ({"ignore": None, "iscrowd": "0"}, False), ({"ignore": "no"}, False)])
def test_ignored_regions(tmp_path, mark, set_):
    path = make_coco(tmp_path, num_images=1)
    edit(path, lambda document: document["annotations"][1].update(mark))
    dataset = read(tmp_path)
    assert dataset.images[0].ignored.tolist() == [False, set_, False] == dataset.annotations.crowds.tolist()


def test_a_size_from_a_damaged_file_is_a_defect(tmp_path):
    path = make_coco(tmp_path, num_images=2)
    edit(path, lambda document: document["images"][0].pop("width"))
    (tmp_path / "train2017/000000.jpg").write_bytes(b"no image")
    dataset = read(tmp_path)
    assert [image.id for image in dataset.images] == [101]
    assert list(dataset.defects.counts.values()) == [1]


def test_the_size_of_a_rotated_file_is_the_upright_one(tmp_path):
    path = make_coco(tmp_path, num_images=1, size=(32, 64))
    cv2.imwrite(str(tmp_path / "train2017/000000.jpg"), np.zeros((64, 32, 3), np.uint8))
    edit(path, lambda document: document["images"][0].pop("height"))
    edit(path, lambda document: document["annotations"][0].update(bbox=[1, 40, 8, 9]))
    (image,) = read(tmp_path).images
    assert (image.height, image.width) == (64, 32) and [1, 40, 9, 49] in image.boxes.tolist()
    assert json.loads(path.read_text())["images"][0]["width"] == 64


def test_a_file_with_fewer_and_reordered_categories_is_read_by_name(tmp_path, caplog):
    path = make_coco(tmp_path, num_images=2)
    before = read(tmp_path)
    model = Categories(("cross", "other", "frame", "disc"), (90, 91, 7, 1))
    with caplog.at_level("INFO"):
        after = before.with_categories(model)
    assert "it lacks 1 of the model's 4 categories" in caplog.text
    for one, other in zip(before.images, after.images, strict=True):
        assert [before.categories.names[k] for k in one.classes] == [model.names[k] for k in other.classes]
    names = [[data.categories.names[k] for k in data.annotations.box_classes] for data in (before, after)]
    assert names[0] == names[1] and after.annotations.path == path
    assert before.with_categories(before.categories) is before
