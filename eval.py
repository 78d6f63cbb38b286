"""Evaluate a checkpoint on a data set in COCO's format: 12 COCO figures, AP of each category, files, pictures.

    python eval.py --device_target CPU --load_checkpoint_path centernet.ckpt --data_dir /path/to/coco --run_mode val
"""
from __future__ import annotations

import dataclasses
import logging
import sys
from pathlib import Path

from src.config import Config
from src.errors import UserError
from src.inference.coco_eval import HEADING, evaluate_results
from src.inference.postprocess import write_json, write_results
from src.runtime.device import set_up_device
from src.runtime.entry import run_entry

log = logging.getLogger("centernet")


def run(config: Config) -> None:
    """Detect on all images; write the results and, in val mode, evaluate them."""
    from src.data.coco import locate, read_coco, require_whole
    from src.inference.detector import detect_dataset, draw_detections

    if not config.load_checkpoint_path:
        raise UserError("--load_checkpoint_path is not set: name the checkpoint to evaluate")
    dataset = read_coco(*locate(config.data_dir, config.run_mode, config.annotation_file, config.image_dir))
    require_whole(dataset)
    folder = Path(config.save_result_dir or "results") / config.run_mode
    try:
        folder.mkdir(parents=True, exist_ok=True)  # before hours of detection, not after them
    except OSError as error:
        raise UserError(f"--save_result_dir {config.save_result_dir}: {error.strerror or error}") from error
    set_up_device(config.device_target, config.device_id, config.seed)
    detections = detect_dataset(_backend(config, dataset), dataset, config.eval_config,
                                config.dataset_config.input_res_test, config.num_workers)
    results = write_results(folder, config.run_mode, detections,
                            {image.id: image.file_name for image in dataset.images}, dataset.categories)
    log.info("results of %d images are in %s", len(detections), folder)
    if config.visual_image:
        draw_detections(folder, dataset, detections, config.eval_config.score_thresh)
    if config.run_mode == "test":
        log.info("a test set has no annotations, so there is no AP here: upload %s to COCO's evaluation server",
                 folder / "test_pred_eval.json")
    elif config.enable_eval:
        metrics = evaluate_results(dataset.annotation_file, results, dataset.categories, detections)
        write_json(folder / "metrics.json", metrics.to_json())
        log.info("%s\n%s\n\n%s%s", HEADING, metrics.summary, metrics.class_table(), metrics.note())


def _backend(config: Config, dataset):
    """The checkpoint's network, normalised as it was trained, if its categories are the data set's."""
    from src.categories import require_same
    from src.inference.backends import CheckpointBackend
    from src.models.centernet import build_centernet
    from src.weights.checkpoint import load_network, read_checkpoint, require_preset

    path, data, evaluation = config.load_checkpoint_path, config.dataset_config, config.eval_config
    checkpoint = read_checkpoint(path)
    record = checkpoint.record
    if record is not None:
        require_preset(record, config.net_config, path)
        require_same(record.categories, dataset.categories, path, str(dataset.annotation_file),
                     "Evaluate on a data set of the same categories, or train on this one: train.py --fine_tune true")
        data = dataclasses.replace(data, mean=record.mean, std=record.std, to_rgb=record.to_rgb)
    network = build_centernet(config.net_config, len(dataset.categories))
    load_network(network, checkpoint, path)
    return CheckpointBackend(network, config.net_config, data, dataset.categories, evaluation.K, evaluation.flip_test)


def main(argv: list[str] | None = None) -> int:
    """Parse argv, evaluate, return the exit status."""
    return run_entry("eval", "Evaluate a checkpoint on a data set in COCO's format.", run, argv)


if __name__ == "__main__":
    sys.exit(main())
