"""Stages of the demo (run_demo_cpu.sh). Each stage is a command that a user can type.

It measures seconds and peak memory of every stage, and prints a summary at the end. The exit status is 1 if a stage
fails, or if generated images were used and the accuracy is lower than that of a working installation. The AP of a data
set of your own proves nothing about the installation, so a low one is only remarked upon.
"""
from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from centernet.data.coco import locate
from centernet.errors import UserError
from centernet.files import read_json
from centernet.run_files import EVALUATION, METRICS, PLOT
from centernet.training.metrics_file import read_metrics

CONFIG = ("--config_path", "configs/demo_cpu.yaml")
MIN_AP50 = 0.50           # on generated validation images
MAX_AP_DIFFERENCE = 0.01  # between checkpoint and MINDIR
LOW_AP50 = 0.10           # on your own data: below this, a user would not call the result a detector
SMALL = 2000              # images of your own data up to which the training follows --recipe scratch,
OWN_STEPS = 1500          # with this number of steps: twice as many as for the generated images


@dataclass(frozen=True)
class Measure:
    """Cost of a stage: wall-clock seconds, and peak resident memory of its process in MiB."""

    name: str
    seconds: float
    peak_mib: float


def stages(work: Path, coco: Path, label_path: Path) -> list[tuple[str, list[str]]]:
    """Return names and commands of the stages in order, with paths below the work folder."""
    model, inputs, results = work / "export" / "centernet_demo", work / "mindir_inputs", work / "mindir_results"
    checkpoint, shards = str(work / "checkpoints" / "last.ckpt"), str(work / "shards")
    own = coco != work / "coco"
    generate = [] if own else [("generate", ["-m", "tools.synthetic", str(coco)])]
    recipe = ["--recipe", "scratch", "--train_steps", str(OWN_STEPS)] if own and few_images(coco) else []
    return generate + [
        ("convert", ["src/dataset.py", *CONFIG, "--coco_data_dir", str(coco), "--mindrecord_dir", shards]),
        ("train", ["train.py", *CONFIG, *recipe, "--mindrecord_dir", shards,
                   "--save_checkpoint_path", str(work / "checkpoints"), "--save_result_dir", str(work / "train")]),
        ("evaluate", ["eval.py", *CONFIG, "--load_checkpoint_path", checkpoint, "--data_dir", str(coco),
                      "--save_result_dir", str(work / "results"), "--visual_image", "true"]),
        ("export", ["export.py", *CONFIG, "--export_load_ckpt", checkpoint, "--export_name", str(model)]),
        ("preprocess", ["preprocess.py", *CONFIG, "--model_path", f"{model}.mindir", "--val_data_dir", str(coco),
                        "--predict_dir", str(inputs)]),
        ("infer MINDIR", ["infer.py", *CONFIG, "--model_path", f"{model}.mindir", "--predict_dir", str(inputs),
                          "--result_path", str(results)]),
        ("postprocess", ["postprocess.py", *CONFIG, "--model_path", f"{model}.mindir", "--result_path", str(results),
                         "--meta_path", str(inputs / "meta"), "--save_path", str(work / "mindir_ap"),
                         "--label_path", str(label_path)]),
    ]


def few_images(coco: Path) -> bool:
    """Return whether the training part of a COCO data set has at most SMALL images. Raise UserError without one."""
    return len(read_json(locate(str(coco), "train")[0]).get("images", ())) <= SMALL


def clear(work: Path) -> None:
    """Remove the files of an earlier run of the demo. Raise UserError if the folder contains other files."""
    marker = work / "made_by_the_demo.txt"
    if work.exists() and any(work.iterdir()) and not marker.exists():
        raise UserError(f"{work} is not empty and is not from this demo: use a new or empty folder")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    marker.write_text("The next run of the demo removes this folder and writes a new one.\n", encoding="utf-8")


def run_stage(name: str, arguments: list[str]) -> Measure:
    """Run one stage in its own process. Exit with a message if it fails."""
    print(f"\n=== {name}\n$ python {shlex.join(arguments)}", flush=True)
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"error: the stage '{name}' ended with status {process.returncode}: see its message above")
    return Measure(name, time.monotonic() - started, usage.ru_maxrss / 1024)


def summarise(work: Path, measures: list[Measure], generated: bool) -> int:
    """Print cost and accuracy, write them to summary.json, and return the exit status."""
    print("\n=== summary\nstage          seconds   peak MiB")
    for measure in measures:
        print(f"{measure.name:<14}{measure.seconds:>8.1f}{measure.peak_mib:>11.0f}")
    print(f"{'total':<14}{sum(measure.seconds for measure in measures):>8.1f}")
    metrics = {name: read_json(work / folder / EVALUATION)
               for name, folder in (("checkpoint", "results/val"), ("MINDIR", "mindir_ap"))}
    print("\n              AP@[.5:.95]  AP@0.5")
    for name, values in metrics.items():
        print(f"{name:<14}{values['AP']:>11.3f}{values['AP50']:>8.3f}")
    difference = abs(metrics["checkpoint"]["AP"] - metrics["MINDIR"]["AP"])
    print(f"\npredictions: {work / 'results/val/pred_image'}\nloss plot:   {work / 'train' / PLOT}\n"
          f"model:       {work / 'export/centernet_demo.mindir'}")
    (work / "summary.json").write_text(json.dumps(
        {"stages": [vars(measure) for measure in measures], "metrics": metrics}, indent=1), encoding="utf-8")
    failures = []
    if difference > MAX_AP_DIFFERENCE:
        failures.append(f"the MINDIR's AP differs from the checkpoint's by {difference:.3f}")
    if generated and metrics["checkpoint"]["AP50"] < MIN_AP50:
        failures.append(f"AP@0.5 is {metrics['checkpoint']['AP50']:.3f}, but a working installation reaches {MIN_AP50}")
    print("\n" + ("FAILED: " + "; ".join(failures) if failures else verdict(work, metrics["checkpoint"], generated)))
    return 1 if failures else 0


def verdict(work: Path, metrics: dict[str, float], generated: bool) -> str:
    """Return the last words of a demo whose stages all ran. A model that detects next to nothing is no success."""
    if generated or metrics["AP50"] >= LOW_AP50:
        return "The demo succeeded."
    rows = read_metrics(work / "train" / METRICS)
    steps, epochs = (sum(row["kind"] == kind for row in rows) for kind in ("step", "epoch"))
    return (f"All stages ran, but the model detects next to nothing: AP@0.5 is {metrics['AP50']:.3f} after {epochs} "
            f"epochs ({steps} steps). The installation works; the training was too short for this data, or the data "
            f"are too few, or too small at 128 x 128 pixels. Look at {work / 'train' / PLOT}. If the loss still "
            "falls, train longer:\n"
            f"  python train.py --config_path demo_cpu --recipe scratch --mindrecord_dir {work / 'shards'} "
            "--out RUN\n(docs/training.md#small-data-sets)")


def main() -> int:
    """Run all stages into a work folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--coco_dir", type=Path, help="data set to use instead of generated images")
    arguments = parser.parse_args()
    work = arguments.work_dir.resolve()
    try:
        clear(work)
        coco = arguments.coco_dir.resolve() if arguments.coco_dir else work / "coco"
        label_path = (locate(str(coco), "val")[0] if arguments.coco_dir
                      else coco / "annotations" / "instances_val2017.json")
        commands = stages(work, coco, label_path)
    except UserError as error:
        sys.exit(f"error: {error}")
    measures = [run_stage(name, command) for name, command in commands]
    return summarise(work, measures, generated=arguments.coco_dir is None)


if __name__ == "__main__":
    sys.exit(main())
