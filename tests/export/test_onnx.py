"""ONNX export: what the file holds, that onnxruntime gives the checkpoint's output, and what is said when it cannot."""
import sys
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops
from tiny_model import CATEGORIES, read_config, tiny_checkpoint, tiny_config

from centernet.cli import export
from centernet.errors import UserError
from centernet.export import publish
from centernet.export.compare import largest_difference_of_detections
from centernet.export.describe import describe, target_path
from centernet.export.publish import export_model
from centernet.runtimes import onnx_session
from centernet.runtimes.checkpoint import CheckpointBackend
from centernet.runtimes.exported import ExportedBackend
from centernet.runtimes.manifest import read_manifest
from centernet.weights.checkpoint import model_record
from tests.export.tiny_onnx import ask, change, deformable, kinds, make, onnx, onnxruntime, sizes
from tools.operators import operators as counted

IOU = {"box_head": "ltrb", "iou_score": True}
pytestmark = pytest.mark.usefixtures("layer_by_layer")


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
    pytest.param(["--export_decode", "false", "--export_batch_size", "0"], IOU, marks=pytest.mark.slow),
    pytest.param(["--eval_config.flip_test", "true"], IOU, marks=pytest.mark.slow),
], ids=["decode-2", "gather", "flip-by-class-no-reg", "maps-any-batch", "ltrb-maps-any-batch", "ltrb-flip",
        "iou-maps-any-batch", "iou-flip"])
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
