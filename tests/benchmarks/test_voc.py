import json

import pytest

from benchmarks.voc import main

BOX = ("<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
       "</object>")


def make_voc(folder, objects):
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    (folder / "ImageSets/Main/trainval.txt").write_text("a\n")
    (folder / "ImageSets/Main/test.txt").write_text("b\n")
    for name in "ab":
        (folder / f"JPEGImages/{name}.jpg").write_bytes(b"image")
        (folder / f"Annotations/{name}.xml").write_text(
            "<annotation><size><width>64</width><height>48</height></size>"
            + "".join(BOX.format(*values) for values in objects) + "</annotation>")


def test_boxes_count_from_0_and_include_the_last_pixel(tmp_path, capsys):
    make_voc(tmp_path / "voc", [("dot", 1, 1, 1, 1), ("cell", 11, 21, 64, 48), ("cell", 0, 5, 70, 9),
                                ("dot", 5, 5, 4, 9)])
    assert main(["--voc_dir", str(tmp_path / "voc"), "--out", str(tmp_path / "coco")]) == 0
    assert "val2017: 1 images, 3 boxes of cell, dot" in capsys.readouterr().out
    document = json.loads((tmp_path / "coco/annotations/instances_train2017.json").read_text())
    assert [row["bbox"] for row in document["annotations"]] == [[0, 0, 1, 1], [10, 20, 54, 28], [0, 4, 64, 5]]
    assert [row["category_id"] for row in document["annotations"]] == [2, 1, 1]
    assert document["images"] == [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}]
    assert (tmp_path / "coco/val2017/b.jpg").read_bytes() == b"image"


@pytest.mark.parametrize("damage, words", [
    (lambda voc: (voc / "ImageSets/Main/test.txt").unlink(), "test.txt: No such file"),
    (lambda voc: (voc / "Annotations/a.xml").write_text("<x"), "a.xml is not an annotation"),
    (lambda voc: (voc / "Annotations/a.xml").write_text("<x/>"), "a.xml is not an annotation"),
    (lambda voc: (voc / "JPEGImages/b.jpg").unlink(), "b.jpg: there is no such file")])
def test_damaged_data_sets(tmp_path, capsys, damage, words):
    make_voc(tmp_path, [("dot", 1, 1, 5, 5)])
    damage(tmp_path)
    assert main(["--voc_dir", str(tmp_path), "--out", str(tmp_path / "coco")]) == 2
    assert words in capsys.readouterr().err
