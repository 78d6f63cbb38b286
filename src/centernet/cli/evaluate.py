"""Evaluate a checkpoint or an exported model on a COCO data set.

It gives COCO's 12 numbers, the AP of each category, result files and, with --visual_image true, images with boxes.
--report true writes a page with curves, errors by type, and the best and worst images.

    python eval.py --device_target CPU --load_checkpoint_path centernet.ckpt --data_dir /path/to/coco --run_mode val
    python eval.py --device_target CPU --load_checkpoint_path centernet.onnx --data_dir /path/to/coco
"""
from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.device import set_up_group
from centernet.errors import UserError
from centernet.owner import OWNER, owned

if TYPE_CHECKING:
    from centernet.data.coco import CocoDataset
    from centernet.group import Group


def run(config: Config) -> None:
    """Detect objects in all images; the ranks of a group divide them. Write the results and evaluate them."""
    if not config.load_checkpoint_path:
        raise UserError("--load_checkpoint_path is not set: name the checkpoint (or exported model) to evaluate")
    from centernet.data.coco import read_evaluated
    from centernet.evaluation.report import result_folder

    dataset = read_evaluated(config.data_dir, config.run_mode, config.annotation_file, config.image_dir, config.strict,
                             config.allow_outside)
    if config.report and not dataset.annotations.annotated:
        raise UserError(f"--report true compares detections with annotated boxes, but {dataset.annotation_file} has "
                        "none: leave out --report, or evaluate on annotated images")
    folder = result_folder(config)  # before detection, so that a wrong path fails now and not after hours
    group = set_up_group(config)
    with owned(folder, "--save_result_dir", f".eval{OWNER}") if group.rank == 0 else nullcontext():
        _evaluate(config, folder, dataset, group)


def _evaluate(config: Config, folder: Path, dataset: CocoDataset, group: Group) -> None:
    from centernet.config.threads import input_threads
    from centernet.evaluation.dataset import detect_dataset
    from centernet.evaluation.report import report
    from centernet.open_model import open_model

    detector, config = open_model(config.load_checkpoint_path, config, len(dataset.images) // group.size, dataset)
    dataset = dataset.of_model(detector.spec.categories, config.load_checkpoint_path,
                               "Evaluate on a data set of the same categories.")
    with detector.clock("whole"):
        detections = detect_dataset(detector, dataset, input_threads(config), group)
    if group.rank == 0:
        report(config, folder, dataset, detections, detector)


def main(argv: list[str] | None = None) -> int:
    """Parse argv, evaluate, return the exit status."""
    return run_entry("eval", "Evaluate a checkpoint or an exported model on a data set.", run, argv)
