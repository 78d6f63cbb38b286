"""Configuration files and commands of the converters for Ascend: MindSpore Lite's converter_lite and CANN's ATC.

Nothing here runs a converter, so everything can be tested on any machine. The sources of the keys and values are in
docs/deployment.md.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from centernet.errors import UserError
from centernet.program import program
from centernet.runtimes.manifest import Manifest

# Names as in ATC's --soc_version and `npu-smi info`, for example Ascend310, Ascend310P3, Ascend310B4, Ascend910B3.
SOC = re.compile(r"Ascend\d{3}[A-Z]?\d?(?:_\d+)?")
NEWEST_OPSET = 17  # that ATC surely reads: it names ONNX 1.12, whose operator set is 17
AOE_MODES = ("subgraph tuning", "operator tuning", "subgraph tuning, operator tuning")


def require_soc(soc: str) -> str:
    """Return a name of a chip as the converters want it. Raise UserError if it does not have the form of one."""
    if not SOC.fullmatch(soc):
        raise UserError(f"SOC must be the chip's name as `npu-smi info` shows it, with Ascend before it: Ascend310, "
                        f"Ascend310P3, Ascend310B4, ...; found {soc!r}")
    return soc


def require_fixed_batch(manifest: Manifest, path: Path) -> None:
    """Raise UserError if a model has no fixed batch size."""
    if not manifest.input_shape[0]:
        raise UserError(f"{path} has no fixed batch size, which the chips need: export it with --export_batch_size 1 "
                        "or another number of images")


def lite_config(manifest: Manifest, soc: str = "", aoe_mode: str = "") -> str:
    """Return the text of the file for converter_lite's --configFile.

    Args:
        manifest: the model's manifest.
        soc: the chip, if the converter runs on a host without it.
        aoe_mode: one of AOE_MODES, which measure kernels on the chip; "" for none.
    """
    # float32 where an operator has it: the decoding counts map cells, and float16 is exact only up to 2048.
    lines = ["[ascend_context]", f"input_format={_input_format(manifest)}",
             f"input_shape={manifest.input_name}:[{_joined(manifest.input_shape)}]",
             "precision_mode=preferred_fp32", "output_type=FP32"]
    if aoe_mode:
        lines.append(f"aoe_mode={aoe_mode}")
    if soc:
        lines += ["", "[acl_init_options]", f"ge.socVersion={soc}"]
    return "\n".join(lines) + "\n"


def lite_command(converter: str, manifest: Manifest, model: Path, output: Path, config: Path) -> list[str]:
    """Return the command of converter_lite. The converter appends .mindir to the name of the output."""
    return [converter, "--fmk=MINDIR", f"--modelFile={model}", f"--outputFile={output.with_suffix('')}",
            "--saveType=MINDIR", "--optimize=ascend_oriented", f"--configFile={config}",
            f"--inputShape={manifest.input_name}:{_joined(manifest.input_shape)}"]


def aipp_config(manifest: Manifest) -> str:
    """Return the text of the AIPP file for ATC's --insert_op_conf: uint8 BGR images -> the normalised input.

    AIPP swaps the channels first. So mean and std follow in the network's colour order, as in the manifest. It
    computes (pixel - mean_chn - min_chn) * var_reci_chn; mean_chn takes only whole numbers, therefore min_chn has the
    mean.

    Raises:
        UserError: the model's graph normalises, so AIPP must not.
    """
    spec = manifest.spec
    if spec.raw:
        raise UserError("this model takes uint8 images and normalises them in its graph (--export_input uint8): it "
                        "needs no AIPP")
    height, width = spec.input_size
    lines = ["aipp_mode: static", "related_input_rank: 0", "input_format: RGB888_U8", f"src_image_size_w: {width}",
             f"src_image_size_h: {height}", "crop: false", "csc_switch: false",
             f"rbuv_swap_switch: {str(spec.to_rgb).lower()}"]
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std)):
        lines += [f"mean_chn_{channel}: 0", f"min_chn_{channel}: {255 * mean:.10g}",
                  f"var_reci_chn_{channel}: {1 / (255 * std):.10g}"]
    return "aipp_op {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"


def atc_command(manifest: Manifest, model: Path, output: Path, soc: str, aipp: Path | None) -> list[str]:
    """Return the command of ATC for an ONNX file. ATC appends .om to the name of the output.

    Args:
        manifest: the ONNX file's manifest.
        model: the ONNX file.
        output: NAME.om.
        soc: the chip.
        aipp: file of aipp_config, if the .om shall take uint8 images.
    """
    return ["atc", "--framework=5", f"--model={model}", f"--output={output.with_suffix('')}",
            f"--input_format={'NCHW' if aipp else _input_format(manifest)}",
            f"--input_shape={manifest.input_name}:{_joined(manifest.input_shape)}", f"--soc_version={soc}",
            "--precision_mode=allow_fp32_to_fp16", "--output_type=FP32", "--log=error",
            *([f"--insert_op_conf={aipp}"] if aipp else [])]


def opset_problem(opset: int, operators: Sequence[str]) -> str:
    """Return why ATC cannot read an ONNX file with these operators; "" if nothing is known."""
    if "DeformConv" in operators:
        return "it has the operator DeformConv, which ATC lacks: export with --export_deform gather"
    if opset > NEWEST_OPSET:
        return f"its operator set is {opset}, ATC reads up to {NEWEST_OPSET}: export it again with {program('export')}"
    return ""


def _input_format(manifest: Manifest) -> str:
    """Return NCHW; ND for uint8 images, because the converters do not take NHWC for such files."""
    return "ND" if manifest.spec.raw else "NCHW"


def _joined(shape: Sequence[int]) -> str:
    return ",".join(map(str, shape))
