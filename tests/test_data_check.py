"""centernet check-data: numbers, duplicates, advice, and pictures of the training's own samples."""
import dataclasses
import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from tiny_coco import edit, make_coco

from centernet.cli import check_data
from centernet.config.load import load_config
from centernet.config.schema import DatasetConfig
from centernet.data.coco import read_data
from centernet.data_check.advice import Pair, advice
from centernet.data_check.duplicates import look_at, pairs_of
from centernet.data_check.page import Findings, page
from centernet.data_check.statistics import statistics

SMALL = DatasetConfig(input_res_train=(64, 64), output_res=(16, 16), max_objs=4)


def test_numbers_of_a_split(tmp_path):
    path = make_coco(tmp_path, num_images=3, empty=(2,))

    def change(document):
        boxes = [[0, 0, 64, 96], [4, 4, 8, 8], [5, 5, 7, 7], [100, 50, 8, 2], [100, 50, 8, 2], [0, 90, 20, 20]]
        document["annotations"] = [
            {"id": number, "image_id": 100 + (number == 5), "category_id": (1, 7, 7, 90, 90, 1)[number], "bbox": box,
             "area": 1, "iscrowd": 0} for number, box in enumerate(boxes)]
        document["annotations"].append({**document["annotations"][0], "id": 9, "iscrowd": 1})
    edit(path, change)
    found = statistics(read_data(str(tmp_path), "train"), SMALL, 1)
    assert (found.images, found.empty, found.ignored, found.past) == (3, 1, 1, 1)
    assert found.counts.tolist() == [6, 1, 0]
    assert found.class_boxes == {"disc": 2, "frame": 2, "cross": 2} and found.class_images["disc"] == 2
    np.testing.assert_allclose(found.input_boxes[0], (32, 48))  # 128 x 96 pixels into 64 x 64: half as large
    # Centres (8, 8) and (8.5, 8.5) have one cell of 8 x 8 pixels, and so do the two equal boxes.
    assert (found.collisions, found.shared_cells) == (4, 4)
    assert found.repeated == ("000000.jpg: cross",)
    assert found.thin == ("000000.jpg: frame of 7 x 7",) + ("000000.jpg: cross of 8 x 2",) * 2


def smooth(rng, size=(90, 120)):
    return cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)


def test_same_and_nearly_same_images_and_other_sizes(tmp_path):
    rng = np.random.default_rng(0)
    first, *others = (smooth(rng) for _ in range(12))
    pictures = [first, first, cv2.resize(first, (80, 60)), cv2.convertScaleAbs(first, alpha=0.97), *others]
    names = [f"{index}.{'jpg' if index == 3 else 'png'}" for index in range(len(pictures))]
    for name, picture in zip(names, pictures):
        cv2.imwrite(str(tmp_path / name), picture)
    (tmp_path / "broken.png").write_bytes(b"text")
    images = [SimpleNamespace(path=tmp_path / name, width=120, height=90) for name in [*names, "broken.png"]]
    looks = look_at(images, "")
    assert pairs_of(looks) == [(0, 1, True), (0, 2, False), (0, 3, False), (1, 2, False), (1, 3, False), (2, 3, False)]
    assert [look.contradiction for look in looks if look.contradiction] == [
        "2.png: the file has 80 x 60 pixels, the annotations say 120 x 90", "broken.png: its file cannot be decoded"]


def numbers(**other):
    size = np.full((100, 2), 40.0)
    return dataclasses.replace(statistics(SimpleNamespace(images=[], categories=SimpleNamespace(names=())), SMALL, 1),
                               images=500, sides=np.full((500, 2), 2000), boxes=size, input_boxes=size,
                               counts=np.full(500, 3), class_boxes={"cat": 1500}, class_images={"cat": 500}, **other)


SPREAD_SIZES = np.concatenate([np.full((71, 2), 5.0), np.full((29, 2), 50.0)])
LONG = np.tile([100.0, 10.0], (100, 1))


@pytest.mark.parametrize("train, val, pairs, words", [
    ({"input_boxes": SPREAD_SIZES}, {}, [], r"71% of boxes are under 8 px at this input size \(512 x 512\): use "
     "--dataset_config.input_res_train 832 832[.]"),
    ({"input_boxes": SPREAD_SIZES / 4}, {}, [], "input_res_train 1536 1536, or cut the images into tiles"),
    ({"input_boxes": SPREAD_SIZES, "sides": np.full((9, 2), 400)}, {}, [], "a larger input would not help"),
    ({"counts": np.array([3, 130, 140])}, {}, [], r"2 images have more than 128 boxes \(at most 140\)"),
    ({}, {"counts": np.array([120])}, [], "use --eval_config.K 120 --eval_config.max_dets 120"),
    ({"collisions": 5}, {}, [], "5.0% of boxes have the centre of another box of their class in the same cell"),
    ({"class_boxes": {"cat": 9000, "dog": 60}}, {}, [], r"Class dog has 60 boxes \(0.7%\)"),
    ({"class_boxes": {"cat": 9, "dog": 0}}, {}, [], "Class dog has no box in train"),
    ({}, {"class_boxes": {"cat": 0}}, [], "val has no box of cat: their AP cannot be measured"),
    ({"boxes": LONG}, {}, [], "100% of boxes are more than 4 times as long as wide"),
    ({"repeated": ("a.jpg: cat",)}, {}, [], r"1 box of train is labelled twice \(a.jpg: cat\)"),
    ({"thin": ("a.jpg: cat of 1 x 9",) * 2, "boxes": np.full((201, 2), 40.0)}, {}, [], "2 boxes of train are thinner"),
    ({"past": 2}, {}, [], "2 boxes of train reach past their image"), ({"images": 40}, {}, [], "40 images are few"),
    ({}, {}, [Pair("train/a", "val/b", True)], "1 image of val is in train too"),
    ({}, {}, [Pair("train/a", "train/b", True)], "1 pair of images of one split is the same")])
def test_advice(train, val, pairs, words):
    splits = {"train": dataclasses.replace(numbers(), **train), "val": dataclasses.replace(numbers(), **val)}
    sentences = advice(splits, pairs, [], {"train": {}, "val": {}}, load_config("check_data", [], ""))
    assert len(sentences) <= 2 and re.search(words, " ".join(sentences))


def test_no_advice_for_good_data():
    assert advice({"train": numbers(), "val": numbers()}, [], [], {}, load_config("check_data", [], "")) == []


def test_names_of_strangers_are_only_text():
    evil = "<script>alert(1)</script>\ud800"
    found = Findings(evil, {"train": dataclasses.replace(numbers(), class_boxes={evil: 3})},
                     [Pair(f"train/{evil}", f"val/{evil}", True)], [evil], {"train": [evil]}, [evil], (512, 512), 128)
    text = page(found, [("Images", "", np.zeros((4, 4, 3), np.uint8)), ("none", "", None)])
    assert "<script" not in text and "&lt;script" in text
    assert text.count("<img") == 1 and not re.search(r"(src|href)=[\"'](?!data:)", text)
    assert text.encode()  # although a name has half of a surrogate pair


FLAGS = ("--device_target", "CPU", "--dataset_config.input_res_train", "64", "64", "--dataset_config.output_res", "16",
         "16")


def test_the_whole_report(tmp_path, capsys):
    for split, seed in (("train", 0), ("val", 0)):
        make_coco(tmp_path / "coco", num_images=5, split=split, seed=seed)
    assert check_data.main(["--data", str(tmp_path / "coco"), "--out", str(tmp_path / "out"), *FLAGS]) == 0
    text = capsys.readouterr().out
    assert "5 images of val are in train too" in text and "report: " in text
    assert "same or nearly same images: 0 pairs within a split, 5 across splits" in text
    shown = (tmp_path / "out/index.html").read_text()
    assert shown.count("<img") == 2 and "5 images of val are in train too" in shown
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"index.html", "boxes.jpg", "samples.jpg"}


@pytest.mark.fault("a data set with defects", "missing, empty and cut-off files, unknown ids and categories, no bbox",
                   "check-data lists what the reader left out, and advises; cut-off files have their split")
def test_defects_are_on_the_console(tmp_path, capsys):
    for split, seed in (("train", 0), ("val", 1)):
        path = make_coco(tmp_path / "coco", num_images=6, split=split, seed=seed)
    images = sorted((tmp_path / "coco/val2017").iterdir())
    images[0].unlink()
    images[1].write_bytes(b"")
    images[2].write_bytes(images[2].read_bytes()[:-200])

    def change(document):
        rows = document["annotations"]
        rows[-1]["category_id"] = 4711
        rows[-2]["image_id"] = 4711
        del rows[-3]["bbox"]
    edit(path, change)
    assert check_data.main(["--data", str(tmp_path / "coco"), "--out", str(tmp_path / "out"), *FLAGS]) == 0
    text = capsys.readouterr().out
    table = text.partition("What the reader left out or repaired: val\n")[2]
    assert "left out or repaired: train" not in text
    for kind in ("image file missing", "image file of 0 bytes", "unknown category", "unknown image", "bbox"):
        assert re.search(f"^       1  .*{kind}", table, re.MULTILINE), (kind, table)
    assert "The reader found 5 defects in val (" in table
    assert f"(val/{images[2].name}: its file cannot be decoded)" in text
    assert f"val/{images[2].name}: its file cannot be decoded" in (tmp_path / "out/index.html").read_text()


def test_samples_are_those_of_the_training(tmp_path, monkeypatch):
    """The images and targets on the sheet are the first batch of a training on the same images."""
    from centernet.data import convert, pipeline
    from centernet.data_check import sheets

    make_coco(tmp_path, num_images=4)
    dataset = read_data(str(tmp_path), "train")
    config = load_config("check_data", list(FLAGS), "")
    convert.convert(dataset, tmp_path / "shards", "p", 2)
    data = dataclasses.replace(config.dataset_config, heatmap_on_device=False)
    wanted = next(pipeline.open_training_data(str(tmp_path / "shards"), "p", data, 4, config.seed).epoch(0))
    taken = []
    monkeypatch.setattr(sheets, "_sample", lambda target, heatmap, _: taken.append((target, heatmap))
                        or np.zeros((64, 64, 3), np.uint8))
    assert sheets.sheet_of_samples(dataset, config).shape == (484, 4 * 484, 3)
    for index, (target, heatmap) in enumerate(taken):
        np.testing.assert_array_equal(heatmap, wanted[-1][index])
        for name, column in zip(pipeline.COLUMNS, wanted):
            np.testing.assert_array_equal(target[name], column[index])


@pytest.mark.parametrize("flags, words", [
    ([], "--data is not set"), (["--data", "/nowhere"], "/nowhere does not exist"),
    (["--annotation_file", "x"], "go together")])
def test_wrong_flags(tmp_path, capsys, flags, words):
    assert check_data.main([*flags, "--out", str(tmp_path / "out"), *FLAGS]) == 2
    assert words in capsys.readouterr().err
