"""eval.py --report true: the page and its numbers, for every kind of result, with hostile names, in a browser."""
import dataclasses
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from tiny_coco import edit, make_coco

from centernet.cli import evaluate as entry
from centernet.config.load import load_config
from centernet.data.coco import read_coco
from centernet.detection.detector import Detector
from centernet.errors import UserError
from centernet.evaluation.html_report.page import settings_of
from centernet.evaluation.html_report.pictures import HIT, MISSED, REGION, WRONG
from centernet.evaluation.report import report
from centernet.run_files import REPORT
from centernet.spec import ModelSpec

HOSTILE = "<script>alert('x')</script>&\"' $\\frac$ \u202e\u7ea2\u8840\u7403"
CHROMIUM = os.environ.get("CENTERNET_CHROMIUM") or next(filter(None, map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome"))), None)


class Tags(HTMLParser):
    """The elements of a page that are open at a time, all its texts, and its attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.seen, self.addresses = [], [], set(), []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        self.addresses += [value for key, value in attributes if key in ("src", "href", "action", "xlink:href")]
        assert not [key for key, _ in attributes if key.startswith("on")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


class NoModel:
    """In place of a loaded model: the report asks only what it expects."""

    runtime, fixed_shape, first_runs, K = "a paper and a pencil", None, None, 100

    def __init__(self, spec):
        self.spec = spec


@pytest.fixture
def evaluate(tmp_path):
    """Write a report about these detections of a data set; returns the page, its parsed form, and report.json."""
    def call(annotation_file, detections, *flags):
        (tmp_path / "model.ckpt").write_bytes(b"weights")
        config = load_config("eval", ["--data_dir", str(annotation_file.parents[1]), "--load_checkpoint_path",
                                      str(tmp_path / "model.ckpt"), "--report", "true", *flags], "")
        dataset = read_coco(annotation_file, annotation_file.parents[1] / "val2017")
        spec = ModelSpec(dataset.categories, (0.4, 0.4, 0.4), (0.3, 0.3, 0.3), "BGR", 4, (96, 128))
        detector = Detector(NoModel(spec), config.eval_config)
        for stage in ("read", "prepare", "model", "merge", "whole"):
            with detector.clock(stage):
                pass
        nothing = {image.id: np.zeros((0, 6)) for image in dataset.images}
        found = detections(dataset) if detections else nothing
        report(config, tmp_path / "out", dataset, found, detector)
        text = (tmp_path / "out" / "report.html").read_text()
        return text, Tags(text), json.loads((tmp_path / "out" / REPORT).read_text())
    return call


def near(dataset, seed=0):
    """Boxes near the annotated ones, some of a wrong class, and one elsewhere."""
    rng = np.random.default_rng(seed)
    found = {}
    for image in dataset.images:
        rows = [[*(box + rng.normal(0, 2, 4)), rng.uniform(0.3, 0.9), kind if rng.random() < 0.8 else 0]
                for box, kind in zip(image.boxes, image.classes)]
        found[image.id] = np.array([*rows, [0, 0, 9, 9, 0.4, 0]], np.float32)
    return found


def test_the_page_has_every_section_and_needs_no_other_file(evaluate, tmp_path):
    path = make_coco(tmp_path / "cells", num_images=6, split="val", empty=(2,))
    text, tags, numbers = evaluate(path, near)
    assert tags.open == [] and "script" not in tags.seen and "link" not in tags.seen
    assert all(address.startswith(("data:", "#image")) for address in tags.addresses)
    assert "default-src &#x27;none&#x27;" in text
    words = " ".join(tags.texts)
    for title in ("Evaluation of cells, val", "COCO's numbers", "Categories", "Precision and recall", "Score threshold",
                  "Confusion matrix", "Errors by type", "Worst images", "Best images", "Speed", "Model, data and sett"):
        assert title in words
    assert "coco2017" not in words
    assert numbers["model"]["runtime"] == NoModel.runtime and NoModel.runtime in words
    assert all(color in text for color in (HIT, WRONG))
    assert numbers["metrics"]["AP"] == json.loads((tmp_path / "out" / "metrics.json").read_text())["AP"]
    assert numbers["errors"]["ap50"] == pytest.approx(numbers["metrics"]["AP50"])
    for row in numbers["classes"]:
        assert np.mean(row["curve"]) == pytest.approx(row["AP50"], abs=1e-4)
    assert {row["stage"] for row in numbers["speed"]["stages"]} >= {"read and decode", "network (with decoding)"}


@pytest.mark.fault("names of categories and images that are HTML", "a script in both", "the report shows them as text")
def test_names_are_text(evaluate, tmp_path):
    path = make_coco(tmp_path / "<b>cells&", num_images=3, split="val")
    name = "a<img src=x onerror=alert(1)>&amp;.jpg"
    (path.parents[1] / "val2017" / "000001.jpg").rename(path.parents[1] / "val2017" / name)

    def change(document):
        document["categories"][0]["name"] = HOSTILE
        document["images"][1]["file_name"] = name
    edit(path, change)
    text, tags, numbers = evaluate(path, near)
    assert tags.seen.isdisjoint({"script", "b>"}) and "<script" not in text and "<img src=x" not in text
    words = "".join(tags.texts)
    assert HOSTILE.replace("\u202e", "\\u202e") in words and name in words and "Evaluation of <b>cells&, val" in words
    assert numbers["confusion"]["names"][0] == HOSTILE


@pytest.mark.parametrize("case", ["no detection", "one class", "nothing annotated"])
def test_pages_without_curves_say_so(evaluate, tmp_path, case):
    classes = ((1, "cell"),) if case == "one class" else ((1, "disc"), (7, "frame"))
    path = make_coco(tmp_path / "coco", num_images=2, split="val", categories=classes)
    if case == "nothing annotated":
        edit(path, lambda document: [row.update(iscrowd=1) for row in document["annotations"]])
    _, tags, numbers = evaluate(path, near if case == "one class" else None)
    words = " ".join(tags.texts)
    assert tags.open == []
    if case == "one class":
        assert "There are no curves" not in words and sum(address.startswith("data:image/svg")
                                                          for address in tags.addresses) == 2
    else:
        assert "There are no curves" in words and not any(a.startswith("data:image/svg") for a in tags.addresses)
        assert numbers["overall"] is None
    assert ("No object is annotated" in words) == (case == "nothing annotated")


def test_pictures_follow_exif_as_the_evaluation_and_show_regions(evaluate, tmp_path):
    path = make_coco(tmp_path / "coco", num_images=1, split="val", size=(96, 128))
    image = path.parents[1] / "val2017" / "000000.jpg"
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    data = image.read_bytes()
    image.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    assert cv2.imread(str(image)).shape[:2] == (128, 96)  # OpenCV turns it; its annotations fit the stored pixels
    edit(path, lambda document: document["annotations"][0].update(iscrowd=1))
    text, tags, _ = evaluate(path, None)
    assert 'viewBox="0 0 128 96"' in text and REGION in text and MISSED in text
    assert "(ignored region)" in "".join(tags.texts)


def test_a_report_needs_annotations(tmp_path, capsys):
    with pytest.raises(UserError, match="report compares detections with annotated boxes: set --enable_eval true"):
        load_config("eval", ["--report", "true", "--enable_eval", "false"], "")
    path = make_coco(tmp_path / "coco", num_images=2, split="val")
    edit(path, lambda document: document.pop("annotations"))
    (tmp_path / "x.ckpt").touch()
    words = ["--report", "--data_dir", str(path.parents[1]), "--load_checkpoint_path", str(tmp_path / "x.ckpt")]
    assert entry.main(words) == 2
    assert "instances_val2017.json has none: leave out --report" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["val", "test"])
@pytest.mark.fault("eval --run_mode test with an annotated test split", "a COCO file with boxes", "its AP is computed")
def test_boxes_decide_whether_there_is_an_ap(evaluate, tmp_path, mode):
    path = make_coco(tmp_path / "cells", num_images=3, split="val")
    _, tags, numbers = evaluate(path, near, "--run_mode", mode)
    assert f"Evaluation of cells, {mode}" in " ".join(tags.texts) and numbers["metrics"]["AP"] > 0.1


def test_the_report_has_the_settings_that_ran(monkeypatch, tmp_path):
    """Those of the model's record, not those of the call, which names none."""
    from centernet import open_model
    from centernet.evaluation import dataset as detection
    from centernet.evaluation import report as reporting

    path = make_coco(tmp_path / "cells", num_images=2, split="val")
    config = load_config("eval", ["--data_dir", str(path.parents[1]), "--load_checkpoint_path", "x.ckpt",
                                  "--device_target", "CPU", "--save_result_dir", str(tmp_path)], "")
    ran = dataclasses.replace(config, eval_config=dataclasses.replace(config.eval_config, max_dets=300, keep_res=False))
    data = read_coco(path, path.parents[1] / "val2017")
    spec = ModelSpec(data.categories, (0.4, 0.4, 0.4), (0.3, 0.3, 0.3), "BGR", 4, (96, 128))
    monkeypatch.setattr(open_model, "open_model", lambda *_: (Detector(NoModel(spec), ran.eval_config), ran))
    monkeypatch.setattr(detection, "detect_dataset", lambda *_: {})
    told = []
    monkeypatch.setattr(reporting, "report", lambda config, *_: told.append(config))
    entry.run(config)
    shown = settings_of(told[0])
    assert shown["eval_config.max_dets"] == {"value": 300, "default": False}
    assert shown["eval_config.keep_res"]["value"] is False and "net_config.backbone" in shown
    exported = settings_of(dataclasses.replace(ran, load_checkpoint_path="x.onnx"))
    assert not [name for name in exported if name.startswith("net_config.")]


@pytest.mark.fault("results of an evaluation without an AP go to the folder of an earlier one", "--enable_eval false",
                   "the earlier metrics and report are removed")
def test_new_results_remove_the_metrics_of_earlier_ones(evaluate, tmp_path):
    path = make_coco(tmp_path / "cells", num_images=2, split="val")
    evaluate(path, near)
    config = load_config("eval", ["--data_dir", str(path.parents[1]), "--enable_eval", "false"], "")
    dataset = read_coco(path, path.parents[1] / "val2017")
    report(config, tmp_path / "out", dataset, near(dataset), None)
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == ["val_pred_eval.json", "val_pred_result.json"]


def test_images_with_more_boxes_than_K_are_noted_on_the_page(evaluate, tmp_path):
    path = make_coco(tmp_path / "cells", num_images=2, split="val")
    assert "2 images have more than 1 boxes, but the model" in evaluate(path, near, "--eval_config.K", "1")[0]


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium: install it, or set CENTERNET_CHROMIUM to its path")
def test_chromium_shows_the_page_without_errors(evaluate, tmp_path):
    path = make_coco(tmp_path / "coco", num_images=4, split="val")
    evaluate(path, near)
    shot = tmp_path / "page.png"
    done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                           "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'browser'}", "--hide-scrollbars",
                           f"--screenshot={shot}", "--window-size=1280,3600", f"file://{tmp_path}/out/report.html"],
                          capture_output=True, text=True, timeout=240)
    assert not re.findall(r".*CONSOLE.*", done.stderr), done.stderr
    pixels = cv2.imread(str(shot))
    assert pixels.shape == (3600, 1280, 3) and pixels[:, -20:].std(0).max() < 40  # nothing is wider than the window
    for color in (HIT, WRONG):  # boxes over the images
        bgr = [int(color[place:place + 2], 16) for place in (5, 3, 1)]
        assert (np.abs(pixels.astype(int) - bgr).max(2) < 25).sum() > 200
