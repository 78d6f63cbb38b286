"""The choices of infer, and what it refuses before a device is set up."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from centernet.categories import categories_from_names
from centernet.cli import infer
from centernet.config.load import load_config, write_config
from centernet.detection.detector import Detector
from centernet.detection.postprocess import merge
from centernet.detection.soft_nms import GAUSSIAN, HARD, LINEAR
from centernet.errors import UserError


def config(*flags):
    return load_config("infer", ["--device_target", "CPU", "--model_path", "m.ckpt", *flags], "")


def finder(*flags):
    given = config(*flags)
    backend = SimpleNamespace(spec=SimpleNamespace(categories=categories_from_names(("disc", "frame"))))
    return infer.make_finder(Detector(backend, given.eval_config), given)


@pytest.mark.parametrize(("nms", "used", "method"), [("auto", True, GAUSSIAN), ("none", False, GAUSSIAN),
                                                     ("hard", True, HARD), ("linear", True, LINEAR)])
def test_the_choice_of_nms(nms, used, method):
    found = finder("--nms", nms).detector
    assert (found.settings.SOFT_NMS, found.method) == (used, method)


def test_hard_nms_removes_what_soft_nms_lowers():
    boxes = np.array([[0, 0, 99, 99, 0.9, 0], [0, 0, 99, 89, 0.8, 0], [0, 0, 99, 89, 0.7, 1]], np.float32)
    assert [len(merge([boxes], 100, True, method)) for method in (HARD, LINEAR, GAUSSIAN)] == [2, 3, 3]


def test_classes_tiles_and_the_largest_number(tmp_path):
    assert finder("--classes", "FRAME").classes == (1,) and finder().most == 100
    tiled = finder("--tile", "640", "--overlap", "0.3")
    assert (tiled.tile, tiled.overlap, tiled.most) == (640, 0.3, 0)
    assert finder("--tile", "64", "--max_det", "9").most == 9
    write_config(config(), tmp_path / "config.yaml")  # as a training does: it names every setting
    assert finder("--tile", "64", "--config_path", str(tmp_path / "config.yaml")).most == 0
    with pytest.raises(UserError, match="--classes cat: the model has no category"):
        finder("--classes", "cat")
    with pytest.raises(UserError, match="--classes disc,frame: .* Separate several of them by spaces, not by commas"):
        finder("--classes", "disc,frame")


@pytest.mark.parametrize(("words", "text"), [
    (["a.xml"], "neither an image nor a video"), (["empty.mp4"], "OpenCV cannot open this video"),
    (["a/clip.avi", "b/clip.avi"], "clip.avi and .*clip.avi have the same name")])
def test_wrong_inputs_are_refused_before_the_device_is_set_up(tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(infer, "set_up", lambda *_: pytest.fail("the device was set up"))
    (tmp_path / "a.xml").write_text("<annotation/>")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        writer = cv2.VideoWriter(f"{folder}/clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 5, (32, 32))
        writer.write(np.zeros((32, 32, 3), np.uint8))
        writer.release()
    with pytest.raises(UserError, match=text):
        infer.run(config("--image", *words))
