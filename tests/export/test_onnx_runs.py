"""Exported .onnx files in eval, infer and preprocess, and the session of onnxruntime."""
import json

import numpy as np
import pytest
from tiny_coco import make_coco
from tiny_model import read_config, tiny_checkpoint, tiny_config

from centernet.cli import evaluate, export, infer, preprocess
from centernet.errors import UserError
from centernet.runtimes import onnx_session
from centernet.runtimes.exported import ExportedBackend
from centernet.runtimes.manifest import manifest_path, read_manifest, sha256
from tests.export.tiny_onnx import onnx, onnxruntime

pytestmark = pytest.mark.usefixtures("layer_by_layer")


@pytest.mark.parametrize("metadata, words", [
    ({}, "manifest of a.onnx is missing"), ({"format_version": "9"}, "format_version is 9"),
    ({"format_version": "1"}, "the key 'input' is missing"),
    ({"format_version": "1", "K": "[[["}, "is not valid JSON")])
def test_a_file_without_our_metadata_needs_its_manifest(tmp_path, metadata, words):
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "one", ends[:1], ends[1:]))
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(UserError, match=words):
        read_manifest(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match="is not an ONNX file, or is damaged"):
        read_manifest(tmp_path / "a.onnx")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A data set of 5 images, a checkpoint, and its ONNX file with batch 2 at 96 x 128."""
    work = tmp_path_factory.mktemp("onnx")
    make_coco(work / "coco", 5, split="val", size=(90, 130), empty=(3,))
    tiny_checkpoint(work / "net.ckpt", read_config(tiny_config(work)))
    assert export.main(["--config_path", str(work / "tiny.yaml"), "--export_load_ckpt", str(work / "net.ckpt"),
                        "--input_res", "96", "128", "--export_batch_size", "2", "--export_name", str(work / "net"),
                        "--export_format", "ONNX"]) == 0
    return work


def run(entry, work, *flags):
    return entry.main(["--config_path", str(work / "tiny.yaml"), *map(str, flags)])


def test_eval_gives_the_checkpoint_s_results(work, capsys):
    for name in ("net.ckpt", "net.onnx"):
        assert run(evaluate, work, "--load_checkpoint_path", work / name, "--data_dir", work / "coco",
                   "--save_result_dir", work / name.replace(".", "_"), "--dataset_config.input_res_test", 96, 128) == 0
    found = [sorted((row["image_id"], row["category_id"], *row["bbox"], row["score"]) for row in json.loads(
        (work / folder / "val/val_pred_eval.json").read_text()) if row["score"] > 0.3)
        for folder in ("net_ckpt", "net_onnx")]
    assert len(found[0]) == len(found[1]) > 5
    np.testing.assert_allclose(found[1], found[0], atol=0.011)  # boxes are written with two decimals


def test_infer_runs_pictures_and_prepared_sets(work, tmp_path):
    assert run(infer, work, "--model_path", work / "net.onnx", "--image", work / "coco/val2017", "--save_result_dir",
               tmp_path / "found") == 0
    assert list((tmp_path / "found").rglob("*.jpg"))
    assert run(preprocess, work, "--model_path", work / "net.onnx", "--val_data_dir", work / "coco", "--predict_dir",
               tmp_path / "pre") == 0
    assert run(infer, work, "--model_path", work / "net.onnx", "--predict_dir", tmp_path / "pre", "--result_path",
               tmp_path / "raw") == 0
    assert len(list((tmp_path / "raw").glob("*_0.bin"))) == 5


@pytest.mark.parametrize("entry, flag", [(evaluate, "--load_checkpoint_path"), (infer, "--model_path")],
                         ids=["eval", "infer"])
def test_a_backend_that_does_not_run_the_file_is_refused(work, capsys, entry, flag):
    place = ["--data_dir", work / "coco"] if entry is evaluate else ["--image", work / "coco/val2017"]
    for backend, name in (("mindir", "net.ckpt"), ("mindir", "net.onnx"), ("mindspore", "net.onnx")):
        assert run(entry, work, flag, work / name, "--backend", backend, *place) == 2
        assert f"error: --backend {backend} runs ." in capsys.readouterr().err


def test_a_damaged_file_is_refused(work, tmp_path):
    for change_bytes, seal, words in ((lambda data: data[:-9], False, "is not the file that was exported"),
                                      (lambda data: data[:999], True, "onnxruntime .* cannot load it: .*"),
                                      (lambda data: b"no model", True, "onnxruntime .* cannot load it: .*")):
        copy = tmp_path / "net.onnx"
        copy.write_bytes(change_bytes((work / "net.onnx").read_bytes()))
        values = json.loads(manifest_path(work / "net.onnx").read_text())
        manifest_path(copy).write_text(json.dumps(values | ({"sha256": sha256(copy)} if seal else {})))
        with pytest.raises(UserError, match=words):
            ExportedBackend(copy)


def test_an_onnxruntime_without_deform_conv_says_what_to_do(tmp_path, monkeypatch):
    class Refusing(Exception):
        __module__ = "onnxruntime.capi.onnxruntime_pybind11_state"

    def refuse(*args, **kwargs):
        raise Refusing("[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for DeformConv(19)")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(UserError, match="operator DeformConv, which onnxruntime .* lacks: .*--export_deform gather"):
        onnx_session.open_session(tmp_path / "model.onnx")


def test_threads_follow_the_launcher_and_the_cores(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert onnx_session.threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(onnx_session.os, "sched_getaffinity", lambda pid: {4, 5}, raising=False)
    assert onnx_session.threads() == 2
