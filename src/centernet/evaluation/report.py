"""What an evaluation leaves: results, pictures, figures."""
from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from centernet.config.load import Config
from centernet.data.coco import CocoDataset
from centernet.detection.postprocess import write_json, write_results
from centernet.errors import UserError
from centernet.evaluation.detect import draw_detections
from centernet.evaluation.metrics import HEADING, evaluate_results

log = logging.getLogger("centernet")


def result_folder(config: Config) -> Path:
    """Make and return <save_result_dir>/<run_mode>; UserError if that is impossible."""
    folder = Path(config.save_result_dir or "results") / config.run_mode
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--save_result_dir {config.save_result_dir}: {error.strerror or error}") from error
    return folder


def report(config: Config, folder: Path, dataset: CocoDataset, detections: Mapping[int, np.ndarray]) -> None:
    """Write the results and, in val mode, evaluate and print them.

    Args:
        folder: of the results.
        detections: image id -> boxes, as detect_dataset returns them.
    """
    results = write_results(folder, config.run_mode, detections,
                            {image.id: image.file_name for image in dataset.images}, dataset.categories)
    log.info("results of %d images are in %s", len(detections), folder)
    if config.visual_image:
        draw_detections(folder, dataset, detections, config.eval_config.score_thresh)
    if config.run_mode == "test":
        log.info("a test set has no annotations, so there is no AP here: upload %s to COCO's evaluation server",
                 folder / "test_pred_eval.json")
    elif config.enable_eval:
        metrics = evaluate_results(dataset.annotations, results, dataset.categories, detections)
        write_json(folder / "metrics.json", metrics.to_json())
        log.info("%s\n%s\n\n%s%s", HEADING, metrics.summary, metrics.class_table(), metrics.note())
