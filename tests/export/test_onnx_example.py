"""examples/run_onnx.py: its boxes are those of infer, and what it cannot use is said."""
import json
import re
import runpy
import subprocess
import sys

import cv2
import numpy as np
import pytest
from tiny_model import CATEGORIES

from centernet.detection.detector import Detector
from centernet.export.compare import largest_difference_of_detections
from centernet.export.publish import export_model
from centernet.runtimes.exported import ExportedBackend
from tests.export.tiny_onnx import make, onnx, onnxruntime
from tests.tiny_group import ROOT

pytestmark = pytest.mark.usefixtures("layer_by_layer")


@pytest.mark.parametrize("flags, net", [
    (["--export_decode", "false", "--export_batch_size", "0"], {"cat_spec_wh": True}),
    (["--eval_config.SOFT_NMS", "false"], {}),
    pytest.param(["--export_batch_size", "2", "--dataset_config.to_rgb", "true"], {}, marks=pytest.mark.slow),
    pytest.param(["--export_decode", "false"], {"box_head": "ltrb"}, marks=pytest.mark.slow),
    pytest.param(["--export_input", "uint8"], {"reg_offset": False}, marks=pytest.mark.slow)])
def test_the_manifest_is_enough_for_a_program_without_this_package(tmp_path, capsys, flags, net):
    """The example has only onnxruntime, OpenCV, NumPy, and gives infer's boxes for a wide and a high picture."""
    network, config, manifest = make(tmp_path, "--input_res", "64", "96", *flags, **net)
    path = tmp_path / "model.onnx"
    export_model(network, manifest, path)
    example = ROOT / "examples/run_onnx.py"
    functions, written = runpy.run_path(str(example)), json.loads((tmp_path / "model.onnx.json").read_text())
    detector, session = Detector(ExportedBackend(path), config.eval_config), onnxruntime.InferenceSession(str(path))
    for size in ((70, 123), (123, 70)):
        image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
        ours, theirs = detector.rows(image), functions["detect"](session, written, image)
        assert np.ptp(ours[:, 4]) > 0.05
        assert largest_difference_of_detections(theirs[None], ours[None]) <= 1e-4
    cv2.imwrite(str(tmp_path / "image.png"), image)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(example), str(path), str(tmp_path / "image.png"), "0"])
        runpy.run_path(str(example), run_name="__main__")
    name, score, *box = capsys.readouterr().out.splitlines()[0].split()
    assert name == CATEGORIES.names[int(ours[0, 5])] and float(score) == pytest.approx(ours[0, 4], abs=1e-3)
    assert [float(value) for value in box] == pytest.approx(ours[0, :4].tolist(), abs=0.06)
    assert "centernet" not in example.read_text().replace("CenterNet", "")


@pytest.mark.parametrize("model, words, message", [
    ("nowhere.onnx", [], "nowhere.onnx is no exported .onnx model, or .*NO_SUCHFILE"),
    ("folder", [], "folder is no exported .onnx model"), ("a.ckpt", [], "a.ckpt is no exported .onnx model, or .*Load"),
    ("empty.onnx", [], "empty.onnx is no exported .onnx model"),
    ("foreign.onnx", [], r"foreign.onnx is no exported .onnx model.*KeyError\('categories'\)"),
    ("foreign.onnx", ["high"], "the score must be a number from 0 to 1, such as 0.3, found high"),
    ("foreign.onnx", ["1.5"], "found 1.5"), ("foreign.onnx", ["-1"], "found -1"),
    ("foreign.onnx", ["nan"], "found nan"),
    ("foreign.onnx", None, "needs a model, and an image that OpenCV can read")])
def test_the_example_refuses_what_it_cannot_use_in_one_line(tmp_path, model, words, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "a.ckpt").write_bytes(b"\x0a\x10not protocol buffers of ONNX" * 9)
    info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1,))
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["x2"])], "other", [info],
                                   [onnx.helper.make_tensor_value_info("x2", onnx.TensorProto.FLOAT, (1,))])
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "foreign.onnx")
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((8, 8, 3), np.uint8))
    example, image = ROOT / "examples/run_onnx.py", ["image.png"] if words is not None else ["a.ckpt"]
    done = subprocess.run([sys.executable, example, model, *image, *(words or [])], cwd=tmp_path, text=True,
                          capture_output=True)
    assert done.returncode == 1 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and re.match(f"error: .*{message}", done.stderr)
    assert len(example.read_text().splitlines()) < 80
