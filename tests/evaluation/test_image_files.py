import errno
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from centernet.categories import categories_from_names
from centernet.detection.finder import Finder
from centernet.errors import Interrupted, UserError
from centernet.evaluation.image_files import infer_images
from centernet.evaluation.inputs import find_inputs
from centernet.interrupt import interrupted, signals_set_a_flag


class Detector:
    """It finds one box in each image; at image number `stop` it calls `act`."""

    spec = SimpleNamespace(categories=categories_from_names(("disc",)))
    settings = SimpleNamespace(score_thresh=0.3)

    def __init__(self, stop, act):
        self.left, self.act = stop, act

    def rows(self, image):
        self.left -= 1
        if self.left == 0:
            self.act()
        return np.array([[10, 20, 40, 60, 0.5, 0]], np.float32)


def pictures_of(tmp_path, count=5):
    for number in range(count):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), np.full((80, 80, 3), 10 * number, np.uint8))
    return list(find_inputs([str(tmp_path)]).images)


def complete(folder, count):
    """Whether all lists have so many images, and the folder of pictures has theirs and no others."""
    rows = json.loads((folder / "detections.json").read_text())["images"]
    lines = (folder / "detections.csv").read_text().splitlines()
    coco = json.loads((folder / "detections_coco.json").read_text())
    names = sorted(f"pictures/{path.name}" for path in (folder / "pictures").iterdir())
    return len(rows) == len(lines) - 1 == len(coco["images"]) == len(coco["annotations"]) == count and names == [
        row["picture"] for row in rows]


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    while not interrupted():
        pass


@pytest.mark.fault("Ctrl-C during the detection in images", "SIGINT in the detection of image 3 of 5",
                   "all lists have the 3 finished images, the message says so; status 130")
def test_a_signal_leaves_the_results_of_finished_images(tmp_path):
    images, folder = pictures_of(tmp_path), tmp_path / "found"
    message = r"^interrupted by SIGINT\. The results are those of 3 of 5 images$"
    with pytest.raises(Interrupted, match=message) as stop, signals_set_a_flag():
        infer_images(Finder(Detector(3, interrupt)), images, folder, ("json", "csv", "coco"))
    assert complete(folder, 3) and stop.value.status == 130


@pytest.mark.fault("the disk of infer's pictures becomes full", "the third picture is written in part, then ENOSPC",
                   "all lists have the 2 images before, no broken picture stays; status 2")
def test_a_full_disk_leaves_the_results_of_finished_images(tmp_path, monkeypatch):
    images, folder, write = pictures_of(tmp_path), tmp_path / "found", Path.write_bytes

    def full(path, data):
        write(path, data[:100] if path.name == "2.jpg" else data)
        if path.name == "2.jpg":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"2\.jpg: No space left on device\. The results are those of 2 of 5 images$"):
        infer_images(Finder(Detector(-1, interrupt)), images, folder, ("json", "csv", "coco"))
    assert complete(folder, 2)


@pytest.mark.fault("a disk so full that infer cannot list its finished images", "ENOSPC for pictures and lists",
                   "the message has both errors; status 2")
def test_a_disk_too_full_for_the_lists_is_said(tmp_path, monkeypatch):
    images, folder, places = pictures_of(tmp_path), tmp_path / "found", []

    def full(path, data):
        places.append(path)
        if len(places) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr("centernet.evaluation.found_files.write_json", lambda path, values: (_ for _ in ()).throw(
        UserError(f"cannot write {path}: No space left on device")))
    with pytest.raises(UserError, match=r"1\.jpg: No space .*\. The results of 1 of 5 images could not be listed: "
                       r"cannot write .*detections\.json: No space left on device$"):
        infer_images(Finder(Detector(-1, interrupt)), images, folder)


@pytest.mark.fault("a file name that is not UTF-8", "a name of such bytes", "refused before the first image")
@pytest.mark.parametrize("chosen", ["", "*.jpg", "caf\udce9.jpg"])
def test_a_name_that_json_cannot_hold_is_refused_before_the_work(tmp_path, chosen):
    (tmp_path / "good.jpg").write_bytes(b"")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb"):
        pass
    with pytest.raises(UserError, match=r"image '.*/caf\\udce9.jpg': the name is not UTF-8, .* rename it") as error:
        find_inputs([str(tmp_path / chosen)])
    str(error.value).encode()  # the message itself can be printed


def test_names_of_all_alphabets_are_found(tmp_path):
    for name in ("street.jpg", "stra\u00dfe.jpg", "\u6f22 \U0001f600.png"):
        (tmp_path / name).write_bytes(b"")
    assert len(find_inputs([str(tmp_path)]).images) == 3
