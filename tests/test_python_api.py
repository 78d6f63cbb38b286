"""`import centernet`: from a file to detections without a configuration."""
import re
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_model import CATEGORIES, read_config, tiny_checkpoint, tiny_config

import centernet
from centernet.cli import export, infer
from centernet.detection.detector import to_pixels
from centernet.files import read_json

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("checkpoints_layer_by_layer")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """last.ckpt, model.mindir and model.onnx of one network, and a picture."""
    work = tmp_path_factory.mktemp("api")
    config = tiny_config(work)
    tiny_checkpoint(work / "last.ckpt", read_config(config))
    forms = ["MINDIR"] + ["ONNX"] * (_has_onnx())
    for form in forms:
        assert export.main(["--config_path", str(config), "--export_load_ckpt", str(work / "last.ckpt"),
                            "--export_name", str(work / "model"), "--export_format", form]) == 0
    rng = np.random.default_rng(0)
    cv2.imwrite(str(work / "street.png"), rng.integers(0, 255, (60, 90, 3), np.uint8))
    return work


def _has_onnx():
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        return False
    return True


def load(work, name="last.ckpt", **options):
    return centernet.load(work / name, device_target="CPU", **{"backend": "auto", "score_thresh": 0.001, **options})


@pytest.fixture(scope="module")
def detector(work):
    """The checkpoint by MindSpore."""
    return load(work, backend="mindspore")


def test_a_checkpoint_needs_no_configuration(work, detector, tmp_path):
    """The record says that the model is tested at 64 x 64 with K 20, unlike default_config.yaml."""
    assert not detector.settings.keep_res and detector.settings.K == 20 and detector.spec.input_size == (64, 64)
    result = detector(work / "street.png")
    assert infer.main(["--config_path", str(work / "tiny.yaml"), "--image", str(work / "street.png"), "--model_path",
                       str(work / "last.ckpt"), "--save_result_dir", str(tmp_path), "--eval_config.score_thresh",
                       "0.001"]) == 0
    rows = read_json(tmp_path / "detections.json")["images"][0]["detections"]
    assert len(rows) == len(result) > 8
    height, width = result.image.shape[:2]
    inside = np.clip(result.boxes, 0, [width, height] * 2)  # detections.json has the visible part of the boxes
    np.testing.assert_allclose(inside, [row["box"] for row in rows], atol=0.051)
    assert result.names == [row["category"] for row in rows]
    assert [row["category_id"] for row in result.to_coco(7)] == [row["category_id"] for row in rows]


@pytest.mark.parametrize("name", ["model.mindir", "model.onnx"])
def test_an_exported_model_gives_the_same(work, detector, name):
    if not (work / name).exists():
        pytest.skip("onnx and onnxruntime are not installed (requirements-onnx.txt)")
    expected, found = (model(str(work / "street.png")) for model in (detector, load(work, name)))
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    assert found.labels.tolist() == expected.labels.tolist() and found.categories == CATEGORIES
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.05)


def test_every_form_of_an_image_gives_the_same(work, detector):
    path = work / "street.png"
    bgr = cv2.imread(str(path))
    expected = detector(path)
    results = [detector(str(path)), detector(bgr), detector(bgr[:, :, ::-1], color_order="RGB"),
               detector(Image.open(path)), *detector([path, bgr])]
    for result in results:
        np.testing.assert_array_equal(result.boxes, expected.boxes)
    assert not np.array_equal(detector(bgr, color_order="RGB").scores, expected.scores)
    grey = detector(Image.open(path).convert("L"))
    assert grey.image.shape == bgr.shape


@pytest.mark.parametrize("name, orientation", [("a.jpg", 6), ("a.jpg", 1), ("grey.png", 1), ("bit.png", 1)])
def test_a_pil_image_has_the_pixels_of_its_file(tmp_path, name, orientation):
    """Turned as EXIF says, and the upper 8 of 16 bit."""
    noise = np.random.default_rng(0).integers(0, 65536, (30, 50), np.uint16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    modes = {"a.jpg": noise.astype(np.uint8), "grey.png": noise, "bit.png": noise > 30000}
    Image.fromarray(modes[name]).save(tmp_path / name, exif=exif)
    expected = to_pixels(tmp_path / name)
    assert np.array_equal(to_pixels(Image.open(tmp_path / name)), expected) and 60 < expected.mean() < 200
    assert expected.shape == ((50, 30, 3) if orientation == 6 else (30, 50, 3))


def test_a_result_is_drawn_and_written_as_coco(work, detector):
    result = detector(work / "street.png")
    count = len(result)
    assert result.boxes.shape == (count, 4) and result.scores.shape == result.labels.shape == (count,) and count > 8
    assert (np.diff(result.scores) <= 0).all()
    picture = result.draw()
    assert picture.shape == result.image.shape and (picture != result.image).any()
    row = result.to_coco(42)[0]
    x1, y1, x2, y2 = result.boxes[0]
    assert row["image_id"] == 42 and row["category_id"] in CATEGORIES.ids
    np.testing.assert_allclose(row["bbox"], [x1, y1, x2 - x1, y2 - y1], atol=0.011)


def test_low_scores_are_left_out(work, detector):
    scores = detector(work / "street.png").scores
    threshold = float(scores[4])
    assert len(load(work, backend="mindspore", score_thresh=threshold)(work / "street.png")) == 5
    assert load(work, score_thresh=None, backend="mindspore").settings.score_thresh == 0.3


@pytest.mark.parametrize(("image", "options", "message"), [
    ("nowhere.jpg", {}, "image nowhere.jpg: No such file"), (3, {}, "found int"),
    (np.zeros((4, 4), np.uint8), {}, r"found uint8 of shape \(4, 4\)"),
    (np.zeros((4, 4, 3)), {}, r"found float64 of shape \(4, 4, 3\)"),
    (np.zeros((0, 4, 3), np.uint8), {}, "must have pixels"),
    (np.zeros((4, 4, 3), np.uint8), {"color_order": "rgb"}, "must be 'BGR' or 'RGB', found 'rgb'")])
def test_what_is_no_image_is_an_error(detector, image, options, message):
    with pytest.raises(centernet.UserError, match=message):
        detector(image, **options)


@pytest.mark.parametrize(("path", "options", "message"), [
    ("no.ckpt", {}, "there is no such file"), ("last.ckpt", {"device_target": "GPU"}, "device_target must be one of"),
    ("no.ckpt", {"score_thresh": 2}, "score_thresh must be a number between 0 and 1, found 2"),
    ("no.ckpt", {"score_thresh": "a"}, "score_thresh must be a number between 0 and 1, found 'a'"),
    ("street.png", {}, "--backend mindspore runs .ckpt files"),
    ("street.png", {"backend": "auto"}, "expected a MindSpore checkpoint")])
def test_what_is_no_model_is_an_error(work, path, options, message):
    with pytest.raises(centernet.UserError, match=message):
        centernet.load(work / path, **{"device_target": "CPU", "backend": "mindspore", **options})


STATE = """
import os, random, signal, sys
import cv2, numpy as np
from PIL import Image
import centernet

def state():
    return (dict(os.environ), cv2.getNumThreads(), Image.MAX_IMAGE_PIXELS, random.getstate()[1][:9],
            np.random.get_state()[1][:9].tolist(), os.getcwd(), signal.getsignal(signal.SIGTERM))

cv2.setNumThreads(3)
Image.MAX_IMAGE_PIXELS = 77
for name in ("ONEDNN_MAX_CPU_ISA", "KMP_WARNINGS", "HCCL_CONNECT_TIMEOUT"):
    os.environ.pop(name, None)
os.environ["GLOG_v"] = "2"
environment, *before = state()
detector = centernet.load(sys.argv[1], "CPU", backend="mindspore")
detector(sys.argv[2])
after, *others = state()
assert others == before, (before, others)
changed = {name for name in after | environment if after.get(name) != environment.get(name)}
changed.discard("LD_LIBRARY_PATH")  # the import of MindSpore sets it
assert changed == {"ONEDNN_MAX_CPU_ISA", "KMP_WARNINGS", "HCCL_CONNECT_TIMEOUT"}, changed
assert all(name in centernet.load.__doc__ for name in changed)
"""


def test_load_changes_of_the_process_only_what_it_says(work, tmp_path):
    Image.fromarray(np.zeros((7, 9, 3), np.uint8)).save(tmp_path / "a.bmp")  # 63 pixels: its header needs Pillow
    done = subprocess.run([sys.executable, "-c", STATE, work / "last.ckpt", tmp_path / "a.bmp"], capture_output=True,
                          text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_lines_of_the_readme_run(work, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks, "the README shows how to use the package from Python"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "last.ckpt").write_bytes((work / "last.ckpt").read_bytes())
    cv2.imwrite(str(tmp_path / "street.jpg"), cv2.imread(str(work / "street.png")))
    for block in blocks:
        (tmp_path / "five_lines.py").write_text(block)
        runpy.run_path("five_lines.py")
