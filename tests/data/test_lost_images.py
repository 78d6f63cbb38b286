"""An evaluation needs all images of its data set, in every layout; a conversion leaves the unusable ones out."""
import pytest

from centernet.data.coco import read_evaluated
from centernet.data.convert import convert
from centernet.data.layouts.found import read_layout
from centernet.errors import UserError
from tests.data.layouts.makers import (
    HEIGHT,
    NAMES,
    WIDTH,
    make_csv,
    make_images,
    make_labelme,
    make_roboflow,
    make_voc,
    make_yolo,
    voc_text,
    write,
)
from tests.tiny_coco import edit, make_coco

ONE_BOX = [(NAMES[0], (1.0, 2.0, 30.0, 40.0)), (NAMES[1], (50.0, 20.0, 90.0, 60.0))]
BOXES = dict.fromkeys(("t1", "t2", "v1", "v2"), ONE_BOX)
WHOLE = voc_text(ONE_BOX)
# What costs an image: layout, damaged file, its new text ("": it is removed), and what is said.
LOST = {
    "a truncated XML file": (make_voc, "Annotations/v2.xml", WHOLE[:len(WHOLE) // 2], "XML file that cannot be read"),
    "no XML file": (make_voc, "Annotations/v2.xml", "", "image of a list without an XML file"),
    "a truncated JSON file": (make_labelme, "val/v2.json", '{"shapes": [', "JSON file that cannot be read"),
    "a JSON file without shapes": (make_labelme, "val/v2.json", "{}", "JSON file without the list shapes: image left"),
    "no image of LabelMe": (make_labelme, "val/v2.png", "", "image file missing"),
    "two images that fit": (make_csv, "other/v2.png", b"copy", "annotation that fits several images equally"),
    "no image of CSV": (make_csv, "pictures/v2.png", "", "image file missing"),
    "a file name that no file can have": (make_csv, "val.csv", "v1.png,1,2,30,40,dot\nv\0.png,1,2,30,40,dot\n",
                                          "image file missing"),
    "an image of YOLO that is none": (make_yolo, "val/images/v2.png", "text", "image file that is not an image"),
    "an image of Roboflow that is none": (make_roboflow, "valid/v2.png", "text", "image file that is not an image")}


def evaluated(folder, strict=False):
    return read_evaluated(str(folder), "val", "", "", strict)


def damage(folder, name, text):
    if text == b"copy":
        make_images(folder, [name])
    elif text:
        write(folder, name, text)
    else:
        (folder / name).unlink()


@pytest.mark.parametrize("case", LOST)
@pytest.mark.fault("an evaluation of a data set of another layout with an unusable image", "a cut or missing XML or "
                   "JSON file, a missing or damaged image, a name of two images", "an error that lists the files")
def test_an_evaluation_needs_all_images_of_every_layout(tmp_path, case):
    maker, name, text, words = LOST[case]
    maker(tmp_path, BOXES)
    assert len(evaluated(tmp_path).images) == 2
    damage(tmp_path, name, text)
    with pytest.raises(UserError, match=f"not all images of .* can be evaluated: 1  {words}.*Correct or complete"):
        evaluated(tmp_path)


@pytest.mark.parametrize("case", LOST)
@pytest.mark.fault("an evaluation of val with an unusable image of train", "the same damage in the other split",
                   "a warning: all images of val are there")
def test_an_evaluation_needs_no_images_of_other_splits(tmp_path, caplog, case):
    maker, name, text, words = LOST[case]
    maker(tmp_path, BOXES)
    in_train = name.replace("valid", "train").replace("val", "train").replace("v2", "t2")
    damage(tmp_path, in_train, text.replace("v", "t") if in_train == "train.csv" else text)
    assert len(evaluated(tmp_path).images) == 2 and words in caplog.text
    with pytest.raises(UserError, match="not all images of .* can be evaluated"):
        read_evaluated(str(tmp_path), "train", "", "", False)


def test_an_image_of_two_lists_of_voc_counts_for_both(tmp_path):
    make_voc(tmp_path, BOXES)
    write(tmp_path, "ImageSets/Main/trainval.txt", "t1\nt2\nv1\nv2\n")
    damage(tmp_path, *LOST["a truncated XML file"][1:3])
    assert read_layout(tmp_path).report.defects.counts == {"XML file that cannot be read: image left out": 1}
    for split in ("train", "val"):
        with pytest.raises(UserError, match="evaluated: 1  XML file"):
            read_evaluated(str(tmp_path), split, "", "", False)


@pytest.mark.fault("a conversion of a VOC data set with a truncated XML file", "half of the file",
                   "the image is left out and counted; an error with --strict true")
def test_a_conversion_leaves_out_the_image_of_a_truncated_xml_file(tmp_path):
    make_voc(tmp_path / "data", BOXES)
    write(tmp_path / "data", "Annotations/t2.xml", WHOLE[:len(WHOLE) // 2])
    dataset = read_evaluated(str(tmp_path / "data"), "train", "", "", False, whole=False)
    with pytest.raises(UserError, match=r"1 defect\(s\), nothing was written.*\n.*XML file that cannot be read"):
        convert(dataset, tmp_path / "shards", "set", 1, strict=True)
    summary = convert(dataset, tmp_path / "shards", "set", 1)
    assert len(summary.image_ids) == 1 and summary.defects.counts == {"XML file that cannot be read: image left out": 1}


@pytest.mark.parametrize("maker, name, text, kind", [
    (make_voc, "Annotations/v2.xml", voc_text([*ONE_BOX, ("", (1, 1, 5, 5))]), "object without name or box"),
    (make_csv, "val.csv", "v1.png,1,2,3,4,dot\nv2.png,1,2,3,4,dot\n,1,2,3,4,dot\n", "row without a file"),
    (make_labelme, "val/classes.json", {"colours": 3}, "JSON file without the list shapes: left out")])
def test_an_evaluation_warns_about_boxes_and_other_files(tmp_path, caplog, maker, name, text, kind):
    maker(tmp_path, BOXES)
    write(tmp_path, name, text)
    assert len(evaluated(tmp_path).images) == 2 and kind in caplog.text
    with pytest.raises(UserError, match=f"1 defect.*\n.*{kind}"):
        evaluated(tmp_path, strict=True)


@pytest.mark.parametrize("change", [
    lambda row: row.pop("id"), lambda row: row.update(id=100), lambda row: row.pop("file_name"),
    lambda row: row.update(width=99999)])
def test_an_evaluation_needs_all_entries_of_coco(tmp_path, change):
    path = make_coco(tmp_path, num_images=3, split="val", size=(HEIGHT, WIDTH))
    assert len(evaluated(tmp_path).images) == 3
    edit(path, lambda document: change(document["images"][2]))
    with pytest.raises(UserError, match="can be evaluated: 1  image "):
        evaluated(tmp_path)


def test_an_entry_of_roboflow_without_a_name_is_counted(tmp_path):
    make_roboflow(tmp_path, BOXES)
    path = next(tmp_path.glob("valid/*.json"))
    edit(path, lambda document: document["images"][0].pop("file_name"))
    assert read_layout(tmp_path).report.defects.counts == {"image entry without file_name": 1}
