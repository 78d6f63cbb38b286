"""What runs a checkpoint, and that it does not matter for the result."""
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import mindspore as ms
import numpy as np
import pytest
from tiny_coco import edit, make_coco
from tiny_model import read_config, tiny_checkpoint, tiny_config, tiny_network

from centernet import open_model as module
from centernet.cli import evaluate, infer
from centernet.config.load import PRESETS, load_config
from centernet.detection.transform import prepare_image
from centernet.device import eager
from centernet.errors import UserError
from centernet.export.compare import largest_difference
from centernet.models.centernet import build_centernet
from centernet.open_model import WORTH_CONVERTING, open_model, to_onnxruntime, why_mindspore
from centernet.runtimes import onnx_session
from centernet.runtimes.checkpoint import CheckpointBackend
from centernet.runtimes.maps import MapsBackend

pytest.importorskip("onnx", reason="onnx is not installed (requirements-onnx.txt)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (requirements-onnx.txt)")
deformable = pytest.mark.skipif(not onnx_session.has_deform_conv(), reason="this onnxruntime has no DeformConv")


def settings(folder, *flags, **net):
    return read_config(tiny_config(folder, **net), *flags)


@pytest.mark.parametrize("flags, images, why", [
    ([], WORTH_CONVERTING, ""),
    ([], WORTH_CONVERTING - 1, f"from {WORTH_CONVERTING} runs on; there are {WORTH_CONVERTING - 1}"),
    (["--eval_config.multi_scales", "1", "0.5"], WORTH_CONVERTING // 2, ""),
    (["--backend", "mindspore"], 1000, "--backend mindspore"),
    (["--device_target", "Ascend"], 1000, "--device_target Ascend"),
])
def test_auto_is_decided_by_flags_and_images(tmp_path, flags, images, why):
    config = load_config("eval", ["--config_path", str(tiny_config(tmp_path)), *flags], "")
    found = why_mindspore(config, config.net_config, images)
    assert (why in found) if why else found == ""


def test_an_exported_model_has_no_choice_of_weights(tmp_path):
    with pytest.raises(UserError, match="--weights raw: .*x.onnx has only the weights that were chosen at its export"):
        open_model(str(tmp_path / "x.onnx"), settings(tmp_path, "--weights", "raw"), 1)


def test_a_flag_that_an_exported_model_cannot_follow_is_refused(tmp_path, monkeypatch):
    manifest = SimpleNamespace(spec=SimpleNamespace(input_size=(64, 96)), input_shape=(1, 3, 64, 96))
    monkeypatch.setattr(module, "open_exported", lambda *_: SimpleNamespace(manifest=manifest))
    with pytest.raises(UserError, match="--eval_config.pad 31 has no effect: the graph of .*x.onnx has the fixed res"):
        open_model(str(tmp_path / "x.onnx"), load_config("eval", ["--eval_config.pad", "31"], ""), 1)


def test_settings_without_effect_and_cut_images_are_said(tmp_path, caplog):
    """The record's image statistics are used; a wide input cuts high images."""
    tiny_checkpoint(tmp_path / "net.ckpt", settings(tmp_path))
    path = str(tmp_path / "net.ckpt")
    open_model(path, settings(tmp_path), 1)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    detector, _ = open_model(path, settings(tmp_path, "--dataset_config.mean", "0.1", "0.2", "0.3",
                                            "--dataset_config.to_rgb", "true", "--dataset_config.input_res_test", "64",
                                            "128"), 1)
    assert detector.spec.mean != (0.1, 0.2, 0.3) and not detector.spec.to_rgb
    assert f"{path} has the image statistics of its training" in caplog.text
    assert "dataset_config.mean (0.1, 0.2, 0.3) (its own: " in caplog.text and "to_rgb True (its own: F" in caplog.text
    assert "the input is 128 x 64 pixels" in caplog.text and "only 50 % of their height remain" in caplog.text
    image = np.full((400, 400, 3), 255, np.uint8)
    image[110:290] = 0  # all of what the input shows lies between the rows 100 and 300
    shown = prepare_image(image, replace(detector.spec, raw=True))[0]
    assert shown.shape == (64, 128, 3) and (shown[4:-4] == 0).all()


@pytest.mark.parametrize("package", onnx_session.PACKAGES)
def test_auto_does_without_packages_that_are_missing(tmp_path, monkeypatch, package):
    config = settings(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    assert f"would be faster, but ONNX needs the package {package}" in why_mindspore(config, config.net_config, 1000)


@pytest.mark.parametrize("neck, why", [("none", ""), ("deform", "no deformable convolution")])
def test_auto_knows_what_the_runtime_lacks(tmp_path, monkeypatch, neck, why):
    def refuse(model):
        raise UserError("the model has the operator DeformConv, which onnxruntime 1.23.2 lacks")

    monkeypatch.setattr(onnx_session, "open_session", refuse)
    config = settings(tmp_path, neck=neck)
    assert (why in (found := why_mindspore(config, config.net_config, 1000))) and bool(why) == bool(found)


def require_same_maps(network, net, shapes):
    run = to_onnxruntime(network, net)
    for shape in shapes:
        x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
        with eager():
            expected = [output.asnumpy() for output in network(ms.Tensor(x))]
        found = run(x)
        assert len(found) == len(expected) and np.ptp(expected[0]) > 0.01
        assert max(map(largest_difference, found, expected)) <= 1e-4


# Fast: the forms that the evaluations below and tests/export/test_onnx.py have not got.
@pytest.mark.parametrize("net", [pytest.param({}, marks=pytest.mark.slow),
                                 pytest.param({"neck": "conv", "reg_offset": False}, marks=pytest.mark.slow),
                                 {"stem_pool": "same", "cat_spec_wh": True},
                                 pytest.param({"neck": "deform"}, marks=deformable),
                                 pytest.param({"box_head": "ltrb"}, marks=pytest.mark.slow),
                                 pytest.param({"box_head": "ltrb", "iou_score": True}, marks=pytest.mark.slow)],
                         ids=["plain", "conv-no-reg", "pooled-same-by-class", "deform", "ltrb", "iou-score"])
def test_a_converted_network_takes_any_size(tmp_path, net):
    config = settings(tmp_path, **net)
    require_same_maps(tiny_network(config), config.net_config, [(1, 3, 64, 64), (3, 3, 32, 160), (1, 3, 68, 100)])


@pytest.mark.slow
@pytest.mark.parametrize("neck", ["shortcut", pytest.param("shortcut_deform", marks=deformable)])
def test_a_neck_with_shortcuts_takes_multiples_of_32(tmp_path, neck):
    config = settings(tmp_path, neck=neck)
    require_same_maps(tiny_network(config), config.net_config, [(1, 3, 64, 64), (3, 3, 32, 160)])


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["official_dlav0_34", pytest.param("official_dla34", marks=deformable),
                                    "official_hourglass"])
def test_other_backbones_take_any_size(preset):
    net = load_config("eval", ["--config_path", str(PRESETS / f"{preset}.yaml")], "").net_config
    require_same_maps(build_centernet(net, 3).set_train(False), net, [(1, 3, 128, 256), (2, 3, 384, 128)])


def test_a_network_that_is_not_the_same_is_not_used(tmp_path, monkeypatch):
    load = module.load_onnx
    monkeypatch.setattr(module, "load_onnx", lambda data: lambda x: [out + 0.01 for out in load(data)(x)])
    config = settings(tmp_path)
    with pytest.raises(UserError, match="onnxruntime's output differs from MindSpore's by 1"):
        to_onnxruntime(tiny_network(config), config.net_config)


def test_what_cannot_be_converted_is_run_by_mindspore_unless_it_must_not(tmp_path, monkeypatch, caplog):
    config = settings(tmp_path)
    tiny_checkpoint(tmp_path / "net.ckpt", config, mean=(0.1, 0.2, 0.3))

    def opened(backend):
        return open_model(str(tmp_path / "net.ckpt"), replace(config, backend=backend), 100)[0].backend

    with caplog.at_level("INFO", "centernet"):
        backend = opened("auto")
    assert isinstance(backend, MapsBackend) and backend.spec.mean == (0.1, 0.2, 0.3)
    assert backend.runtime == "onnxruntime, converted from the checkpoint"
    assert f"onnxruntime runs {tmp_path}/net.ckpt (the fastest on a CPU); converted in" in caplog.text

    def refuse(*arguments):
        raise UserError("no way")

    monkeypatch.setattr(module, "to_onnx", refuse)
    with caplog.at_level("INFO", "centernet"):
        assert isinstance(opened("auto"), CheckpointBackend)
    assert f"MindSpore runs {tmp_path}/net.ckpt (it could not be converted for onnxruntime: no way)" in caplog.text
    with pytest.raises(UserError, match="no way"):
        opened("onnx")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A data set of 13 images, one of them of another size, and a checkpoint."""
    work = tmp_path_factory.mktemp("open")
    annotations = make_coco(work / "coco", 13, split="val", size=(90, 130), empty=(3,))
    tiny_checkpoint(work / "net.ckpt", read_config(tiny_config(work)))
    other = work / "coco/val2017/000001.jpg"
    cv2.imwrite(str(other), cv2.imread(str(other))[:60])
    edit(annotations, lambda document: document["images"][1].update(height=60))
    return work


def run(entry, work, *flags):
    return entry.main(["--config_path", str(work / "tiny.yaml"), *map(str, flags)])


@pytest.mark.parametrize("flags", [
    ("--eval_config.batch_size", 4),
    ("--eval_config.keep_res", "true", "--eval_config.pad", 31, "--eval_config.flip_test", "true",
     "--eval_config.multi_scales", 1.25)], ids=["fixed", "keep-flip-scale"])
@pytest.mark.usefixtures("checkpoints_layer_by_layer")
def test_results_do_not_depend_on_what_runs(work, tmp_path, capsys, flags):
    found = []
    for backend, line in (("auto", "onnxruntime runs"), ("mindspore", "MindSpore runs")):
        assert run(evaluate, work, "--load_checkpoint_path", work / "net.ckpt", "--data_dir", work / "coco",
                   "--save_result_dir", tmp_path / backend, "--backend", backend, *flags) == 0
        output = capsys.readouterr().out
        assert line in output and ("one compilation" in output) == (backend == "mindspore" and "keep_res" in flags[0])
        folder = Path(tmp_path, backend, "val")
        rows = json.loads((folder / "val_pred_eval.json").read_text())
        found.append((json.loads((folder / "metrics.json").read_text()),
                      sorted((row["image_id"], row["category_id"], *row["bbox"], row["score"]) for row in rows
                             if row["score"] > 0.3)))
    assert len(found[0][1]) == len(found[1][1]) > 10
    np.testing.assert_allclose(found[0][1], found[1][1], atol=0.011)  # boxes are written with two decimals
    assert found[0][0]["AP50"] == pytest.approx(found[1][0]["AP50"], abs=1e-6)


@pytest.mark.usefixtures("checkpoints_layer_by_layer")
def test_infer_chooses_by_the_number_of_pictures(work, tmp_path, capsys):
    pictures = work / "coco/val2017"
    for image, backend, line in ((pictures, "auto", "onnxruntime runs"),
                                 (pictures / "000000.jpg", "auto", "MindSpore runs"),
                                 (pictures / "000000.jpg", "onnx", "(--backend onnx); converted in")):
        assert run(infer, work, "--model_path", work / "net.ckpt", "--image", image, "--backend", backend,
                   "--save_result_dir", tmp_path) == 0
        assert line in capsys.readouterr().out


@pytest.mark.parametrize("package", onnx_session.PACKAGES)
def test_a_forced_backend_that_is_missing_is_an_error(work, tmp_path, monkeypatch, capsys, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert run(evaluate, work, "--load_checkpoint_path", work / "net.ckpt", "--data_dir", work / "coco",
               "--save_result_dir", tmp_path, "--backend", "onnx") == 2
    message = capsys.readouterr().err
    assert f"error: ONNX needs the package {package}" in message and "pip install -r requirements-onnx.txt" in message
