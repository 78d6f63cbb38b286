import contextlib
import dataclasses
import json

import pytest
from manifest_cases import CASES, manifest_text

from centernet.categories import Categories
from centernet.config.load import load_config, write_config
from centernet.errors import UserError
from centernet.files import sha256
from centernet.runtimes.fixed_settings import require_fixed
from centernet.runtimes.manifest import (
    Manifest,
    exported_settings,
    manifest_path,
    publish,
    read_manifest,
    write_manifest,
)
from centernet.spec import ModelSpec


@pytest.fixture
def model(tmp_path):
    """A model file (any bytes do) with its manifest; a dot in the name must not confuse the suffix."""
    path = tmp_path / "detector_v1.2.mindir"
    path.write_bytes(b"graph and weights" * 100)
    write_manifest(make_manifest(path), manifest_path(path))
    return path


def make_manifest(path):
    spec = ModelSpec(Categories(("disc", "cross"), (3, 90)), (0.4, 0.45, 0.47), (0.3, 0.27, 0.28), "BGR", 4, (64, 96))
    return Manifest("x", (2, 3, 64, 96), spec, 50, True, False, False, (("detections", (2, 50, 6)),),
                    "demo_cpu", sha256(path), {"mindspore": "2.10.0"}, "gather")


def change(model, edit):
    path = manifest_path(model)
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def test_what_is_written_is_read_back(model):
    assert manifest_path(model).name == "detector_v1.2.json"
    assert read_manifest(model) == make_manifest(model)
    assert [path.name for path in model.parent.iterdir() if "unfinished" in path.name] == []


@pytest.mark.parametrize("flags, wanted, warned", [
    ([], (50, False, 300, 0.1), False),
    (["--eval_config.K", "20", "--eval_config.SOFT_NMS", "true"], (20, True, 300, 0.1), False),
    (["--eval_config.K", "200", "--eval_config.score_thresh", "0.3"], (200, False, 300, 0.3), True)])
@pytest.mark.fault("an exported model with other test settings than the defaults",
                   "K, SOFT_NMS, max_dets in its export",
                   "they are used; a flag or --config_path wins, and a K that has no effect is said")
def test_an_exported_model_brings_its_test_settings(model, caplog, flags, wanted, warned):
    own = {"SOFT_NMS": False, "max_dets": 300, "score_thresh": 0.1}
    write_manifest(dataclasses.replace(make_manifest(model), evaluation=own), manifest_path(model))
    used = exported_settings(read_manifest(model), load_config("eval", flags, ""))
    assert (used.K, used.SOFT_NMS, used.max_dets, used.score_thresh) == wanted
    assert ("gives at most 50 boxes" in caplog.text) == warned and not used.keep_res


@pytest.mark.parametrize("flags, problem", [
    (("--input_size", "64", "96"), ""), (("--eval_config.keep_res", "false"), ""),
    (("--eval_config.batch_size", "2"), ""),
    (("--input_size", "128"), r"dataset_config\.input_res_test 128 128 has no effect: the graph of m\.onnx has the "
     r"fixed resolution 64 x 96\. Leave it \(--input_size\) out, or export"),
    (("--eval_config.keep_res", "true"), r"eval_config\.keep_res true has no effect: .* or use the checkpoint"),
    (("--eval_config.pad", "31"), r"eval_config\.pad 31 has no effect"),
    (("--eval_config.pad", "31", "--input_size", "128"), r"(?s)2 problems:.*input_res_test 128.*pad 31"),
    (("--eval_config.batch_size", "4"), r"batch_size 4 has no effect: the graph of m\.onnx takes batches of 2")])
@pytest.mark.fault("a flag that an exported model cannot follow", "another input size, keep_res, pad or batch size",
                   "an error, unless it equals the export's")
def test_flags_without_effect_on_an_exported_model_are_refused(model, flags, problem):
    config = load_config("eval", list(flags), "")
    with pytest.raises(UserError, match=problem) if problem else contextlib.nullcontext():
        require_fixed(read_manifest(model), config, "m.onnx")


@pytest.mark.parametrize("flags, noted", [
    ((), ""), (("--config_path", "demo_cpu"), "resolution"), (("--config_path", "official_dla34"), "network"),
    (("--net_config.down_ratio", "4"), ""), (("--net_config.backbone", "resnet50"), "net_config.backbone resnet50")])
def test_settings_of_a_file_without_effect_on_an_exported_model_are_said(model, caplog, flags, noted):
    require_fixed(read_manifest(model), load_config("eval", list(flags), ""), "m.onnx")
    found = [record.message for record in caplog.records]
    assert bool(found) == bool(noted), found
    if noted == "network":
        assert "the network of official_dla34" in found[0] and "dataset_config.input_res_test 512 512" in found[0]
    elif noted == "resolution":
        assert "network of" not in found[0] and "dataset_config.input_res_test" in found[0]


def test_the_settings_of_the_training_itself_are_no_news(model, tmp_path, caplog):
    """config.yaml of a training names all settings."""
    config = load_config("train", ["--input_size", "64", "96", "--eval_config.keep_res", "false"], "")
    write_config(config, tmp_path / "config.yaml")
    require_fixed(read_manifest(model), load_config("eval", ["--config_path", str(tmp_path / "config.yaml")], ""), "m")
    assert not caplog.records


def test_an_older_manifest_leaves_the_configured_settings(model):
    change(model, lambda values: values.pop("evaluation"))
    used = exported_settings(read_manifest(model), load_config("eval", [], ""))
    assert (used.K, used.SOFT_NMS, used.max_dets, used.score_thresh) == (50, True, 100, 0.3)


@pytest.mark.fault("an export beside a model of the other format", "NAME.mindir is written beside an 8-bit NAME.onnx",
                   "the report on the layers of NAME.onnx stays; a new NAME.onnx removes it")
def test_a_new_model_removes_its_own_layer_report_only(model):
    report = model.with_suffix(".layers.json")
    report.write_text("of an 8-bit NAME.onnx")
    for suffix, stays in ((".mindir", True), (".onnx", False)):
        partial = model.with_name("partial")
        partial.write_bytes(b"graph")
        publish(partial, make_manifest(model), model.with_suffix(suffix))
        assert report.exists() == stays


def test_maps_of_many_categories_are_read(model):
    maps = tuple((name, (2, channels, 16, 24)) for name, channels in (("hm", 20_000), ("wh", 2), ("reg", 2)))
    changed = dataclasses.replace(make_manifest(model), decode=False, outputs=maps)
    write_manifest(changed, manifest_path(model))
    assert read_manifest(model) == changed


def test_a_uint8_input_is_described_as_images(model):
    """Mean and standard deviation keep the network's order, although the images are BGR for every network."""
    manifest = make_manifest(model)
    manifest = dataclasses.replace(manifest, spec=dataclasses.replace(manifest.spec, color_order="RGB"))
    raw = manifest.with_uint8_input()
    write_manifest(raw, manifest_path(model))
    assert read_manifest(model) == raw == raw.with_uint8_input()
    assert raw.input_shape == (2, 64, 96, 3) and raw.spec.raw and raw.spec.input_size == (64, 96)
    values = json.loads(manifest_path(model).read_text())
    assert values["input"] == {"name": "x", "shape": [2, 64, 96, 3], "dtype": "uint8", "layout": "NHWC",
                               "color_order": "BGR"}
    assert values["color_order"] == "RGB"


def test_a_manifest_of_an_older_version_has_the_order_of_its_input(model):
    change(model, lambda values: values.pop("color_order"))
    assert read_manifest(model) == make_manifest(model)


def test_uint8_images_of_another_order_are_refused(model):
    write_manifest(make_manifest(model).with_uint8_input(), manifest_path(model))
    change(model, lambda values: values["input"].update(color_order="RGB"))
    with pytest.raises(UserError, match=r"input\.color_order must be BGR, found 'RGB'"):
        read_manifest(model)


def test_another_type_of_input_is_refused(model):
    change(model, lambda values: values["input"].update(dtype="float16"))
    with pytest.raises(UserError, match=r"input\.dtype must be float32 or uint8, found 'float16'"):
        read_manifest(model)


def test_a_program_in_another_language_finds_plain_keys(model):
    values = json.loads(manifest_path(model).read_text())
    assert values["input"] == {"name": "x", "shape": [2, 3, 64, 96], "dtype": "float32", "layout": "NCHW",
                               "color_order": "BGR"}
    assert values["outputs"] == [{"name": "detections", "shape": [2, 50, 6]}]
    assert values["categories"] == [{"id": 3, "name": "disc"}, {"id": 90, "name": "cross"}]


def test_a_manifest_without_the_form_of_the_deformable_layers_is_read(model):
    change(model, lambda values: values.pop("deform"))
    assert read_manifest(model) == dataclasses.replace(make_manifest(model), deform="")


def test_a_manifest_without_the_box_head_is_one_of_sizes_and_offsets(model):
    manifest = dataclasses.replace(make_manifest(model), box_head="ltrb")
    write_manifest(manifest, manifest_path(model))
    assert read_manifest(model) == manifest
    change(model, lambda values: values.pop("box_head"))
    assert read_manifest(model).box_head == "wh_reg"


def test_one_changed_byte_of_the_model_is_found(model):
    data = bytearray(model.read_bytes())
    data[700] ^= 1
    model.write_bytes(data)
    with pytest.raises(UserError, match=r"detector_v1\.2\.mindir is not the file that was exported.*export again"):
        read_manifest(model)


def test_a_missing_model_and_a_missing_manifest_are_told_apart(model, tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        read_manifest(tmp_path / "other.mindir")
    manifest_path(model).unlink()
    with pytest.raises(UserError, match=r"detector_v1\.2\.json: the manifest .* is missing.*export again"):
        read_manifest(model)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_version_is_refused(model, version):
    change(model, lambda values: values.update(format_version=version))
    with pytest.raises(UserError, match="format_version is .* this program reads 1"):
        read_manifest(model)


@pytest.mark.parametrize("key", ["input", "mean", "std", "down_ratio", "K", "decode", "cat_spec_wh", "flip_test",
                                 "outputs", "categories", "preset", "sha256", "versions"])
def test_a_missing_key_is_named(model, key):
    change(model, lambda values: values.pop(key))
    with pytest.raises(UserError, match=f"json: the key '{key}' is missing: export again"):
        read_manifest(model)


@pytest.mark.parametrize("edit", [
    lambda values: values["input"].update(shape=[1, 3, 64]),
    lambda values: values["input"].update(color_order="GBR"),
    lambda values: values.update(mean=[0.1, 0.2]),
    lambda values: values.update(decode="false"),
    lambda values: values.update(K="many"),
    lambda values: values.update(outputs=7),
    lambda values: values.update(versions=[]),
    lambda values: values.update(box_head="xyxy"),
])
def test_a_value_of_a_wrong_form_is_refused(model, edit):
    change(model, edit)
    with pytest.raises(UserError, match=r"detector_v1\.2\.json: [\w.]+ must be .*, found .*: export again"):
        read_manifest(model)


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff"])
def test_a_file_that_is_not_a_manifest_is_refused(model, text):
    manifest_path(model).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match="not valid JSON|must hold a JSON object, found list"):
        read_manifest(model)


def test_a_manifest_is_replaced_whole(model):
    changed = dataclasses.replace(make_manifest(model), K=9, outputs=(("detections", (2, 9, 6)),))
    write_manifest(changed, manifest_path(model))
    assert read_manifest(model).K == 9


@pytest.mark.fault("a manifest with values that no model can have", "K 0 or 1e12, std 0 or NaN, sizes 0, ...",
                   "refused; a test of the C++ program has the same cases")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_rules_that_the_cpp_program_has_too(case, tmp_path):
    path = tmp_path / "model.mindir"
    path.write_bytes(b"graph")
    manifest_path(path).write_text(manifest_text(case, sha256(path)))
    if case["accepted"]:
        assert read_manifest(path).spec.categories.ids == (3, 90)
    else:
        with pytest.raises(UserError, match="model"):
            read_manifest(path)
