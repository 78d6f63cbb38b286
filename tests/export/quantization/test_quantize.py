"""Float16 and 8-bit forms of exported networks, looked at and run."""
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_model import CATEGORIES, read_config, tiny_config, tiny_network

from centernet.device import eager
from centernet.errors import UserError
from centernet.export.describe import describe
from centernet.export.publish import export_model
from centernet.weights.checkpoint import model_record

onnx = pytest.importorskip("onnx", reason="onnx is not installed (requirements-onnx.txt)")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (requirements-onnx.txt)")

from centernet.export.quantization.float16 import to_half  # noqa: E402
from centernet.export.quantization.inner_tensors import run_inner  # noqa: E402
from centernet.export.quantization.layer_error import layer_errors, saturation_loss  # noqa: E402
from centernet.export.quantization.layer_roles import find_roles, name_nodes  # noqa: E402
from centernet.export.quantization.quantize import Int8Options, quantize  # noqa: E402

IMAGES = np.random.default_rng(3).standard_normal((4, 1, 3, 64, 64)).astype(np.float32)
CAREFUL = Int8Options("minmax", 100.0, first_layer=False, heads=False)
ALL = Int8Options("minmax", 100.0, first_layer=True, heads=True)
CPU = Path("/proc/cpuinfo")
WITHOUT_VNNI = platform.machine() == "x86_64" and CPU.is_file() and "vnni" not in CPU.read_text()


def inputs():
    return ((images, 1) for images in IMAGES)


def exported(folder, *flags, **net):
    config = read_config(tiny_config(folder, **net), "--export_format", "ONNX", *flags)
    path = folder / "model.onnx"
    with eager():
        export_model(tiny_network(config), describe(config, model_record(config, CATEGORIES)), path)
    return onnx.load(str(path))


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """A tiny network's raw maps."""
    return exported(tmp_path_factory.mktemp("maps"), "--export_decode", "false")


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("decoded"))


@pytest.fixture(scope="module")
def gathers(tmp_path_factory):
    """A network with deformable layers in their portable form."""
    return exported(tmp_path_factory.mktemp("gathers"), "--export_decode", "false", "--export_deform", "gather",
                    neck="deform")


def run(model, tensors=("hm", "wh", "reg")):
    return [run_inner(model, tensors)(tensors, images) for images in IMAGES]


def sqnr(expected, found):
    return 10 * np.log10(np.sum(np.square(expected)) / np.sum(np.square(np.subtract(expected, found))))


def assert_best_alike(model, other, count, tolerance):
    """The best scores of each image; of lower ones, two cells that are nearly equal may both be peaks, or one."""
    scores = [[detections[0, :count, 4] for detections, in run(one, ["detections"])] for one in (model, other)]
    np.testing.assert_allclose(*scores, atol=tolerance)


def weights(model, operator="Conv"):
    """Weight's name -> its array as stored, and the scales of an 8-bit one."""
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made_by = {node.output[0]: node for node in model.graph.node}
    found = {}
    for node in model.graph.node:
        if node.op_type == operator:
            source = made_by.get(node.input[1])
            names = source.input if source is not None else [node.input[1]]
            found[names[0].removesuffix("_quantized")] = tuple(stored[name] for name in names[:2])
    return found


def test_first_and_head_layers_stay_float(maps):
    found = weights(quantize(maps, inputs, CAREFUL))
    kept = {name for name, (values, *_) in found.items() if values.dtype == np.float32}
    assert kept == {"backbone.conv1.weight", *(f"heads.{head}.{layer}.weight" for head in ("hm", "wh", "reg")
                                               for layer in (0, 2))}
    assert all(values.dtype == np.int8 for name, (values, *_) in found.items() if name not in kept)
    assert len(found) - len(kept) >= 8


def test_all_layers_can_be_quantised(maps):
    assert {values.dtype for values, *_ in weights(quantize(maps, inputs, ALL)).values()} == {np.dtype(np.int8)}


def test_each_output_channel_has_its_scale(maps):
    float_weights, found = weights(maps), weights(quantize(maps, inputs, ALL))
    for name, (values, scales) in found.items():
        original = float_weights[name][0]
        assert scales.shape == (len(original),)
        np.testing.assert_allclose(scales, np.abs(original).max(axis=(1, 2, 3)) / 127, rtol=1e-5)
        assert np.abs(values * scales[:, None, None, None] - original).max() <= scales.max() / 2 + 1e-6


@pytest.mark.parametrize("options, least", [(CAREFUL, 25), (ALL, 25)])
def test_maps_are_close(maps, options, least):
    quantized = quantize(maps, inputs, options)
    onnx.checker.check_model(quantized)
    assert all(sqnr(expected, found) > least for images, others in zip(run(maps), run(quantized))
               for expected, found in zip(images, others))


def test_decoding_is_not_quantised(decoded):
    quantized = quantize(decoded, inputs, ALL)
    name_nodes(decoded)
    decode = find_roles(decoded).decode
    assert len(decode) > 20
    before = {node.name: node.op_type for node in decoded.graph.node}
    after = {node.name: node for node in quantized.graph.node}
    made_by = {name: node.op_type for node in quantized.graph.node for name in node.output}
    assert all(after[name].op_type == before[name] for name in decode)
    # 8 bits go as far as the maps that the decode begins with.
    later = [made_by.get(name) for name in sorted(decode) for name in after[name].input]
    assert later.count("DequantizeLinear") <= 4
    assert_best_alike(decoded, quantized, 1, 0.05)


def test_sampling_positions_stay_float(gathers):
    name_nodes(gathers)
    roles = find_roles(gathers)
    weights_of = {node.name: node.input[1] for node in gathers.graph.node if node.op_type == "Conv"}
    assert {weights_of[name] for name in roles.positions} == {f"neck.{stage}.before.0.offset.weight"
                                                              for stage in range(3)}
    found = weights(quantize(gathers, inputs, ALL))
    assert all(values.dtype == np.float32 for name, (values, *_) in found.items() if "offset" in name)
    quantized = quantize(gathers, inputs, CAREFUL)
    assert all(sqnr(expected, found) > 25 for images, others in zip(run(gathers), run(quantized))
               for expected, found in zip(images, others))


@pytest.mark.slow
@pytest.mark.parametrize("neck", ["shortcut", "shortcut_deform"])
def test_a_neck_with_shortcuts_is_reduced_too(tmp_path, neck):
    model = exported(tmp_path, "--export_decode", "false", "--export_deform", "gather", neck=neck)
    for reduced in (to_half(model), quantize(model, inputs, CAREFUL)):
        onnx.checker.check_model(reduced)
        assert all(sqnr(expected, found) > 25 for images, others in zip(run(model), run(reduced))
                   for expected, found in zip(images, others))
    found = weights(quantize(model, inputs, CAREFUL))
    assert {values.dtype for name, (values, *_) in found.items() if name.startswith("neck.stages.0.shortcut")} == {
        np.dtype(np.int8)}


def test_layer_errors_are_of_each_layer(maps):
    quantized = quantize(maps, inputs, CAREFUL)
    errors = {error.layer: error for error in layer_errors(maps, quantized, inputs)}
    assert list(errors)[0] == "backbone.conv1" and set(errors) >= {"heads.hm.2", "neck.0.up.0"}
    assert errors["backbone.conv1"].form == "float" and errors["neck.0.up.0"].form == "int8"
    expected, found = ([hm for hm, _, _ in run(model)] for model in (maps, quantized))
    assert errors["heads.hm.2"].sqnr == pytest.approx(sqnr(expected, found), abs=0.01)
    coarse = quantize(maps, inputs, Int8Options("percentile", 50.0, False, False))
    assert layer_errors(maps, coarse, inputs)[-1].sqnr < 20 < min(error.sqnr for error in errors.values())


def test_equal_models_have_no_error(maps):
    assert {error.sqnr for error in layer_errors(maps, maps, inputs)} == {np.inf}


def test_an_old_operator_set_is_refused(maps):
    old = onnx.ModelProto()
    old.CopyFrom(maps)
    old.opset_import[0].version = 11
    with pytest.raises(UserError, match="opset 11, .* need 13"):
        quantize(old, inputs, CAREFUL)


def test_half_is_half_the_size_and_close(maps):
    half = to_half(maps)
    onnx.checker.check_model(half, full_check=True)
    assert 0.5 < half.ByteSize() / maps.ByteSize() < 0.6
    assert all(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
               for value in (*half.graph.input, *half.graph.output))
    for images, others in zip(run(maps), run(half)):
        for expected, found in zip(images, others):
            assert 0 < np.abs(expected - found).max() < 2e-3 * np.abs(expected).max()


def test_heads_last_convolutions_and_decoding_stay_float32(decoded):
    half = to_half(decoded)
    onnx.checker.check_model(half, full_check=True)
    names = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    kept = {name for name, kind in names.items() if kind == onnx.TensorProto.FLOAT and name.endswith("weight")}
    assert kept == {f"heads.{head}.2.weight" for head in ("hm", "wh", "reg")}
    assert_best_alike(decoded, half, 5, 2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("heads", [("hm", "ltrb"), ("hm", "ltrb", "iou")], ids=["ltrb", "iou score"])
def test_distances_are_close_and_their_scale_stays_float32(tmp_path, heads):
    model = exported(tmp_path, "--export_decode", "false", box_head="ltrb", iou_score="iou" in heads)
    maps = ("hm", "ltrb")
    half, quantized = to_half(model), quantize(model, inputs, CAREFUL)
    for least, other in ((45, half), (25, quantized)):
        onnx.checker.check_model(other, full_check=True)
        assert all(sqnr(expected, found) > least for images, others in zip(run(model, maps), run(other, maps))
                   for expected, found in zip(images, others))
    assert {name for name, (values, *_) in weights(half).items() if values.dtype == np.float32} == {
        f"heads.{head}.2.weight" for head in heads}
    kept = {name for name, (values, *_) in weights(quantized).items() if values.dtype == np.float32}
    assert kept == {"backbone.conv1.weight", *(f"heads.{head}.{layer}.weight" for head in heads for layer in (0, 2))}
    made_by = {name: node for node in half.graph.node for name in node.output}
    scale = made_by["ltrb"]
    assert scale.op_type == "Mul" and made_by[scale.input[0]].op_type == "Relu"
    assert made_by[made_by[scale.input[0]].input[0]].input[1] == "heads.ltrb.2.weight"


def test_gathers_keep_their_positions_in_float32(gathers):
    half = to_half(gathers)
    onnx.checker.check_model(half, full_check=True)
    assert all(sqnr(expected, found) > 45 for images, others in zip(run(gathers), run(half))
               for expected, found in zip(images, others))


def test_a_weight_beyond_float16_is_named(maps):
    large = onnx.ModelProto()
    large.CopyFrom(maps)
    tensor = next(tensor for tensor in large.graph.initializer if tensor.name == "backbone.conv1.weight")
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1e6, tensor.name))
    with pytest.raises(UserError, match="backbone.conv1.weight contains .*, but the largest float16 is 65504"):
        to_half(large)


def constant_sums():
    """Three convolutions; the second adds 144 equal products, as large as its 8 bits allow if images are constant."""
    helper, rng = onnx.helper, np.random.default_rng(0)
    weights = {"first.weight": np.ones((16, 3, 1, 1)), "second.weight": np.ones((16, 16, 3, 3)),
               "third.weight": rng.normal(0, 1, (2, 16, 1, 1))}
    ends = {"first": "image", "second": "first", "third": "second"}
    nodes = [helper.make_node("Conv", [source, f"{name}.weight"], [name], name,
                              kernel_shape=weights[f"{name}.weight"].shape[2:]) for name, source in ends.items()]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
              for name, shape in (("image", (1, 3, 8, 8)), ("third", (1, 2, 6, 6)))]
    graph = helper.make_graph(nodes, "sums", values[:1], values[1:],
                              [onnx.numpy_helper.from_array(array.astype(np.float32), name)
                               for name, array in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.skipif(not WITHOUT_VNNI, reason="8-bit sums do not saturate on this processor")
def test_saturating_sums_are_noticed_and_seven_bits_avoid_them():
    model = constant_sums()

    def bright():
        return iter([(np.ones((1, 3, 8, 8), np.float32), 1)])

    losses = []
    for reduce_range in (False, True):
        quantized = quantize(model, bright, replace(CAREFUL, reduce_range=reduce_range))
        stored = np.abs(weights(quantized)["second.weight"][0])
        assert stored.max() == (64 if reduce_range else 127)
        losses.append(saturation_loss(*(layer_errors(model, quantized, bright, exact) for exact in (False, True))))
    assert losses[0] > 10 and losses[1] == 0


def test_a_model_that_onnxruntime_refuses_is_told():
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1,)) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("NoSuchOperator", ["x"], ["y"])], "graph", [x], [y])
    with pytest.raises(UserError, match="the model: onnxruntime .* cannot load it: "):
        run_inner(onnx.helper.make_model(graph), ["y"])
