"""Files and commands for the converters for Ascend; none of them is here, so the expected texts are written out."""
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from centernet.categories import Categories
from centernet.errors import UserError
from centernet.export.ascend import (
    aipp_config,
    atc_command,
    lite_command,
    lite_config,
    opset_problem,
    require_fixed_batch,
    require_soc,
)
from centernet.runtimes.manifest import Manifest
from centernet.spec import ModelSpec


@pytest.fixture
def manifest():
    spec = ModelSpec(Categories(("disc",), (1,)), (0.40789654, 0.44719302, 0.47026115),
                     (0.28863828, 0.27408164, 0.27809835), "RGB", 4, (384, 512))
    return Manifest("x", (2, 3, 384, 512), spec, 50, True, False, False, (("detections", (2, 50, 6)),), "",
                    "0", {"mindspore": "2.10.0"}, "gather")


def test_converter_lite_gets_the_input_and_the_precision(manifest):
    assert lite_config(manifest) == """[ascend_context]
input_format=NCHW
input_shape=x:[2,3,384,512]
precision_mode=preferred_fp32
output_type=FP32
"""
    tuned = lite_config(manifest, "Ascend310P3", "subgraph tuning")
    assert tuned.endswith("aoe_mode=subgraph tuning\n\n[acl_init_options]\nge.socVersion=Ascend310P3\n")
    assert lite_command("/opt/converter_lite", manifest, Path("m.mindir"), Path("out.v2.mindir"), Path("c.cfg")) == [
        "/opt/converter_lite", "--fmk=MINDIR", "--modelFile=m.mindir", "--outputFile=out.v2", "--saveType=MINDIR",
        "--optimize=ascend_oriented", "--configFile=c.cfg", "--inputShape=x:2,3,384,512"]


def test_atc_gets_the_input_and_the_precision(manifest):
    command = atc_command(manifest, Path("m.onnx"), Path("out_ascend310.om"), "Ascend310", None)
    assert command == ["atc", "--framework=5", "--model=m.onnx", "--output=out_ascend310", "--input_format=NCHW",
                       "--input_shape=x:2,3,384,512", "--soc_version=Ascend310",
                       "--precision_mode=allow_fp32_to_fp16", "--output_type=FP32", "--log=error"]
    assert atc_command(manifest, Path("m.onnx"), Path("o.om"), "Ascend310", Path("a.cfg")) == [
        *command[:3], "--output=o", *command[4:], "--insert_op_conf=a.cfg"]


def test_uint8_images_have_no_format_of_planes(manifest):
    raw = manifest.with_uint8_input()
    assert "input_format=ND\ninput_shape=x:[2,384,512,3]\n" in lite_config(raw)
    assert {"--input_format=ND", "--input_shape=x:2,384,512,3"} <= set(
        atc_command(raw, Path("m.onnx"), Path("o.om"), "Ascend310", None))
    with pytest.raises(UserError, match="needs no AIPP"):
        aipp_config(raw)


@pytest.mark.parametrize("order", ["BGR", "RGB"])
def test_aipp_normalises_as_the_training_did(manifest, order):
    """CANN: channels are swapped first; then (pixel - mean_chn - min_chn) * var_reci_chn."""
    spec = replace(manifest.spec, color_order=order)
    text = aipp_config(replace(manifest, spec=spec))
    keys = dict(re.findall(r"^    (\w+): (\S+)$", text, re.MULTILINE))
    assert text.startswith("aipp_op {\n    aipp_mode: static\n") and text.endswith("}\n")
    assert (keys["input_format"], keys["src_image_size_w"], keys["src_image_size_h"]) == ("RGB888_U8", "512", "384")
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    swapped = image[:, :, ::-1] if keys["rbuv_swap_switch"] == "true" else image
    found = [(swapped[:, :, c] - float(keys[f"mean_chn_{c}"]) - float(keys[f"min_chn_{c}"]))
             * float(keys[f"var_reci_chn_{c}"]) for c in range(3)]
    np.testing.assert_allclose(found, spec.normalize(image), atol=1e-6)


@pytest.mark.parametrize("soc", ["Ascend310", "Ascend310P3", "Ascend310B4", "Ascend910B3", "Ascend910_9391"])
def test_names_of_chips(soc):
    assert require_soc(soc) == soc


@pytest.mark.parametrize("soc", ["310P3", "ascend310", "Ascend310P3 ", "Ascend", ""])
def test_other_words_are_no_chips(soc):
    with pytest.raises(UserError, match="npu-smi info.*Ascend310P3.*found"):
        require_soc(soc)


def test_what_atc_cannot_convert(manifest):
    assert opset_problem(17, ["Conv", "GatherElements"]) == ""
    assert "DeformConv" in opset_problem(19, ["Conv", "DeformConv"]) and "gather" in opset_problem(19, ["DeformConv"])
    assert "operator set is 18" in opset_problem(18, ["Conv"])
    require_fixed_batch(manifest, Path("m.onnx"))
    with pytest.raises(UserError, match="m.onnx has no fixed batch size.*--export_batch_size"):
        require_fixed_batch(replace(manifest, input_shape=(0, 3, 384, 512)), Path("m.onnx"))
