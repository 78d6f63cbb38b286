"""The command import-dataset: its files, flags and splits, and what it leaves alone."""
import json
import re
import sys
from pathlib import Path

import pytest

from centernet.data.coco import locate, read_data
from centernet.data.layouts.found import read_layout
from centernet.data.layouts.splits import group_pattern
from centernet.errors import UserError
from tests.data.layouts.makers import (
    NAMES,
    coco_document,
    divided,
    imports,
    make_csv,
    make_cvat,
    make_images,
    make_roboflow,
    make_voc,
    make_yolo,
    random_boxes,
    voc_text,
    write,
)


def test_an_import_beside_the_images_and_into_another_folder(tmp_path, capsys):
    make_voc(tmp_path / "voc", random_boxes())
    assert imports("--data", tmp_path / "voc", "--out", tmp_path / "out") == 0
    assert imports("--data", tmp_path / "voc", "--classes", "ring") == 0
    text = capsys.readouterr().out
    assert "box of another class than --classes: left out (dot" in text and "       0  defects" in text
    for folder, names in (("out", NAMES), ("voc", ("ring",))):
        train, val = (read_data(str(tmp_path / folder), split) for split in ("train", "val"))
        assert train.categories.names == val.categories.names == names
        assert [len(train.images), len(val.images)] == [2, 1]
        assert {image.path.resolve().parent for image in train.images} == {tmp_path / "voc/JPEGImages"}
    assert (tmp_path / "out/images").is_symlink()
    with pytest.raises(UserError, match="imported without images for test: it has imported_train.json, imported_val"):
        locate(str(tmp_path / "voc"), "test")


@pytest.mark.parametrize("place", ["voc/out", "voc/annotations/new", "link/out"])
@pytest.mark.fault("import-dataset into a folder of the data set", "--out DATA/out, also through a link",
                   "an error at the start, and no link that contains itself")
def test_a_link_to_a_folder_that_contains_it_is_not_made(tmp_path, capsys, place):
    make_voc(tmp_path / "voc", random_boxes())
    (tmp_path / "link").symlink_to(tmp_path / "voc")
    before = sorted(tmp_path.rglob("*"))
    assert imports("--data", tmp_path / "voc", "--out", tmp_path / place) == 2
    assert re.search("--out .* lies inside the data set .*Leave out --out: then", capsys.readouterr().err)
    assert sorted(tmp_path.rglob("*")) == before


def test_files_in_the_folder_of_the_data_set_or_around_it_need_no_other_folder(tmp_path):
    make_yolo(tmp_path / "yolo", random_boxes())
    for out in ("yolo", "."):
        assert imports("--data", tmp_path / "yolo", "--out", tmp_path / out) == 0
        assert len(read_data(str(tmp_path / out), "train").images) == 2
    assert not (tmp_path / "yolo/images").is_symlink() and (tmp_path / "images").is_symlink()
    make_csv(tmp_path / "csv", random_boxes())
    table = next((tmp_path / "csv").glob("train*.csv"))
    assert imports("--data", table, "--out", tmp_path / "csv/out", "--val_share", "0.5") == 2


@pytest.mark.parametrize("flags, words", [
    (["--classes", "cat"], r"has no class cat; its classes are dot, ring\."),
    (["--classes", "dot", "RING"], r"has no class RING; its classes are dot, ring; did you mean ring\?"),
    (["--classes", "dot,ring"], "its classes are dot, ring. Separate several of them by spaces, not by commas"),
    (["--splits", "train=x"], "--splits train=x: expected train=NAME"),
    (["--val_share", "0.5", "--group_by", "("], "neither 'folder' nor a regular"),
    (["--val_share", "0.5", "--group_by", "a{99999999999999}"], "neither 'folder' nor a regular expression: the rep"),
    (["--group_by", "(", "--data", "/nowhere"], "neither 'folder' nor a regular"),
    (["--val_share", "0.5", "--group_by", "^zzz"], "fits no part of 2 of 2 names"),
    (["--group_by", "folder"], "has no effect without --val_share"),
    (["--val_share", "0.5", "--group_by", "folder"], "all 2 images are in one group"),
    (["--val_share", "1"], "val_share must be at least 0 and below 1,"), (["--data_format", "yolo"], "is not in YOLO"),
    (["--strict", "true"], r"1 defect\(s\), nothing was written"), (["--data", "/nowhere"], "does not exist"),
    (["--data", "https://a.b/c.zip"], "is a URL: download and unpack it first"),
    (["--data", __file__], "is a file: name the folder of the data set")])
def test_wrong_flags(tmp_path, capsys, flags, words):
    make_voc(tmp_path, random_boxes())
    write(tmp_path, "Annotations/t1.xml", voc_text([("dot", (5, 5, 4, 9)), ("ring", (1, 1, 9, 9))]))
    flags = flags if "--data" in flags else ["--data", tmp_path, *flags]
    assert imports(*flags) == 2
    assert re.search(words, capsys.readouterr().err) and not (tmp_path / "annotations").exists()


def test_division_by_share_and_by_groups(tmp_path):
    names = [f"{camera}_{number:02d}" for camera in ("a", "b", "c", "d") for number in range(5)]
    make_cvat(tmp_path, {name: [("dot", (1, 1, 9, 9))] for name in names})
    train, val = divided(tmp_path, "--val_share", "0.3")
    assert len(val) == 6 and len(train) == 14 and not train & val
    assert divided(tmp_path, "--val_share", "0.3") == [train, val] != divided(tmp_path, "--val_share", "0.3", "--seed",
                                                                              "1")
    train, val = divided(tmp_path, "--val_share", "0.3", "--group_by", "([a-z])_")
    cameras = [{Path(name).name[0] for name in part} for part in (train, val)]
    assert len(val) == 10 and not cameras[0] & cameras[1]


def test_images_outside_of_the_data_set_are_refused(tmp_path):
    make_images(tmp_path, ["secret.png"])
    write(tmp_path, "set/train.csv", "../secret.png,1,2,5,6,dot\n")
    assert imports("--data", tmp_path / "set") == 2
    assert imports("--data", tmp_path / "set", "--allow_outside", "true") == 0


@pytest.mark.fault("--allow_outside true for COCO files of Roboflow and CVAT", "an image beside its folder",
                   "refused without the flag, read with it: by an import, and by commands that need no import")
@pytest.mark.parametrize("maker", [make_roboflow, make_cvat])
def test_allow_outside_holds_for_coco_files_of_other_tools(tmp_path, maker):
    boxes = {"t1": [("dot", (1, 1, 9, 9))]} | ({"v1": [("ring", (2, 2, 9, 9))]} if maker is make_roboflow else {})
    maker(tmp_path / "set", boxes)
    image = next((tmp_path / "set").rglob("t1.png"))
    image.rename(tmp_path / "t1.png")
    file = min((tmp_path / "set").rglob("*.json"))  # of train
    file.write_text(file.read_text().replace('"t1.png"', json.dumps(str(tmp_path / "t1.png"))))
    with pytest.raises(UserError, match="set --allow_outside true"):
        read_layout(tmp_path / "set")
    imported = read_layout(tmp_path / "set", allow_outside=True)
    assert len(imported.pictures) == len(boxes) and not imported.report.defects.counts
    if maker is make_roboflow:
        with pytest.raises(UserError, match="set --allow_outside true"):
            read_data(str(tmp_path / "set"), "train")
        assert len(read_data(str(tmp_path / "set"), "train", allow_outside=True).images) == 1
    else:
        flags = ["--data", tmp_path / "set", "--splits", "train=", "--out", tmp_path / "out"]
        assert [imports(*flags), imports(*flags, "--allow_outside", "true")] == [2, 0]
        dataset = read_data(str(tmp_path / "out"), "train", allow_outside=True)
        assert [item.path for item in dataset.images] == [tmp_path / "t1.png"] and not dataset.report.defects.counts


@pytest.mark.parametrize("own", ["link", "folder", "broken link"])
def test_an_import_replaces_nothing_of_the_user(tmp_path, capsys, own):
    make_csv(tmp_path / "set", random_boxes())
    (tmp_path / "mine").mkdir()
    (tmp_path / "out").mkdir()
    link = tmp_path / "out/images"
    if own == "folder":
        link.mkdir()
    else:
        link.symlink_to(tmp_path / ("mine" if own == "link" else "gone"))
    before = link.is_symlink() and link.readlink()
    assert imports("--data", tmp_path / "set", "--out", tmp_path / "out") == 2
    assert f"it has a {own.split()[-1]} images" in capsys.readouterr().err
    assert (link.is_symlink() and link.readlink()) == before and not (tmp_path / "out/annotations").exists()
    assert [imports("--data", tmp_path / "set", "--out", tmp_path / "new") for _ in range(2)] == [0, 0]


def test_an_image_in_two_splits_or_twice_in_one(tmp_path, capsys):
    make_images(tmp_path, [f"{name}.png" for name in "abcdefgh"])
    write(tmp_path, "boxes.csv", "file,x1,y1,x2,y2,label,split\n" + "".join(
        f"{name}.png,1,1,9,9,dot,{split}\n" for split in ("train", "val", "test") for name in "abcdefgh"[
            {"train": 0, "val": 3, "test": 7}[split]:]) + "./a.png,1,1,9,9,dot,train\na.png,2,1,9,9,ring,val\n")
    assert imports("--data", tmp_path) == 0
    text = capsys.readouterr().out
    assert "       6  the same image in train and in val (" in text and "1  the same image twice in train (" in text
    out = tmp_path.with_name(f"{tmp_path.name}-out")
    assert imports("--data", tmp_path, "--out", out, "--strict", "true") == 2
    assert "defect(s), nothing was written" in capsys.readouterr().err and not out.exists()
    assert len(read_data(str(tmp_path), "val").images) == 6  # no image is lost
    train, val = divided(tmp_path, "--val_share", "0.25", "--splits", "train=train", "val=val")
    assert (len(train), len(val)) == (6, 2) and not train & val
    text = capsys.readouterr().out
    assert "note: image with several entries: taken once" in text and "note: split test" not in text
    rows = [box for split in ("train", "val") for box in json.loads(
        (out / f"annotations/imported_{split}.json").read_text())["annotations"]]
    assert len(rows) == 9  # the boxes of the second entries are equal, but for one of a.png


def test_images_of_a_split_without_a_usual_name(tmp_path, capsys):
    make_images(tmp_path, ["a.png", "b.png", "c.png", "d.png"])
    write(tmp_path, "boxes.csv", "file,x1,y1,x2,y2,label,split\na.png,1,1,9,9,dot,train\nb.png,1,1,9,9,dot,holdout\n"
                                 "c.png,1,1,9,9,dot,holdout\nd.png,1,1,9,9,dot,\n")
    assert imports("--data", tmp_path) == 0
    text = capsys.readouterr().out
    assert "       2  note: split holdout: not used (b.png; c.png)" in text
    assert "       1  note: image without a split: not used (d.png)" in text
    write(tmp_path, "boxes.csv", Path(tmp_path, "boxes.csv").read_text().replace("train", "other"))
    train, val = divided(tmp_path, "--val_share", "0.25")
    assert (len(train), len(val)) == (3, 1) and "not used" not in capsys.readouterr().out


def test_a_pattern_that_is_too_deep_for_python():
    with pytest.raises(UserError, match="nor a regular expression: maximum recursion depth"):
        group_pattern("(" * sys.getrecursionlimit() + ")" * sys.getrecursionlimit())


def test_an_import_hides_no_split_of_coco(tmp_path, caplog):
    for split, letter in (("train", "t"), ("val", "v")):
        boxes = {name: rows for name, rows in random_boxes().items() if name[0] == letter}
        make_images(tmp_path / f"{split}2017", [f"{name}.png" for name in boxes])
        write(tmp_path, f"annotations/instances_{split}2017.json", coco_document(boxes))
    write(tmp_path, "annotations/imported_train.json", coco_document({"train2017/t1": random_boxes()["t1"]}))
    with caplog.at_level("INFO", "centernet"):
        assert [len(read_data(str(tmp_path), split).images) for split in ("train", "val")] == [1, 1]
    assert "imported without images for val: using its own" in caplog.text and "instances_val2017.json" in caplog.text
    with pytest.raises(UserError, match="imported without images for test: it has imported_train.json"):
        locate(str(tmp_path), "test")
    (tmp_path / "val2017").rename(tmp_path / "other")
    with pytest.raises(UserError, match="imported without images for val"):
        read_data(str(tmp_path), "val")


@pytest.mark.parametrize("files, words", [
    (["data/labels/train/a.txt"], "labels/ looks like YOLO: add data.yaml, or classes.txt"),
    (["data/boxes.csv"], "boxes.csv is not such a table: its first line must be file,x1,y1,x2,y2,label"),
    (["Annotations/a.xml", "data/a.jpg"], "Name its parent folder, which has Annotations"),
    (["data/a.jpg"], "Name the folder that holds the images and their annotations")])
def test_what_is_missing_for_a_layout_is_said(tmp_path, capsys, files, words):
    for name in files:
        write(tmp_path, name, "x,y")
    assert imports("--data", tmp_path / "data") == 2
    assert words in capsys.readouterr().err
