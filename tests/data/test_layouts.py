"""Data sets of other layouts: each format gives the same boxes, and what is left out is said."""
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from centernet.cli import import_dataset
from centernet.data.coco import locate, read_data
from centernet.data.defects import Report
from centernet.data.layouts.form import Box, cut, to_coco
from centernet.data.layouts.found import READERS, find_layouts, read_layout
from centernet.data.layouts.splits import group_pattern, select_classes
from centernet.errors import UserError
from centernet.xml_document import parse_xml

WIDTH, HEIGHT = 96, 64
NAMES = ("dot", "ring")


def make_images(folder, names):
    for name in names:
        Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(Path(folder, name)), np.full((HEIGHT, WIDTH, 3), 80, np.uint8))


def write(folder, name, text):
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))


def voc_text(boxes, size=(WIDTH, HEIGHT), difficult=0):
    rows = "".join(f"<object><name>{label}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1 + 1!r}</xmin>"
                   f"<ymin>{y1 + 1!r}</ymin><xmax>{x2!r}</xmax><ymax>{y2!r}</ymax></bndbox><part><name>no</name></part>"
                   "</object>" for label, (x1, y1, x2, y2) in boxes)
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{rows}</annotation>"


def make_voc(folder, boxes):
    make_images(folder / "JPEGImages", [f"{name}.png" for name in boxes])
    for name, rows in boxes.items():
        write(folder, f"Annotations/{name}.xml", voc_text(rows))
    for file, letter in (("trainval", "t"), ("test", "v")):
        write(folder, f"ImageSets/Main/{file}.txt", "".join(f"{name} 1\n" for name in boxes if name[0] == letter))


def make_yolo(folder, boxes):
    write(folder, "data.yaml", "names: {0: dot, 1: ring}\ntrain: ../train/images\nval: ../val/images\n")
    for name, rows in boxes.items():
        split = "train" if name[0] == "t" else "val"
        make_images(folder / split / "images", [f"{name}.png"])
        write(folder, f"{split}/labels/{name}.txt", "".join(
            f"{NAMES.index(label)} {(x1 + x2) / 2 / WIDTH!r} {(y1 + y2) / 2 / HEIGHT!r} {(x2 - x1) / WIDTH!r} "
            f"{(y2 - y1) / HEIGHT!r}\n" for label, (x1, y1, x2, y2) in rows))


def make_labelme(folder, boxes):
    for name, (first, *rows) in boxes.items():
        split = "train" if name[0] == "t" else "val"
        make_images(folder / split, [f"{name}.png"])
        label, (x1, y1, x2, y2) = first
        shapes = [{"label": label, "shape_type": "polygon", "points": [[x1, y1], [x2, (y1 + y2) / 2], [x1, y2]]}]
        shapes += [{"label": label, "shape_type": "rectangle", "points": [[x2, y1], [x1, y2]]}
                   for label, (x1, y1, x2, y2) in rows]
        write(folder, f"{split}/{name}.json", {"shapes": shapes, "imagePath": f"..\\x\\{name}.png",
                                               "imageWidth": WIDTH, "imageHeight": HEIGHT, "imageData": None})


def make_csv(folder, boxes):
    make_images(folder / "pictures", [f"{name}.png" for name in boxes])
    for split in "tv":
        rows = [f"{name}.png,{x1!r},{y1!r},{x2!r},{y2!r},{label}" for name, found in boxes.items() if name[0] == split
                for label, (x1, y1, x2, y2) in found]
        header = ["filename,xmin,ymin,xmax,ymax,class"] * (split == "t")
        write(folder, f"{'train' if split == 't' else 'val'}.csv", "\n".join([*header, *rows]))


def coco_document(boxes):
    names = ("things", *NAMES)
    return {"images": [{"id": number, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT}
                       for number, name in enumerate(boxes)],
            "annotations": [{"id": f"{number}-{position}", "image_id": number, "category_id": names.index(label),
                             "bbox": [x1, y1, x2 - x1, y2 - y1], "area": 7, "iscrowd": 0}
                            for number, rows in enumerate(boxes.values())
                            for position, (label, (x1, y1, x2, y2)) in enumerate(rows)],
            "categories": [{"id": 0, "name": "things", "supercategory": "none"},
                           *({"id": k, "name": name, "supercategory": "things"} for k, name in enumerate(NAMES, 1))]}


def make_roboflow(folder, boxes):
    for split, letter in (("train", "t"), ("valid", "v")):
        part = {name: rows for name, rows in boxes.items() if name[0] == letter}
        make_images(folder / split, [f"{name}.png" for name in part])
        write(folder, f"{split}/_annotations.coco.json", coco_document(part))


def make_cvat(folder, boxes):
    make_images(folder / "images", [f"{name}.png" for name in boxes])
    write(folder, "annotations/instances_default.json", coco_document(boxes))


MAKERS = {"voc": make_voc, "yolo": make_yolo, "labelme": make_labelme, "csv": make_csv, "coco": make_roboflow,
          "cvat": make_cvat}


def random_boxes(seed=0):
    rng = np.random.default_rng(seed)

    def box():
        (x1, x2), (y1, y2) = (np.sort(rng.uniform(0, side, 2)) for side in (WIDTH, HEIGHT))
        return NAMES[rng.integers(2)], (float(x1), float(y1), float(x2), float(y2))
    return {name: [("dot", box()[1]), *(box() for _ in range(4)), ("ring", box()[1])] for name in ("t1", "t2", "v1")}


@pytest.mark.parametrize("name", MAKERS)
def test_boxes_come_back_to_a_millionth_of_a_pixel(tmp_path, name):
    boxes = random_boxes()
    MAKERS[name](tmp_path, boxes)
    imported = read_layout(tmp_path)
    assert imported.layout == ("coco" if name == "cvat" else name) and imported.names == NAMES
    assert not imported.report.defects.counts and len(imported.pictures) == 3
    document = to_coco(imported, imported.pictures, "", False)
    found = {image["id"]: Path(image["file_name"]).stem for image in document["images"]}
    rows = [(found[row["image_id"]], NAMES[row["category_id"] - 1], *row["bbox"]) for row in document["annotations"]]
    wanted = [(image, label, x1, y1, x2 - x1, y2 - y1) for image, rows in boxes.items()
              for label, (x1, y1, x2, y2) in rows]
    rows, wanted = sorted(rows), sorted(wanted)
    assert [row[:2] for row in rows] == [row[:2] for row in wanted]
    np.testing.assert_allclose([row[2:] for row in rows], [row[2:] for row in wanted], atol=1e-6, rtol=0)
    if "c" in name[0] and name != "csv":
        assert "category without boxes that only groups others: left out" in imported.report.notes.counts


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "cvat"])
def test_layouts_with_splits_need_no_import(tmp_path, name):
    MAKERS[name](tmp_path, random_boxes())
    train, val = (read_data(str(tmp_path), split) for split in ("train", "val"))
    assert [len(train.images), len(val.images)] == [2, 1] and train.categories == val.categories
    assert all(image.path.is_file() and len(image.boxes) == 6 for image in (*train.images, *val.images))


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


def test_a_layout_without_splits_names_the_command(tmp_path):
    make_cvat(tmp_path, random_boxes())
    with pytest.raises(UserError, match=r"instances_default.json\), but its images have no split val.*import-dataset "
                                        r"--data \S+ --val_share 0.2"):
        read_data(str(tmp_path), "val")
    with pytest.raises(UserError, match="not in COCO's own .*Import it: .*centernet import-dataset --data"):
        locate(str(tmp_path), "val")
    make_csv(tmp_path, random_boxes())
    with pytest.raises(UserError, match="several layouts: COCO.* and CSV files .train.csv, val.csv.*Choose one"):
        read_data(str(tmp_path), "val")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="none of the known layouts: Pascal VOC, YOLO"):
        read_layout(tmp_path / "empty")


def imports(*flags):
    return import_dataset.main([str(flag) for flag in flags])


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


def divided(folder, *flags):
    out = folder.with_name(f"{folder.name}-out")
    assert imports("--data", folder, "--out", out, *flags) == 0
    return [{image["file_name"] for image in json.loads(Path(out, f"annotations/imported_{split}.json")
                                                        .read_text())["images"]} for split in ("train", "val")]


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


HIDING = {  # name of the first file, its text, the layout, and what is said about the file
    "labelme": ("0.json", '{"shapes": [], "shapes": [], "imagePath": "a.png"}', "labelme",
                "0.json is not valid JSON: an object has the key 'shapes' twice"),
    "voc beside the images": ("0.xml", "<annotation><size>", "voc", "0.xml is not valid XML"),
    "yolo": ("coco8.yaml", "path: .\nnames: [dot]\nnames: [ring]\n", "yolo", "coco8.yaml is not valid YAML")}


@pytest.mark.parametrize("name", HIDING)
@pytest.mark.fault("a damaged annotation file that comes first", "a key that is twice, or text that ends too early, in "
                   "the layouts of LabelMe, VOC and YOLO", "the layout is found, and the message names the file")
def test_a_damaged_file_does_not_hide_the_layout(tmp_path, name):
    file, text, layout, words = HIDING[name]
    make_images(tmp_path, ["0.png", "1.png"])
    write(tmp_path, file, text)
    assert list(find_layouts(tmp_path)) == [layout]
    with pytest.raises(UserError, match=re.escape(words)):
        read_layout(tmp_path)
    write(tmp_path, f"1{Path(file).suffix}", {
        "labelme": {"shapes": [{"label": "dot", "shape_type": "rectangle", "points": [[1, 1], [9, 9]]}]},
        "voc": voc_text([("dot", (1, 1, 5, 5))]), "yolo": "names: [dot, ring]"}[layout])
    write(tmp_path, "1.txt", "0 0.5 0.5 0.5 0.5\n")
    imported = read_layout(tmp_path)
    assert imported.names[0] == "dot" and (layout == "yolo" or words in str(imported.report.defects.examples))


def test_a_damaged_file_of_another_kind_is_passed_over(tmp_path):
    make_images(tmp_path, ["1.png"])
    for file in ("0.json", "0.xml", "0.yaml"):
        write(tmp_path, file, "{: <")
    assert not find_layouts(tmp_path)
    write(tmp_path, "1.json", {"shapes": []})
    write(tmp_path, "1.xml", voc_text([]))
    assert sorted(find_layouts(tmp_path)) == ["labelme", "voc"]


@pytest.mark.parametrize("line, kind", [
    ("0 0.5 0.5", "not: class x y"), ("7 0.5 0.5 0.1 0.1", "class that is not from 0 to 1"),
    ("0 48 32 9 9", "numbers outside of 0..1"), ("0 0.5 0.5 0 0.1", "without area"), ("0 0.5 0.5 nan 1", "not: class"),
    ("x", "not: class"), ("0 0.1 0.1 0.2 0.2 0.9", "not: class"), ("", ""), ("1 .1 .1 .5 .1 .3 .4", "")])
def test_lines_of_yolo(tmp_path, line, kind):
    make_yolo(tmp_path, {**random_boxes(), "t3": []})
    write(tmp_path, "train/labels/t3.txt", line)
    (tmp_path / "train/labels/t1.txt").unlink()
    imported = read_layout(tmp_path)
    assert kind in "".join(imported.report.defects.counts) and bool(kind) == bool(imported.report.defects.counts)
    boxes = {picture.path.stem: picture.boxes for picture in imported.pictures}
    assert boxes["t1"] == () and imported.report.notes.counts.pop(
        "image without label file: taken as an image without objects") == 1
    if line.startswith("1"):
        np.testing.assert_allclose(boxes["t3"][0].corners, (.1 * WIDTH, .1 * HEIGHT, .5 * WIDTH, .4 * HEIGHT))


def test_names_files_of_yolo_and_images_beside_their_labels(tmp_path):
    make_images(tmp_path, ["a.png", "b.png"])
    write(tmp_path, "a.txt", "1 0.5 0.5 0.5 0.5\n")
    write(tmp_path, "classes.txt", "dot\nring\n")
    imported = read_layout(tmp_path)
    assert imported.names == NAMES and [len(picture.boxes) for picture in imported.pictures] == [1, 0]
    write(tmp_path, "classes.txt", "dot\ndot\n")
    with pytest.raises(UserError, match="classes.txt: names must be a list of different names"):
        read_layout(tmp_path)


def test_names_that_are_not_utf8(tmp_path):
    make_images(tmp_path, ["a.png"])
    write(tmp_path, "a.txt", "1 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_bytes("dot\nrond\xe9\n".encode("latin-1"))
    assert imports("--data", tmp_path, "--val_share", "0") == 2  # one image without a split
    assert read_layout(tmp_path).names == ("dot", "rond\N{REPLACEMENT CHARACTER}")


def test_jobs_accept_layouts_that_need_no_import(tmp_path):
    from centernet.config.load import load_config
    from centernet.jobs.start_job import layout_problems

    make_voc(tmp_path, random_boxes())
    assert layout_problems(load_config("dataset", [], ""), str(tmp_path), "train") == []
    make_csv(tmp_path, random_boxes())
    (problem,) = layout_problems(load_config("dataset", [], ""), str(tmp_path), "train")
    assert "several layouts" in problem and "centernet import-dataset" in problem


def test_yolo_counts_from_the_image_as_exif_turns_it(tmp_path):
    from PIL import Image

    make_yolo(tmp_path, {"v1": random_boxes()["v1"]})
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "train/images").mkdir(parents=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "train/images/t1.jpg", exif=exif)
    write(tmp_path, "train/labels/t1.txt", "0 0.5 0.5 1 1\n")
    picture = read_layout(tmp_path).pictures[0]
    assert (picture.width, picture.height) == (HEIGHT, WIDTH) == picture.boxes[0].corners[2:]
    assert read_data(str(tmp_path), "train").images[0].width == HEIGHT


def test_shapes_of_labelme(tmp_path):
    make_labelme(tmp_path, {"t1": random_boxes()["t1"]})
    shapes = [{"label": "dot", "shape_type": "circle", "points": [[20, 20], [23, 24]]},
              {"label": "dot", "shape_type": "line", "points": [[2, 2], [3, 4]]},
              {"label": "ring", "group_id": 1, "points": [[1, 2], [3, 4], [1, 4]]},
              {"label": "ring", "group_id": 1, "points": [[10, 20], [30, 40], [1, 4]]},
              {"label": "ring", "points": [["x", 2], [3, 4]]}, 5]
    write(tmp_path, "train/t1.json", {"shapes": shapes, "imagePath": "t1.png"})
    imported = read_layout(tmp_path)
    assert [box.corners for box in imported.pictures[0].boxes] == [(15, 15, 25, 25), (1, 2, 30, 40)]
    assert list(imported.report.defects.counts.values()) == [3] and len(imported.report.notes.counts) == 2


def test_rows_of_csv_files(tmp_path):
    make_images(tmp_path, ["a.png", "b.png"])
    write(tmp_path, "boxes.csv", "a.png;1;2;5;6;dot\nb.png;;;;;\na.png;1;x;3;4;dot\n;1;2;3;4;dot\nc.png;1;2;3;4;dot\n")
    imported = read_layout(tmp_path / "boxes.csv")
    assert [len(picture.boxes) for picture in imported.pictures] == [1, 0]
    assert list(imported.report.defects.counts.values()) == [1, 1, 1]
    write(tmp_path, "boxes.csv", "a,b\n1,2\n")
    with pytest.raises(UserError, match="the first line must be file,x1,y1"):
        read_layout(tmp_path / "boxes.csv")
    assert find_layouts(tmp_path) == {}


def test_an_image_that_is_named_by_a_link_is_not_left_out(tmp_path):
    (tmp_path / "raw").mkdir()
    make_images(tmp_path / "raw", ["a.png", "b.png"])
    (tmp_path / "photos").symlink_to(tmp_path / "raw")
    write(tmp_path, "boxes.csv", "photos/a.png,1,2,5,6,dot\n")
    notes = read_layout(tmp_path / "boxes.csv").report.notes
    assert list(notes.counts.items()) == [("image without annotation: left out", 1)]


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


@pytest.mark.parametrize("layout", ["voc", "labelme", "csv"])
def test_equal_names_in_several_folders(tmp_path, layout):
    make_images(tmp_path / "JPEGImages", ["a/0001.jpg", "b/0001.jpg", "c/0001.jpg"])
    rows = []
    for x, folder in enumerate("abc"):
        shape = {"label": "dot", "points": [[x, 1], [x + 9, 20], [x + 3, 30]]}
        if layout == "voc":
            write(tmp_path, f"Annotations/{folder}/0001.xml", voc_text([("dot", (x, 1, x + 9, 20))]))
        elif layout == "labelme":
            write(tmp_path, f"labels/{folder}/0001.json", {
                "shapes": [shape], "imagePath": f"../../JPEGImages/{folder}/0001.jpg", "imageWidth": WIDTH,
                "imageHeight": HEIGHT})
        rows.append(f"{folder}/0001.jpg,{x},1,{x + 9},20,dot")
    if layout == "csv":
        write(tmp_path, "boxes.csv", "\n".join(rows))
    imported = read_layout(tmp_path)
    found = {picture.path.parent.name: picture.boxes[0].corners[0] for picture in imported.pictures}
    assert found == {"a": 0, "b": 1, "c": 2} and not imported.report.notes.counts


def name_of(folder, name):
    return f"<folder>{folder}</folder><filename>{name}</filename><size>"


def labelme_of(name):
    return {"shapes": [{"label": "dot", "points": [[1, 1], [9, 9]]}], "imagePath": name, "imageWidth": WIDTH,
            "imageHeight": HEIGHT}


VOC_BOX = voc_text([("dot", (1, 1, 9, 9))])
# Images, the annotation file, its content, and the image that it means; "": several fit equally.
TWINS = {
    "voc name": (["images/001.jpg", "depth/001.png"], "Annotations/001.xml",
                 VOC_BOX.replace("<size>", name_of("", "001.jpg")), "images/001.jpg"),
    "voc folder": (["RGB/001.jpg", "infrared/001.jpg"], "Annotations/001.xml",
                   VOC_BOX.replace("<size>", name_of("infrared", "001.jpg")), "infrared/001.jpg"),
    "voc nothing decides": (["RGB/001.jpg", "infrared/001.jpg"], "Annotations/001.xml",
                            VOC_BOX.replace("<size>", name_of("photos", "001.jpg")), ""),
    "voc without a name": (["a/001.jpg", "a/001.png"], "Annotations/001.xml", VOC_BOX, ""),
    "voc masks": (["JPEGImages/001.jpg", "Masks/001.png", "A/001.png"], "Annotations/001.xml", VOC_BOX,
                  "JPEGImages/001.jpg"),
    "voc old name": (["images/001.jpg", "images/000.jpg"], "Annotations/001.xml",
                     VOC_BOX.replace("<size>", name_of("", "000.jpg")), "images/001.jpg"),
    "voc folder below": (["photos/small/001.jpg", "photos/001.jpg"], "Annotations/001.xml", VOC_BOX,
                         "photos/001.jpg"),
    "labelme path": (["labels/001.jpg", "photos/001.jpg"], "labels/001.json", labelme_of("../photos/001.jpg"),
                     "photos/001.jpg"),
    "labelme nothing decides": (["RGB/001.jpg", "infrared/001.jpg"], "labels/001.json", labelme_of("001.jpg"), ""),
    "csv folder": (["set/RGB/001.jpg", "set/infrared/001.jpg"], "b.csv", "infrared/001.jpg,1,1,9,9,dot\n",
                   "set/infrared/001.jpg"),
    "csv nothing decides": (["RGB/001.jpg", "infrared/001.jpg"], "b.csv", "001.jpg,1,1,9,9,dot\n", "")}


@pytest.mark.fault("two images with one stem or name (RGB and depth)", "in two folders, for VOC, LabelMe and CSV",
                   "the annotation's name and folder decide; if they do not, the image is a defect")
@pytest.mark.parametrize("case", TWINS)
def test_two_images_with_one_stem(tmp_path, case):
    images, file, text, meant = TWINS[case]
    make_images(tmp_path, images)
    write(tmp_path, file, text)
    report = Report()
    found = READERS[next(iter(find_layouts(tmp_path)))].read(tmp_path, report)
    assert [str(picture.path.relative_to(tmp_path)) for picture in found.pictures] == [meant][:bool(meant)]
    assert list(report.defects.counts) == [
        "annotation that fits several images equally: left out"][bool(meant):]
    assert ("<filename> is another image" in str(report.notes.counts)) == (case == "voc old name")


def test_files_that_belong_to_two_images(tmp_path):
    make_yolo(tmp_path / "yolo", random_boxes())
    make_images(tmp_path / "yolo/train/images", ["t1.jpg"])
    assert read_layout(tmp_path / "yolo").report.defects.examples == {
        "label file of two images: both kept with its boxes": ["t1.txt: t1.jpg, t1.png"]}
    make_images(tmp_path / "voc/JPEGImages", ["a/1.png", "b/1.png", "2.png"])
    for name in ("a/1", "b/1", "2"):
        write(tmp_path / "voc", f"Annotations/{name}.xml", VOC_BOX)
    write(tmp_path / "voc", "ImageSets/Main/train.txt", "1\na/1\n2\n")
    imported = read_layout(tmp_path / "voc")
    assert [picture.path.relative_to(tmp_path / "voc/JPEGImages").as_posix() for picture in imported.pictures] == [
        "a/1.png", "2.png"]
    assert imported.report.defects.examples == {"image of a list with several XML files: left out": ["train.txt: 1"]}
    make_images(tmp_path / "voc/JPEGImages", ["1.png"])
    write(tmp_path / "voc", "Annotations/1.xml", VOC_BOX)  # an exact name wins
    assert not read_layout(tmp_path / "voc").report.defects.examples


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


@pytest.mark.parametrize("key", ["path", "train", "list", "zero"])
def test_names_in_files_of_yolo_that_no_file_can_have(tmp_path, key):
    make_yolo(tmp_path, random_boxes())
    long = "x" * 300
    text = {"path": f"path: {long}\ntrain: train/images", "train": f"train: [train/images, {long}]",
            "list": "train: train.txt", "zero": 'train: [train/images, "a\\0b"]'}[key]
    write(tmp_path, "data.yaml", f"names: [dot, ring]\n{text}\nval: val/images\n")
    write(tmp_path, "train.txt", f"train/images/t1.png\n{long}.png\ntrain/images/t2.png\na\0b.png\n")
    imported = read_layout(tmp_path)
    assert len(imported.pictures) == 3
    assert imported.report.defects.counts == ({"image file missing": 2} if key == "list" else {})


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


@pytest.mark.parametrize("corners", [(0, 0, float("nan"), 1), (0, 0, float("inf"), 1), (0, 0, 1e300, 1)])
def test_numbers_that_no_box_has(corners):
    report = Report()
    assert cut(Box("dot", corners), 9, 9, "here", report) is None and report.defects.counts


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
