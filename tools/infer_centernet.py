"""Measure the accuracy or the speed of an ONNX model in one precision, and print a row of a results table.

scripts/infer_centernet_{fp16,int8}_{accuracy,performance}.sh call it. scripts/infer_centernet.sh explains the
environment variables.
"""
from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from centernet.config.load import Config, load_config
from centernet.data.coco import CocoDataset, read_evaluated
from centernet.errors import UserError, reports_errors
from centernet.runtimes.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 5  # timed batches


def run(precision: str, kind: str, environment: Mapping[str, str]) -> str:
    """Measure a model and return the table. Without MODEL_PATH, build the model first.

    Args:
        precision: "fp16" or "int8".
        kind: "accuracy" or "performance".
        environment: DATASETS_DIR, and MODEL_PATH or CHECKPOINT; BATCH_SIZE, CONFIG_PATH, OUTPUT_DIR.

    Raises:
        UserError: a variable is missing or wrong, or the model has another precision or batch size.
    """
    if not environment.get("DATASETS_DIR"):
        raise UserError("DATASETS_DIR is not set: export DATASETS_DIR=/path/to/coco (annotations/ and val2017/)")
    batch_text = environment.get("BATCH_SIZE") or "32"
    if not batch_text.isdigit() or int(batch_text) < 1:
        raise UserError(f"BATCH_SIZE must be a number above 0, found {batch_text!r}")
    dataset = read_evaluated(environment["DATASETS_DIR"], "val", "", "", strict=False, whole=False)
    config_flags = ["--config_path", environment["CONFIG_PATH"]] if environment.get("CONFIG_PATH") else []
    config = load_config("eval", config_flags, "")
    path = Path(environment.get("MODEL_PATH") or build(precision, environment, config_flags))
    batch = int(batch_text)
    require(path, precision, batch)
    # keep_res has no effect on a model with a fixed input size, but it would not allow batches.
    config = dataclasses.replace(config, eval_config=dataclasses.replace(config.eval_config, keep_res=False,
                                                                         batch_size=batch))
    return table(path, precision, batch, *measure(kind, path, dataset, config, batch))


def build(precision: str, environment: Mapping[str, str], config_flags: list[str]) -> str:
    """Export CHECKPOINT in a precision, as raw maps with any batch size. Return the path of the file."""
    checkpoint = environment.get("CHECKPOINT")
    if not checkpoint:
        raise UserError("set MODEL_PATH to a .onnx file of export.py, or CHECKPOINT to a checkpoint to export first "
                        "(CONFIG_PATH to its preset)")
    target = os.path.join(environment.get("OUTPUT_DIR") or "results_onnx", f"centernet_{precision}.onnx")
    command = [sys.executable, str(ROOT / "export.py"), *config_flags, "--device_target", "CPU", "--export_format",
               "ONNX", "--export_decode", "false", "--export_batch_size", "0", "--eval_config.flip_test", "false",
               "--export_load_ckpt", checkpoint, "--export_name", target, "--precision", precision]
    if precision == "int8":
        images = [folder for name in ("train2017", "val2017")
                  if (folder := Path(environment["DATASETS_DIR"], name)).is_dir()]
        command += ["--calibration_data", environment.get("CALIBRATION_DATA") or str(images[0] if images else ""),
                    "--calibration_method", environment.get("CALIBRATION_METHOD") or "kl"]
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"export.py could not export {checkpoint}: see its message above")
    print(f"To use this file again, set MODEL_PATH={target}", flush=True)
    return target


def require(path: Path, precision: str, batch: int) -> None:
    """Raise UserError unless a model has this precision and allows this batch size."""
    manifest = read_manifest(path)
    if manifest.precision != precision:
        raise UserError(f"MODEL_PATH {path} is {manifest.precision}, but this script measures {precision}: export with "
                        f"--export_format ONNX --precision {precision}")
    if manifest.input_shape[0] not in (0, batch):
        raise UserError(f"MODEL_PATH {path} takes {manifest.input_shape[0]} images at once, but BATCH_SIZE is {batch}: "
                        "change BATCH_SIZE, or export with --export_decode false --export_batch_size 0")


def measure(kind: str, path: Path, dataset: CocoDataset, config: Config, batch: int) -> tuple[str, str, str]:
    """Return images per second, AP at IoU 0.5 and AP at IoU 0.5:0.95; "-" for values that are not measured."""
    from centernet.evaluation.dataset import evaluate_exported
    from centernet.export.quantization.side_by_side import batch_of, milliseconds
    from centernet.runtimes.exported import ExportedBackend

    backend = ExportedBackend(path)
    if kind == "performance":
        per_image = milliseconds([path], [batch_of(backend, dataset, batch)], REPEATS)[0]
        return f"{1000 / per_image:.2f}", "-", "-"
    metrics = evaluate_exported(backend, dataset, config)
    print(f"{metrics.summary}{metrics.note()}", flush=True)
    return "-", f"{metrics.AP50:.3f}", f"{metrics.AP:.3f}"


def table(path: Path, precision: str, batch: int, speed: str, ap50: str, ap: str) -> str:
    """Return a Markdown table with one row."""
    note = ("\nonnxruntime's CPU kernels convert float16 to float32, compute in float32 and convert back. So fp16 is "
            "not faster on a CPU." if precision == "fp16" and speed != "-" else "")
    return (f"\n{path}\n\n| Model     | BatchSize | Precision | FPS    | IOU@0.5 | IOU@0.5:0.95 |\n"
            "| :-------: | :-------: | :-------: | :----: | :-----: | :----------: |\n"
            f"| CenterNet | {batch:<9} | {precision.upper():<9} | {speed:<6} | {ap50:<7} | {ap:<12} |{note}")


@reports_errors
def main() -> int:
    """Print the table and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("precision", choices=("fp16", "int8"))
    parser.add_argument("kind", choices=("accuracy", "performance"))
    arguments = parser.parse_args()
    print(run(arguments.precision, arguments.kind, os.environ))
    return 0


if __name__ == "__main__":
    sys.exit(main())
