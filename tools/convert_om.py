"""Convert a checkpoint or an exported ONNX file to an .om for an Ascend chip, with CANN's ATC.

scripts/convert_om.sh calls it. All but the last step runs on any machine.
"""
from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np

from centernet.cli.entry import set_up_log
from centernet.device import prepare_environment
from centernet.errors import UserError, nonempty, reports_errors
from centernet.export.ascend import aipp_config, atc_command, opset_problem, require_fixed_batch, require_soc
from centernet.files import folder_beside, write_text
from centernet.owner import OWNER, owned
from centernet.runtimes.manifest import Manifest, read_manifest
from centernet.runtimes.onnx_session import require_package
from tools.converter import run_converter

TOLERANCE = 1e-4        # largest difference of detections
CELLS = (1, 4, 16, 64)  # pixels of a patch of noise in the images for the comparison


def run(arguments: argparse.Namespace, flags: list[str]) -> Path:
    """Export and check the ONNX file, write AIPP's file, and run ATC.

    Returns:
        The path of the .om.

    Raises:
        UserError: an argument is wrong, the ONNX file is not one for ATC or differs from the checkpoint, or ATC is
            missing or fails.
    """
    model, soc = arguments.model, require_soc(arguments.soc)
    if model.suffix not in (".ckpt", ".onnx"):
        raise UserError(f"MODEL {model} must be a checkpoint (.ckpt), or a .onnx of export.py")
    name = arguments.output or model.with_suffix("")
    onnx, checkpoint = model, arguments.checkpoint
    if model.suffix == ".ckpt":
        if checkpoint:
            raise UserError(f"--checkpoint is for a MODEL.onnx, but MODEL is already the checkpoint {model}")
        onnx, checkpoint = export(model, name, flags), model
    if flags and not checkpoint:
        raise UserError(f"{' '.join(flags)}: unknown flags. Flags of export.py are only for a checkpoint")
    manifest = read_manifest(onnx, "MODEL")
    require_fixed_batch(manifest, onnx)
    require_convertible(onnx)
    if checkpoint:
        compare(onnx, checkpoint, flags)
    aipp = None
    if arguments.aipp or not manifest.spec.raw:
        aipp = name.with_name(f"{name.name}.aipp.cfg")
        write_text(aipp, aipp_config(manifest))
        print(f"wrote {aipp}")
    target = name.with_name(f"{name.name}_{soc.lower()}.om")
    convert(manifest, onnx, target, soc, aipp if arguments.aipp else None)
    return target


def export(checkpoint: Path, name: Path, flags: list[str]) -> Path:
    """Export a checkpoint as ONNX with the flags of export.py, deformable layers as gathers. Return its path."""
    from centernet.cli import export as command
    from centernet.config.load import load_config
    from centernet.export.describe import target_path

    words = [*export_flags(flags), "--export_load_ckpt", str(checkpoint), "--export_name", str(name)]
    command.run(load_config("export", words, ""))
    return target_path(str(name), "ONNX")


def export_flags(flags: list[str]) -> list[str]:
    """Return the flags of export.py for a file that ATC can read."""
    return ["--device_target", "CPU", "--export_deform", "gather", *flags, "--export_format", "ONNX"]


def require_convertible(path: Path) -> None:
    """Raise UserError if ATC cannot read an ONNX file: its operator set is too new, or it has DeformConv."""
    model = require_package("onnx").load(str(path))
    opset = max(entry.version for entry in model.opset_import if not entry.domain)
    operators = [node.op_type for node in model.graph.node]
    if problem := opset_problem(opset, operators):
        raise UserError(f"{path}: {problem}")
    print(f"{path}: operator set {opset}, {len(operators)} nodes, no DeformConv")


def compare(path: Path, checkpoint: Path, flags: list[str]) -> None:
    """Compare an ONNX file's detections with those of a checkpoint on random images, and print the difference.

    Raises:
        UserError: it is above TOLERANCE.
    """
    from centernet.config.load import load_config
    from centernet.device import set_up_device
    from centernet.export.compare import distinct, largest_difference_of_detections
    from centernet.runtimes.checkpoint import CheckpointBackend
    from centernet.runtimes.exported import ExportedBackend
    from centernet.weights.load import load_model

    config = load_config("export", export_flags(flags), "")
    set_up_device("CPU", 0, config.seed)
    exported = ExportedBackend(path)
    manifest, spec = exported.manifest, exported.spec
    model = load_model(checkpoint, config)
    reference = CheckpointBackend(model.network, model.net, model.spec, manifest.K, manifest.flip_test)
    images = random_images(*spec.input_size)
    found = exported(np.stack([spec.model_input(image) for image in images]))
    expected = reference(np.stack([model.spec.normalize(image) for image in images]))
    difference = largest_difference_of_detections(found, expected, TOLERANCE)
    print(f"largest difference from the checkpoint's detections in {len(images)} images: {difference:.1e} (boxes of "
          f"{np.count_nonzero(distinct(expected, TOLERANCE))} of {expected[..., 4].size} detections; of the others, "
          "whose scores equal the last one's, the scores)")
    if not difference <= TOLERANCE:
        raise UserError(f"{path}: its detections differ from those of {checkpoint} by {difference:.1e} (allowed: "
                        f"{TOLERANCE:.0e}); no .om was made. Was it exported from this checkpoint?")


def random_images(height: int, width: int) -> list[np.ndarray]:
    """Return uint8 BGR images: noise, coarse and fine, so that features of all sizes react."""
    import cv2

    rng = np.random.default_rng(1)
    return [cv2.resize(rng.integers(0, 256, (-(-height // cell), -(-width // cell), 3), np.uint8), (width, height))
            for cell in CELLS]


def convert(manifest: Manifest, onnx: Path, target: Path, soc: str, aipp: Path | None) -> None:
    """Run ATC. The .om gets its name when it is complete."""
    if shutil.which("atc") is None:
        command = atc_command(manifest, onnx, target, soc, aipp)
        files = ", ".join(map(str, filter(None, (onnx, aipp))))
        raise UserError("there is no atc, so no .om was made. It is in CANN's toolkit: source its set_env.sh (often "
                        "/usr/local/Ascend/ascend-toolkit/set_env.sh). Or copy these files to a host that has it: "
                        f"{files}. The command is: {shlex.join(command)}")
    with (owned(target.parent, "--output", f".{target.name}{OWNER}"),
          folder_beside(target, f"--output {target}: cannot write this file") as folder):
        partial = folder / target.name
        run_converter(atc_command(manifest, onnx, partial, soc, aipp), partial)
        os.replace(partial, target)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Convert a model and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("model", metavar="MODEL.ckpt|MODEL.onnx", type=nonempty("MODEL", Path))
    parser.add_argument("soc", metavar="SOC", type=nonempty("SOC"))
    parser.add_argument("--aipp", action="store_true")
    parser.add_argument("--checkpoint", metavar="CKPT", type=nonempty("--checkpoint", Path))
    parser.add_argument("--output", metavar="NAME", type=nonempty("--output", Path))
    arguments, flags = parser.parse_known_args(argv)
    prepare_environment()
    set_up_log("")
    target = run(arguments, flags)
    print(f"converted {target}; its manifest for preprocess.py and postprocess.py is that of the ONNX file")
    return 0


if __name__ == "__main__":
    sys.exit(main())
