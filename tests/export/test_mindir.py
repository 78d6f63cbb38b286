"""Export: equal to the checkpoint, described truly, published only when right."""
import re
from dataclasses import replace
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from tiny_model import CATEGORIES, read_config, tiny_config, tiny_network

from centernet.cli import export
from centernet.errors import UserError
from centernet.export import mindir
from centernet.export.compare import largest_difference, largest_difference_of_detections
from centernet.export.describe import describe, target_path
from centernet.export.publish import export_model, require_equal
from centernet.runtimes.checkpoint import CheckpointBackend
from centernet.runtimes.exported import ExportedBackend
from centernet.runtimes.manifest import read_manifest
from centernet.weights.checkpoint import model_record
from tools.operators import operators

LTRB = {"box_head": "ltrb"}
IOU = {**LTRB, "iou_score": True}
pytestmark = pytest.mark.usefixtures("layer_by_layer")


def ask(folder, *flags, **net):
    """A tiny configuration, and the manifest that its export asks for."""
    config = read_config(tiny_config(folder, **net), *flags)
    return config, describe(config, model_record(config, CATEGORIES))


def make(folder, *flags, **net):
    """The network of a tiny configuration, the configuration, and the manifest that its export asks for."""
    config, manifest = ask(folder, *flags, **net)
    network = tiny_network(config)
    for parameter in network.neck.get_parameters():  # an untrained network's offsets are 0
        if ".offset." in parameter.name:
            sigma = 1 if parameter.name.endswith("bias") else 0.05
            values = np.random.default_rng(4).normal(0, sigma, parameter.shape)
            parameter.set_data(ms.Tensor(values.astype(np.float32)))
    return network, config, manifest


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).standard_normal((2, 3, 64, 64)).astype(np.float32)


@pytest.mark.parametrize("flags, net", [
    (["--export_batch_size", "2"], {"neck": "deform"}),
    (["--export_deform", "gather", "--export_batch_size", "2", "--eval_config.flip_test", "true"], {"neck": "deform"}),
    pytest.param(["--export_decode", "false", "--export_batch_size", "2"], {"cat_spec_wh": True},
                 marks=pytest.mark.slow),
    pytest.param(["--export_decode", "false"], {"reg_offset": False}, marks=pytest.mark.slow),
    (["--eval_config.flip_test", "true"], {"cat_spec_wh": True, "reg_offset": False}),
    pytest.param(["--export_batch_size", "2"], {"neck": "shortcut"}, marks=pytest.mark.slow),
    pytest.param([], {"neck": "shortcut_deform"}, marks=pytest.mark.slow),
    pytest.param(["--export_deform", "gather"], {"neck": "shortcut_deform"}, marks=pytest.mark.slow),
    pytest.param(["--export_decode", "false"], LTRB, marks=pytest.mark.slow),
    pytest.param(["--export_deform", "gather", "--eval_config.flip_test", "true"], {**LTRB, "neck": "deform"},
                 marks=pytest.mark.slow),
    pytest.param(["--export_decode", "false"], IOU, marks=pytest.mark.slow),
    pytest.param(["--export_batch_size", "2", "--eval_config.flip_test", "true"], IOU, marks=pytest.mark.slow),
], ids=["decode-2-deform", "flip-2-gather", "maps-2-by-class", "maps-no-reg", "flip-by-class-no-reg", "shortcut",
        "shortcut-deform", "shortcut-gather", "ltrb-maps", "ltrb-flip-gather", "iou-maps", "iou-flip-2"])
def test_the_exported_model_detects_what_the_checkpoint_does(tmp_path, images, flags, net):
    network, config, manifest = make(tmp_path, *flags, **net)
    path = tmp_path / "model.mindir"
    assert export_model(network, manifest, path) <= 1e-3
    exported = ExportedBackend(path)
    reference = CheckpointBackend(network, config.net_config, model_record(config, CATEGORIES).spec, 20,
                                  config.eval_config.flip_test)
    expected = reference(images)
    assert np.ptp(expected[..., 4]) > 0.05, "scores must differ for the comparison to mean something"
    assert largest_difference_of_detections(exported(images), expected) <= 1e-3
    assert exported.fixed_shape == (config.export_batch_size, 64, 64)
    assert exported.spec.categories == CATEGORIES and exported.K == 20 and exported.spec.down_ratio == 4
    page = (Path(__file__).parents[2] / "docs/ascend.md").read_text()
    assert operators(path).get("DeformableOffsets", 0) == 3 * (manifest.deform == "native")
    assert set(operators(path)) <= set(re.findall(r"^\| (\w+) \|", page, re.MULTILINE)), "its table lacks some"


def test_a_uint8_input_gives_the_float32_s_detections(tmp_path):
    """Also for a network of RGB images: the input is BGR for every model."""
    network, config, manifest = make(tmp_path, "--export_input", "uint8", "--export_batch_size", "2",
                                     "--dataset_config.to_rgb", "true")
    path = tmp_path / "model.mindir"
    assert export_model(network, manifest, path) <= 1e-4
    exported = ExportedBackend(path)
    spec = model_record(config, CATEGORIES).spec
    pixels = np.random.default_rng(3).integers(0, 256, (3, 64, 64, 3), np.uint8)
    expected = CheckpointBackend(network, config.net_config, spec, 20)(np.stack([*map(spec.normalize, pixels)]))
    assert spec.to_rgb and np.ptp(expected[..., 4]) > 0.05
    assert largest_difference_of_detections(exported(pixels), expected) <= 1e-4
    with pytest.raises(UserError, match=r"images of shape \(64, 64, 3\), found \(3, 64, 64\)"):
        exported(np.zeros((1, 3, 64, 64), np.float32))


def test_a_uint8_input_needs_full_precision(tmp_path):
    with pytest.raises(UserError, match="export_input uint8 is only for precision fp32, found fp16"):
        ask(tmp_path, "--export_input", "uint8", "--precision", "fp16", "--export_format", "ONNX")


def test_raw_maps_are_named_and_shaped_as_the_manifest_says(tmp_path, images):
    network, _, manifest = make(tmp_path, "--export_decode", "false", cat_spec_wh=True)
    path = tmp_path / "maps.mindir"
    export_model(network, manifest, path)
    outputs = nn.GraphCell(ms.load(str(path)))(ms.Tensor(images[:1]))
    described = read_manifest(path).outputs
    assert described == (("hm", (1, 3, 16, 16)), ("wh", (1, 6, 16, 16)), ("reg", (1, 2, 16, 16)))
    assert [output.shape for output in outputs] == [shape for _, shape in described]
    expected = network(ms.Tensor(images[:1]))
    for output, reference in zip(outputs, expected):
        np.testing.assert_allclose(output.asnumpy(), reference.asnumpy(), atol=1e-3)


@pytest.mark.slow  # test_the_exported_model_detects_what_the_checkpoint_does has both forms with decoding
def test_both_forms_of_the_deformable_layers_give_the_checkpoint_s_maps(tmp_path):
    for form in ("native", "gather"):
        network, _, manifest = make(tmp_path, "--export_deform", form, "--export_decode", "false", "--input_res",
                                    "68", "100", neck="deform")
        path = tmp_path / f"{form}.mindir"
        assert export_model(network, manifest, path) <= 2e-4
        assert read_manifest(path).deform == form
    native, gather = operators(tmp_path / "native.mindir"), operators(tmp_path / "gather.mindir")
    assert native["DeformableOffsets"] == 3 and "DeformableOffsets" not in gather
    assert gather["Gather"] == 3


def test_a_gather_graph_that_differs_from_the_checkpoint_is_not_published(tmp_path, monkeypatch):
    """The judge is the network with the framework's operator, not the graph's own source."""
    network, _, manifest = make(tmp_path, "--export_deform", "gather", "--export_decode", "false", neck="deform")
    monkeypatch.setattr(mindir, "with_gathers", lambda net: tiny_network(read_config(tiny_config(tmp_path))))
    with pytest.raises(UserError, match="differs from the checkpoint's by .*nothing was written"):
        export_model(network, manifest, tmp_path / "model.mindir")


def test_gather_is_said_to_change_nothing_without_deformable_layers(tmp_path, caplog):
    caplog.set_level("INFO")
    for neck, form, said in (("none", "none", True), ("conv", "none", True), ("deform", "gather", False)):
        caplog.clear()
        assert ask(tmp_path, "--export_deform", "gather", neck=neck)[1].deform == form
        assert ("--export_deform gather has no effect" in caplog.text) == said


def test_the_manifest_takes_normalisation_and_categories_from_the_checkpoint(tmp_path):
    config = read_config(tiny_config(tmp_path), "--input_res", "96", "64")
    record = model_record(config, CATEGORIES)
    record = replace(record, preset="mine", spec=replace(record.spec, color_order="RGB", mean=(0.1, 0.2, 0.3)))
    manifest = describe(config, record)
    assert manifest.input_shape == (1, 3, 96, 64)
    assert (manifest.spec.color_order, manifest.spec.mean, manifest.preset) == ("RGB", (0.1, 0.2, 0.3), "mine")
    assert manifest.spec.categories == CATEGORIES


def test_a_checkpoint_without_record_is_exported_with_a_warning(tmp_path, caplog):
    manifest = describe(read_config(tiny_config(tmp_path)), None)
    assert len(manifest.spec.categories) == 80
    assert "those of dataset_config are used" in caplog.text


def test_an_input_that_is_no_multiple_of_32_warns_and_detects_the_same(tmp_path, caplog):
    network, config, manifest = make(tmp_path, "--input_res", "68", "72")
    assert "24 x 24 cells of 4 pixels" in caplog.text
    path = tmp_path / "odd.mindir"
    export_model(network, manifest, path)
    images = np.random.default_rng(0).standard_normal((1, 3, 68, 72)).astype(np.float32)
    reference = CheckpointBackend(network, config.net_config, model_record(config, CATEGORIES).spec, 20)
    np.testing.assert_allclose(ExportedBackend(path)(images), reference(images), atol=1e-3)
    caplog.clear()
    ask(tmp_path)
    assert "multiple of 32" not in caplog.text


def test_more_detections_than_cells_are_refused(tmp_path):
    with pytest.raises(UserError, match="K is 300, but an input of 64 x 64 pixels has only 16 x 16 = 256 output cells"):
        ask(tmp_path, "--eval_config.K", "300")


def test_a_flip_test_needs_decoding_in_the_graph(tmp_path):
    with pytest.raises(UserError, match="flip_test.*--export_decode true"):
        ask(tmp_path, "--export_decode", "false", "--eval_config.flip_test", "true")


def test_a_model_that_differs_is_not_published(tmp_path, monkeypatch):
    network, _, manifest = make(tmp_path, "--export_decode", "false")
    path = tmp_path / "out" / "model.mindir"
    path.parent.mkdir()
    before = {name: f"older {name}".encode() for name in ("model.mindir", "model.json")}
    for name, content in before.items():
        (path.parent / name).write_bytes(content)
    load = nn.GraphCell

    def wrong(graph):
        cell = load(graph)
        return lambda x: tuple(output + 0.01 for output in cell(x))

    monkeypatch.setattr(nn, "GraphCell", wrong)
    with pytest.raises(UserError, match="differs from the checkpoint's by .*nothing was written"):
        export_model(network, manifest, path)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_damaged_weights_are_not_published(tmp_path):
    network, _, manifest = make(tmp_path)
    # Behind it is a ReLU, which gives 0 for NaN on a CPU: the output would not show it.
    parameter = next(iter(network.heads.get_parameters()))
    parameter.set_data(ms.Tensor(np.full(parameter.shape, np.nan, np.float32)))
    with pytest.raises(UserError, match=f"{parameter.name} .*NaN or infinite"):
        export_model(network, manifest, tmp_path / "model.mindir")
    assert not list(tmp_path.glob("*.mindir"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    network, _, manifest = make(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--export_name .*file/model.mindir: cannot write"):
        export_model(network, manifest, tmp_path / "file" / "model.mindir")


def test_a_folder_with_a_space_in_its_name_will_do(tmp_path):
    network, _, manifest = make(tmp_path, "--export_decode", "false")
    target = tmp_path / "my models" / "a model.mindir"
    export_model(network, manifest, target)
    assert [path.name for path in sorted(target.parent.iterdir())] == ["a model.json", "a model.mindir"]


def test_target_path(tmp_path):
    assert str(target_path("a/b.v2", "MINDIR")) == "a/b.v2.mindir" == str(target_path("a/b.v2.mindir", "MINDIR"))
    (tmp_path / "d.mindir").mkdir()
    for name in ("", "a/", ".mindir", str(tmp_path / "d")):
        with pytest.raises(UserError, match="must name a file"):
            target_path(name, "MINDIR")
    for suffix in (".json", ".air", ".AIR", ".om", ".ms", ".ckpt", ".pth"):
        with pytest.raises(UserError, match=f"^--export_name 'a/b{suffix}': the file of --export_format MINDIR is a "):
            target_path(f"a/b{suffix}", "MINDIR")


def test_difference_of_detections_ignores_the_order_of_ties_but_not_of_values():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.uniform(0, 30, (1, 9, 4)), np.full((1, 9, 1), 0.5), np.zeros((1, 9, 1))], 2)
    rows[0, :8, 4] = [0.9, 0.8, 0.8 - 1e-6, 0.7, 0.65, 0.6, 0.58, 0.55]
    rows = rows.astype(np.float32)
    swapped = rows[:, [0, 2, 1, 3, 4, 5, 6, 7, 8]]
    assert largest_difference_of_detections(swapped, rows) < 1e-5
    cut = rows.copy()
    cut[0, 8, :4] += 7  # another of two boxes tied for the last place
    assert largest_difference_of_detections(cut, rows) < 1e-5
    for column, change in ((0, 0.2), (4, 0.01), (5, 1)):
        moved = rows.copy()
        moved[0, 3, column] += change
        assert largest_difference_of_detections(moved, rows) > 2e-3
    assert largest_difference(np.array([99.9, 0.5]), np.array([100.0, 0.2])) == pytest.approx(0.003)
    assert largest_difference(np.array([0.1, 0.5]), np.array([0.1, 0.2])) == pytest.approx(0.3)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_nan_in_any_output_is_a_difference(bad):
    expected = [np.ones((1, 2, 4, 4), np.float32) for _ in range(3)]
    found = [np.full_like(array, np.nan if index == bad else 1) for index, array in enumerate(expected)]
    assert require_equal(expected, expected, decoded=False) == 0
    with pytest.raises(UserError, match="differs .* by nan"):
        require_equal(found, expected, decoded=False)


@pytest.mark.parametrize("column", [0, 4])
def test_nan_in_detections_is_a_difference(column):
    expected = np.linspace(1, 0, 18, dtype=np.float32).reshape(1, 3, 6)
    found = expected.copy()
    found[0, :, column] = np.nan
    assert np.isnan(largest_difference_of_detections(found, expected))


def test_a_wrong_checkpoint_is_named(tmp_path, capsys):
    config = str(tiny_config(tmp_path))
    assert export.main(["--config_path", config]) == 2
    assert "--export_load_ckpt is not set" in capsys.readouterr().err
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    for name, message in (("none.ckpt", "no such file"), ("text.ckpt", "not a MindSpore checkpoint")):
        assert export.main(["--config_path", config, "--export_load_ckpt", str(tmp_path / name),
                            "--export_name", str(tmp_path / "model")]) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.mindir"))


def test_a_checkpoint_without_a_record_is_exported_with_the_configured_categories(tmp_path, capsys):
    network, _, _ = make(tmp_path)
    ms.save_checkpoint(network, str(tmp_path / "bare.ckpt"))  # as other programs write them
    (tmp_path / "bare.mindir").write_bytes(b"an older one")
    assert export.main(["--config_path", str(tmp_path / "tiny.yaml"), "--export_load_ckpt",
                        str(tmp_path / "bare.ckpt"), "--export_name", str(tmp_path / "bare"),
                        "--export_decode", "false",
                        "--dataset_config.coco_classes", "a", "b", "c", "--dataset_config.num_classes", "3"]) == 0
    assert read_manifest(tmp_path / "bare.mindir").spec.categories.names == ("a", "b", "c")
    assert "replaced an older model" in capsys.readouterr().out
