"""ONNX export: what the file holds, that onnxruntime gives the checkpoint's output, and what is said when it cannot."""
import json
import re
import runpy
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import cv2
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops
from tiny_coco import make_coco
from tiny_model import CATEGORIES, read_config, tiny_checkpoint, tiny_config, tiny_network

from centernet.cli import evaluate, export, infer, preprocess
from centernet.detection.detector import Detector
from centernet.errors import UserError
from centernet.export import publish
from centernet.export.compare import largest_difference_of_detections
from centernet.export.describe import describe, target_path
from centernet.export.publish import export_model
from centernet.runtimes import onnx_session
from centernet.runtimes.checkpoint import CheckpointBackend
from centernet.runtimes.exported import ExportedBackend
from centernet.runtimes.manifest import manifest_path, read_manifest, sha256
from centernet.weights.checkpoint import model_record
from tests.golden_weights import golden_network
from tests.tiny_group import ROOT
from tools.operators import operators as counted

onnx = pytest.importorskip("onnx", reason="onnx is not installed (requirements-onnx.txt)")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (requirements-onnx.txt)")
HAS_DEFORM_CONV = tuple(map(int, onnxruntime.__version__.split(".")[:2])) > (1, 23)
deformable = pytest.mark.skipif(not HAS_DEFORM_CONV, reason="this onnxruntime has no DeformConv (the newest for Python "
                                                            "3.10 has none)")

pytestmark = pytest.mark.usefixtures("layer_by_layer")


def ask(folder, *flags, **net):
    """A tiny configuration, and the manifest that its export asks for."""
    config = read_config(tiny_config(folder, **net), "--export_format", "ONNX", *flags)
    return config, describe(config, model_record(config, CATEGORIES))


def make(folder, *flags, **net):
    """A tiny network whose batch norms and offsets do something, its configuration and manifest."""
    config, manifest = ask(folder, *flags, **net)
    network = tiny_network(config)
    rng = np.random.default_rng(4)
    for parameter in network.get_parameters():
        if parameter.name.endswith((".moving_mean", ".beta", ".offset.bias")):
            change(parameter, rng.normal(0, 0.5, parameter.shape))
        elif parameter.name.endswith((".moving_variance", ".gamma")):
            change(parameter, rng.uniform(0.5, 1.5, parameter.shape))
        elif parameter.name.endswith(".offset.weight"):
            change(parameter, rng.normal(0, 0.05, parameter.shape))
        elif parameter.name.startswith("neck.") and parameter.name.endswith(".bias"):
            change(parameter, rng.normal(0, 0.1, parameter.shape))
    maps = network(ms.Tensor(rng.standard_normal((1, 3, 64, 64)).astype(np.float32)))
    for name, values in zip(config.net_config.maps[:2], maps):  # else all scores are 0 or 1
        head = getattr(network.heads, name)
        change(head[-1].weight, head[-1].weight.asnumpy() / values.asnumpy().std())
    return network, config, manifest


def change(parameter, values):
    parameter.set_data(ms.Tensor(values.astype(np.float32)))


def kinds(path):
    """The checked model, and operator -> number of nodes."""
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    return model, Counter(node.op_type for node in model.graph.node)


def sizes(values):
    return {value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in values}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).standard_normal((3, 3, 64, 64)).astype(np.float32)


# Fast: the form that this test alone has. test_detections_are_the_checkpoint_s and the open batches have the others.
@pytest.mark.parametrize("neck, form, opset", [pytest.param("none", "none", 17, marks=pytest.mark.slow),
                                               pytest.param("conv", "none", 17, marks=pytest.mark.slow),
                                               pytest.param("deform", "native", 19, marks=deformable),
                                               pytest.param("deform", "gather", 17, marks=pytest.mark.slow),
                                               pytest.param("shortcut", "none", 17, marks=pytest.mark.slow),
                                               pytest.param("shortcut_deform", "native", 19, marks=[
                                                   deformable, pytest.mark.slow]),
                                               pytest.param("shortcut_deform", "gather", 17, marks=pytest.mark.slow)])
def test_raw_maps_are_the_checkpoint_s(tmp_path, images, neck, form, opset):
    network, _, manifest = make(tmp_path, "--export_decode", "false", "--export_batch_size", "3", "--export_deform",
                                "gather" if form == "gather" else "native", neck=neck)
    path = tmp_path / "maps.onnx"
    assert export_model(network, manifest, path) <= 1e-4
    model, operators = kinds(path)
    assert sizes(model.graph.input) == {"image": [3, 3, 64, 64]}
    assert sizes(model.graph.output) == {"hm": [3, 3, 16, 16], "wh": [3, 2, 16, 16], "reg": [3, 2, 16, 16]}
    assert [entry.version for entry in model.opset_import] == [opset]
    assert not operators["BatchNormalization"] and operators["DeformConv"] == 3 * (form == "native")
    assert operators["Conv"] + operators["ConvTranspose"] == sum(
        isinstance(cell, (nn.Conv2d, nn.Conv2dTranspose)) for _, cell in network.cells_and_names())
    described = read_manifest(path)
    assert (described.deform, described.input_name, described.versions["onnx"]) == (form, "image", onnx.__version__)
    found = onnxruntime.InferenceSession(str(path)).run(None, {"image": images})
    for ours, reference in zip(found, network(ms.Tensor(images))):
        np.testing.assert_allclose(ours, reference.asnumpy(), atol=1e-5 * np.abs(reference.asnumpy()).max(), rtol=0)


@pytest.mark.parametrize("flags, net", [
    (["--export_batch_size", "2"], {"neck": "conv"}),
    (["--export_deform", "gather"], {"neck": "deform"}),
    (["--eval_config.flip_test", "true"], {"cat_spec_wh": True, "reg_offset": False}),
    (["--export_decode", "false", "--export_batch_size", "0"], {"cat_spec_wh": True}),
    pytest.param(["--export_decode", "false", "--export_batch_size", "0"], {"box_head": "ltrb"},
                 marks=pytest.mark.slow),
    pytest.param(["--eval_config.flip_test", "true"], {"box_head": "ltrb"}, marks=pytest.mark.slow),
], ids=["decode-2", "gather", "flip-by-class-no-reg", "maps-any-batch", "ltrb-maps-any-batch", "ltrb-flip"])
def test_detections_are_the_checkpoint_s(tmp_path, images, flags, net):
    network, config, manifest = make(tmp_path, *flags, **net)
    path = tmp_path / "model.onnx"
    export_model(network, manifest, path)
    exported = ExportedBackend(path)
    reference = CheckpointBackend(network, config.net_config, model_record(config, CATEGORIES).spec, 20,
                                  config.eval_config.flip_test)
    expected = reference(images)
    assert np.ptp(expected[..., 4]) > 0.05
    assert largest_difference_of_detections(exported(images), expected) <= 1e-3
    assert exported.fixed_shape == (config.export_batch_size, 64, 64) and exported.spec.categories == CATEGORIES
    if manifest.decode:
        assert sizes(kinds(path)[0].graph.output) == {"detections": [config.export_batch_size, 20, 6]}


@pytest.mark.slow
def test_uint8_images_are_normalised_in_the_graph(tmp_path):
    """The comparison of the exporter is with the float32 network on images that NumPy normalised."""
    network, _, manifest = make(tmp_path, "--export_input", "uint8", "--dataset_config.to_rgb", "true",
                                "--eval_config.flip_test", "true")
    assert export_model(network, manifest, tmp_path / "model.onnx") <= 1e-4
    model, _ = kinds(tmp_path / "model.onnx")
    assert sizes(model.graph.input) == {"image": [1, 64, 64, 3]}
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8


@pytest.mark.slow  # test_detections_are_the_checkpoint_s has an open batch, too
@pytest.mark.parametrize("neck", ["conv", pytest.param("deform", marks=deformable)])
def test_an_open_batch_takes_any_number_of_images(tmp_path, images, neck):
    network, _, manifest = make(tmp_path, "--export_decode", "false", "--export_batch_size", "0", neck=neck)
    path = tmp_path / "maps.onnx"
    export_model(network, manifest, path)
    assert sizes(kinds(path)[0].graph.input) == {"image": ["batch", 3, 64, 64]}
    assert read_manifest(path).outputs[0] == ("hm", (0, 3, 16, 16))
    session = onnxruntime.InferenceSession(str(path))
    together = session.run(None, {"image": images})[0]
    np.testing.assert_allclose(together, np.concatenate([session.run(None, {"image": x[None]})[0] for x in images]),
                               atol=1e-5)


@pytest.mark.fault("the JSON beside an .onnx file is lost", "the file is deleted",
                   "the values in the model are used, with a warning")
@pytest.mark.parametrize("net", [{"cat_spec_wh": True}, pytest.param({"box_head": "ltrb"}, marks=pytest.mark.slow),
                                 pytest.param({"neck": "deform"}, marks=[deformable, pytest.mark.slow])])
def test_decoding_with_an_open_batch_and_without_the_manifest(tmp_path, images, caplog, net):
    network, config, manifest = make(tmp_path, "--export_batch_size", "0", **net)
    path = tmp_path / "model.onnx"
    export_model(network, manifest, path)
    assert sizes(kinds(path)[0].graph.output) == {"detections": ["batch", 20, 6]}
    described = read_manifest(path)
    (tmp_path / "model.onnx.json").unlink()
    assert read_manifest(path) == replace(described, sha256="")
    exported = ExportedBackend(path)
    assert "model.onnx.json is missing; the file's own metadata are used" in caplog.text
    reference = CheckpointBackend(network, config.net_config, model_record(config, CATEGORIES).spec, 20)
    for count in (1, 3):
        expected = reference(images[:count])
        assert largest_difference_of_detections(exported(images[:count]), expected) <= 1e-4


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


@pytest.mark.parametrize("flags, words", [
    (["--eval_config.flip_test", "true"], "the flip test needs a fixed one"),
    (["--export_decode", "false", "--export_deform", "gather"], "deformable layers as gathers need a fixed one"),
    (["--export_decode", "false", "--export_format", "MINDIR"], "MINDIR files need a fixed one"),
    (["--export_decode", "false", "--export_input", "uint8"], "uint8 images need a fixed one"),
], ids=["flip", "gather", "mindir", "uint8"])
def test_an_open_batch_is_refused_where_the_graph_has_a_number(tmp_path, flags, words):
    with pytest.raises(UserError, match=f"--export_batch_size 0 .*{words}"):
        ask(tmp_path, "--export_batch_size", "0", *flags, neck="deform")


class Grouped(nn.Cell):
    """What DLA and the hourglass have and ResNets have not: grouped up-convolutions, and nearest neighbours."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 4, pad_mode="pad", padding=1, weight_init="normal", has_bias=True)
        self.up = nn.Conv2dTranspose(8, 8, 4, 2, pad_mode="pad", padding=1, group=4, has_bias=False,
                                     weight_init="normal")
        self.norm = nn.BatchNorm2d(8)
        self.heads = nn.CellList([nn.Conv2d(8, count, 3, 2, pad_mode="pad", padding=1) for count in (3, 2, 2)])
        rng = np.random.default_rng(7)
        for parameter in self.norm.get_parameters():
            change(parameter, rng.uniform(0.5, 2, parameter.shape))

    def construct(self, x):
        x = self.norm(self.up(self.conv(x)))
        x = ops.ResizeNearestNeighbor((32, 32))(x[:, :, ::2, ::2])
        return self.heads[0](x), self.heads[1](x), self.heads[2](x)


def test_grouped_up_convolutions_are_folded_and_sizes_do_not_fix_the_batch(tmp_path):
    _, manifest = ask(tmp_path, "--export_decode", "false", "--export_batch_size", "0")
    path = tmp_path / "model.onnx"
    assert export_model(Grouped(), manifest, path) <= 1e-5
    operators = kinds(path)[1]
    assert counted(path) == dict(operators)
    assert operators["ConvTranspose"] == 1 and operators["Resize"] == 1 and not operators["BatchNormalization"]


class Shared(nn.Cell):
    """A convolution that is read twice: only one of its readers is a batch norm."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, 4, pad_mode="pad", padding=1, weight_init="normal")
        self.norm = nn.BatchNorm2d(2)
        change(self.norm.gamma, np.array([2.0, 3.0]))

    def construct(self, x):
        x = self.conv(x)
        return x, self.norm(x), ops.relu(x)


def test_a_batch_norm_is_kept_where_others_read_the_convolution(tmp_path):
    _, manifest = ask(tmp_path, "--export_decode", "false")
    assert export_model(Shared(), manifest, tmp_path / "model.onnx") <= 1e-5
    assert kinds(tmp_path / "model.onnx")[1]["BatchNormalization"] == 1


def test_both_formats_of_one_name_keep_their_manifests(tmp_path):
    config, manifest = ask(tmp_path, "--export_decode", "false")
    mindir = describe(replace(config, export_format="MINDIR"), model_record(config, CATEGORIES))
    for described, name in ((mindir, "a.mindir"), (manifest, "a.onnx")):
        export_model(Shared(), described, tmp_path / name)
    assert {path.name for path in tmp_path.glob("a.*")} == {"a.json", "a.mindir", "a.onnx", "a.onnx.json"}
    assert read_manifest(tmp_path / "a.mindir").input_name == "x"
    assert read_manifest(tmp_path / "a.onnx").input_name == "image"


def test_target_path(tmp_path):
    assert str(target_path("a/b.v2", "ONNX")) == "a/b.v2.onnx" == str(target_path("a/b.v2.onnx", "ONNX"))
    with pytest.raises(UserError, match="'a.mindir' does not have the suffix of --export_format ONNX"):
        target_path("a.mindir", "ONNX")


def test_a_model_that_differs_is_not_published(tmp_path, monkeypatch):
    _, manifest = ask(tmp_path, "--export_decode", "false")
    load = publish.load_graph
    monkeypatch.setattr(publish, "load_graph", lambda path: lambda x: [out + 0.01 for out in load(path)(x)])
    with pytest.raises(UserError, match="differs from the checkpoint's by 1.* nothing was written"):
        export_model(Shared(), manifest, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_an_operator_that_the_exporter_lacks_is_named(tmp_path):
    class Unknown(nn.Cell):
        def construct(self, x):
            x = ops.erfinv(ops.tanh(x))
            return x, x, x

    _, manifest = ask(tmp_path, "--export_decode", "false")
    with pytest.raises(UserError, match="--export_format ONNX: .*Erfinv"):
        export_model(Unknown(), manifest, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize("package", onnx_session.PACKAGES)
def test_a_missing_package_is_said_before_anything_is_done(tmp_path, monkeypatch, capsys, package):
    config = tiny_config(tmp_path)
    tiny_checkpoint(tmp_path / "net.ckpt", read_config(config))
    monkeypatch.setitem(sys.modules, package, None)
    assert export.main(["--config_path", str(config), "--export_load_ckpt", str(tmp_path / "net.ckpt"),
                        "--export_name", str(tmp_path / "model"), "--export_format", "ONNX"]) == 2
    assert (f"error: ONNX needs the package {package}, which is not installed or does not load"
            in (message := capsys.readouterr().err)) and "pip install -r requirements-onnx.txt" in message
    assert not list(tmp_path.glob("model*"))


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


# The share of the map's largest value by which onnxruntime's may differ from the paper's code; see
# tests/models/test_golden_networks.py on those of 50 layers.
GOLDEN = {"res_18": 1e-4, "resdcn_18": 1e-4, "dlav0_34": 1e-4, "mmdet_r18": 1e-4, "res_50": 3e-4, "resdcn_50": 1e-3,
          "dla_34": 1e-4, "hourglass": 1e-4}
QUICK = ("resdcn_18",)  # the others are compared without ONNX in tests/models/test_golden_networks.py
FORMS = {"resdcn_18": ("native", "gather"), "resdcn_50": ("native", "gather"), "dla_34": ("native", "gather")}
CASES = [pytest.param(arch, form, marks=[deformable] * (form == "native")
                      + [pytest.mark.slow] * (arch not in QUICK or form == "gather"))
         for arch in GOLDEN for form in FORMS.get(arch, ("none",))]


@pytest.mark.parametrize(("arch", "form"), CASES)
def test_golden_networks_as_onnx(tmp_path, golden, arch, form):
    expected = golden(arch)
    network = golden_network(arch)
    _, tiny = ask(tmp_path, "--export_decode", "false")
    manifest = replace(tiny, input_shape=expected["x"].shape, deform=form)
    path = tmp_path / "golden.onnx"
    export_model(network, manifest, path)
    assert not kinds(path)[1]["BatchNormalization"]
    for name, found in zip(("hm", "wh", "reg"), onnx_session.load_onnx(path)(expected["x"])):
        error = np.abs(found - expected[name]).max() / np.abs(expected[name]).max()
        print(f"{arch} {form} {name}: {error:.1e}")
        assert error <= GOLDEN[arch], name


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
