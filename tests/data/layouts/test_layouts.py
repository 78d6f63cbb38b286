"""Data sets of other layouts: each gives the same boxes, is found, and is read with or without an import."""
import re
from pathlib import Path

import numpy as np
import pytest

from centernet.data.coco import locate, read_data
from centernet.data.defects import Report
from centernet.data.layouts.form import Box, cut, to_coco
from centernet.data.layouts.found import find_layouts, read_layout
from centernet.errors import UserError
from tests.data.layouts.makers import (
    MAKERS,
    NAMES,
    imports,
    make_csv,
    make_cvat,
    make_images,
    make_voc,
    random_boxes,
    voc_text,
    write,
)


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


@pytest.mark.parametrize("name", HIDING)
@pytest.mark.fault("a damaged file beside a data set of another layout", "a damaged file of LabelMe, VOC or YOLO "
                   "beside CSV files", "the data set has one layout; without it, the message names the file as damaged")
def test_a_damaged_file_makes_no_second_layout(tmp_path, name):
    file, text, layout, _ = HIDING[name]
    write(tmp_path, file, text)
    assert [(found, seen.endswith(", damaged")) for found, seen in find_layouts(tmp_path).items()] == [(layout, True)]
    make_csv(tmp_path, random_boxes())
    assert list(find_layouts(tmp_path)) == ["csv"]


@pytest.mark.fault("a damaged file of a data set that is too small without it", "one of two files of LabelMe is cut",
                   "the message about the split names the file, too")
def test_a_message_about_splits_names_damaged_files(tmp_path, capsys):
    make_images(tmp_path, ["0.png", "1.png"])
    write(tmp_path, "0.json", '{"shapes": [')
    write(tmp_path, "1.json", {"shapes": [{"label": "dot", "shape_type": "rectangle", "points": [[1, 1], [9, 9]]}]})
    for flags in ((), ("--val_share", "0.5"), ("--classes", "ring")):
        assert imports("--data", str(tmp_path), *flags) == 2
        printed = capsys.readouterr().err
        assert "left out before:\n       1  JSON file that cannot be read" in printed and "0.json" in printed
    with pytest.raises(UserError, match=r"have no split val(.|\n)*0.json"):
        read_data(str(tmp_path), "val")


def test_a_damaged_file_of_another_kind_is_passed_over(tmp_path):
    make_images(tmp_path, ["1.png"])
    for file in ("0.json", "0.xml", "0.yaml"):
        write(tmp_path, file, "{: <")
    assert not find_layouts(tmp_path)
    write(tmp_path, "1.json", {"shapes": []})
    write(tmp_path, "1.xml", voc_text([]))
    assert sorted(find_layouts(tmp_path)) == ["labelme", "voc"]


def test_jobs_accept_layouts_that_need_no_import(tmp_path):
    from centernet.config.load import load_config
    from centernet.jobs.start_job import layout_problems

    make_voc(tmp_path, random_boxes())
    assert layout_problems(load_config("dataset", [], ""), str(tmp_path), "train") == []
    make_csv(tmp_path, random_boxes())
    (problem,) = layout_problems(load_config("dataset", [], ""), str(tmp_path), "train")
    assert "several layouts" in problem and "centernet import-dataset" in problem


@pytest.mark.parametrize("corners", [(0, 0, float("nan"), 1), (0, 0, float("inf"), 1), (0, 0, 1e300, 1)])
def test_numbers_that_no_box_has(corners):
    report = Report()
    assert cut(Box("dot", corners), 9, 9, "here", report) is None and report.defects.counts
