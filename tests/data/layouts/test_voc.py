"""Pascal VOC: boxes, lists of splits, damaged and hostile XML files, and a real data set."""
from xml.etree import ElementTree

import numpy as np
import pytest

from centernet.data.coco import read_data
from centernet.data.layouts.form import to_coco
from centernet.data.layouts.found import read_layout
from centernet.data.layouts.splits import select_classes
from centernet.errors import UserError
from centernet.xml_document import parse_xml
from tests.data.layouts.makers import WIDTH, imports, make_voc, random_boxes, voc_text, write


def test_a_linked_folder_of_annotations_is_read(tmp_path):
    make_voc(tmp_path / "set", random_boxes())
    (tmp_path / "set/Annotations").rename(tmp_path / "elsewhere")
    (tmp_path / "set/Annotations").mkdir()
    (tmp_path / "set/Annotations/linked").symlink_to(tmp_path / "elsewhere")
    assert sum(len(picture.boxes) for picture in read_layout(tmp_path / "set").pictures) == 18


@pytest.mark.parametrize("lists, split, words", [
    (("trainval", "test"), "test", r"its split test is used as val \(its splits: test, trainval\)\. Use --run_mode "
     r"val, or import it with its own splits: .* --splits train=trainval test=test$"),
    (("train", "val", "trainval", "test"), "test", r"--splits train=train val=val test=test$"),
    (("test",), "test", r"no image is for training \(its splits: test\)\. Import .* --splits train=NAME test=test$"),
    (("train", "val"), "test", r"its images have no split test \(its splits: train, val\)")])
@pytest.mark.fault("a split of VOC that is used as another one",
                   "eval --run_mode test on a folder with trainval and test",
                   "the message says which split it is, and both ways on")
def test_a_split_that_is_used_as_another_one_is_said(tmp_path, lists, split, words):
    make_voc(tmp_path, random_boxes())
    for path in (tmp_path / "ImageSets/Main").iterdir():
        path.unlink()
    for number, name in enumerate(lists):
        write(tmp_path, f"ImageSets/Main/{name}.txt", f"{('t1', 't2', 't1', 'v1')[number]}\n")
    with pytest.raises(UserError, match=words):
        read_data(str(tmp_path), split)


def test_voc_counts_from_1_includes_the_last_pixel_and_marks_difficult_objects(tmp_path):
    make_voc(tmp_path, {"t1": [("dot", (0, 0, 1, 1))]})
    text = voc_text([("dot", (0, 0, 1, 1)), ("ring", (-1, 4, 300, 9))], difficult=1)
    write(tmp_path, "Annotations/t1.xml", text)
    imported = read_layout(tmp_path)
    dot, ring = to_coco(imported, imported.pictures, "", False)["annotations"]
    assert dot["bbox"] == [0, 0, 1, 1] and dot["iscrowd"] == dot["ignore"] == 1
    assert ring["bbox"] == [0, 4, WIDTH, 5] and "box that reaches past its image: cut at the border" in str(
        imported.report.notes.counts)


def test_images_in_several_lists_of_voc_count_once(tmp_path):
    make_voc(tmp_path, random_boxes())
    write(tmp_path, "ImageSets/Main/train.txt", "t1\nt2\n")
    write(tmp_path, "Annotations/t1.xml", voc_text([("dot", (1, 1, 9, 9)), ("dot", (5, 5, 4, 9))]))
    imported = read_layout(tmp_path)
    assert [picture.split for picture in imported.pictures] == ["test", "train", "train", "trainval", "trainval"]
    assert list(imported.report.defects.counts.values()) == [1]
    assert list(select_classes(imported, ["ring"]).report.notes.counts.values()) == [
        sum(box.label == "dot" for picture in imported.pictures if picture.split != "train" for box in picture.boxes)]


def test_lists_of_voc_with_file_names_or_paths(tmp_path):
    make_voc(tmp_path, random_boxes())
    whole = read_layout(tmp_path)
    for number, path in enumerate(sorted((tmp_path / "ImageSets/Main").iterdir())):
        names = [line.split()[0] for line in path.read_text().splitlines()]
        path.write_text("".join(f"{'/home/me/JPEGImages/' * number}{name}.png\n" for name in names))
    found = read_layout(tmp_path)
    assert found.pictures == whole.pictures and len(whole.pictures) > 2 and not found.report.defects.counts


def test_class_names_that_differ_in_case_are_noted(tmp_path):
    make_voc(tmp_path, random_boxes())
    assert not read_layout(tmp_path).report.notes.counts
    write(tmp_path, "Annotations/t1.xml", voc_text([("Ring ", (1, 1, 9, 9))]))
    notes = read_layout(tmp_path).report.notes
    assert "classes whose names differ only in case or spaces" in notes.counts and "'ring'" in str(notes.examples)


def test_images_that_no_list_names_are_said_to_be_so(tmp_path):
    make_voc(tmp_path, random_boxes())
    write(tmp_path, "ImageSets/Main/test.txt", "")
    write(tmp_path, "Annotations/t1.xml", "broken")
    left = read_layout(tmp_path).report.notes.counts
    assert list(left) == ["image that no list in ImageSets/Main names: left out"]


DAMAGES = {
    "size": ("Annotations/t1.xml", voc_text([("dot", (1, 1, 5, 5))], (50, 40)), "image of another size than its anno"),
    "no name": ("Annotations/t1.xml", voc_text([("", (1, 1, 5, 5))]), "object without name or box"),
    "broken": ("Annotations/t1.xml", "<annotation><size>", "XML file that cannot be read"),
    "list": ("ImageSets/Main/trainval.txt", "t1\nt2\nt9\n", "image of a list without an XML file"),
    "not a picture": ("JPEGImages/t1.png", "text", "image file that is not an image")}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_voc(tmp_path, name):
    make_voc(tmp_path, random_boxes())
    file, text, kind = DAMAGES[name]
    write(tmp_path, file, text)
    defects = read_layout(tmp_path).report.defects
    assert sum(defects.counts.values()) == 1 and kind in next(iter(defects.counts))


BOMB = "<!DOCTYPE a [<!ENTITY x 'xx'><!ENTITY y '&x;&x;'>]><annotation>&y;</annotation>"


@pytest.mark.fault("a hostile VOC annotation", "entities that stand for gigabytes, external files, deep or broken XML",
                   "an error with file and reason; the image is left out")
@pytest.mark.parametrize("text, words", [
    (BOMB, "declares the entity 'x'"), (BOMB.encode("utf-16"), "declares the entity 'x'"),
    ("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>", "declares the entity"),
    ("<!DOCTYPE a SYSTEM 'http://x/y.dtd'><a>&x;</a>", None), ("<a>" * 100_000, "more than 64 levels"),
    ("<a>" + "<b/>" * 300, "or 200 elements"), ("", "no element"), ("\0", "unclosed token"),
    ("<?xml version='1.0' encoding='no-such'?><a/>", "unknown encoding")])
def test_hostile_xml(text, words, monkeypatch):
    monkeypatch.setattr("centernet.xml_document.MOST_XML_NODES", 200)
    if words is None:
        assert parse_xml(text.encode(), "here").find() == ""
        return
    with pytest.raises(UserError, match=f"here is not valid XML.*{words}"):
        parse_xml(text if isinstance(text, bytes) else text.encode(), "here")


def test_bccd_from_voc_to_shards(bccd, tmp_path, capsys):
    """Boxes are compared with another parser of the XML files; 20 of the images go on to shards."""
    from centernet.data.convert import convert

    assert imports("--data", bccd, "--out", tmp_path) == 0
    assert "       0  defects" in capsys.readouterr().out
    train, val = (read_data(str(tmp_path), split) for split in ("train", "val"))
    assert (len(train.images), len(val.images)) == (292, 72)
    assert train.categories.names == ("Platelets", "RBC", "WBC")
    for image in (*train.images, *val.images):
        root = ElementTree.parse(bccd / "Annotations" / f"{image.path.stem}.xml").getroot()  # noqa: S314
        wanted = [[float(row.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
                  for row in root.iter("object")]
        limits = [640, 480, 640, 480]
        wanted = np.clip(np.array(wanted) - [1, 1, 0, 0], 0, limits)
        np.testing.assert_array_equal(image.boxes, wanted)
        assert [train.categories.names[k] for k in image.classes] == [row.findtext("name")
                                                                      for row in root.iter("object")]
    import dataclasses
    part = dataclasses.replace(val, images=val.images[:20])
    summary = convert(part, tmp_path / "shards", "few", 1)
    assert len(summary.image_ids) == 20 and sum(summary.boxes) == sum(len(image.boxes) for image in part.images)
