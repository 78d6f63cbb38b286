"""Evaluate a checkpoint or an exported model on a COCO data set: 12 figures, AP of each category, files, pictures.

    python eval.py --device_target CPU --load_checkpoint_path centernet.ckpt --data_dir /path/to/coco --run_mode val
    python eval.py --device_target CPU --load_checkpoint_path centernet.onnx --data_dir /path/to/coco
"""
from __future__ import annotations

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.device import eager, set_up_group
from centernet.errors import UserError


def run(config: Config) -> None:
    """Detect on all images, shared by the ranks of a group; write the results and, in val mode, evaluate them."""
    from centernet.data.coco import locate, read_coco, require_whole
    from centernet.evaluation.detect import detect_dataset
    from centernet.evaluation.report import report, result_folder

    if not config.load_checkpoint_path:
        raise UserError("--load_checkpoint_path is not set: name the checkpoint (or exported model) to evaluate")
    dataset = read_coco(*locate(config.data_dir, config.run_mode, config.annotation_file, config.image_dir))
    require_whole(dataset)
    folder = result_folder(config)  # before hours of detection, not after them
    group = set_up_group(config)
    detections = detect_dataset(_backend(config, dataset, group.size), dataset, config.eval_config,
                                config.dataset_config.input_res_test, config.num_workers, group.rank, group.size)
    if group.rank == 0:
        report(config, folder, dataset, detections)


def _backend(config: Config, dataset, ranks: int):
    """The exported model, or the checkpoint's network, normalised as trained, if its categories are the data set's."""
    from centernet.categories import require_same
    from centernet.open_model import open_checkpoint
    from centernet.runtimes.exported import is_exported, open_exported
    from centernet.weights.checkpoint import read_checkpoint, require_preset

    path = config.load_checkpoint_path
    if is_exported(path, config.backend):
        exported = open_exported(path, config.eval_config)
        require_same(exported.categories, dataset.categories, path, str(dataset.annotation_file),
                     "Evaluate on a data set of the same categories, or export a model trained on this one")
        return exported
    checkpoint = read_checkpoint(path)
    if checkpoint.record is not None:
        require_preset(checkpoint.record, config.net_config, path)
        require_same(checkpoint.record.categories, dataset.categories, path, str(dataset.annotation_file),
                     "Evaluate on a data set of the same categories, or train on this one: train.py --fine_tune true")
    return open_checkpoint(path, checkpoint, config.net_config, config.dataset_config, dataset.categories, config,
                           len(dataset.images) // ranks, eager)


def main(argv: list[str] | None = None) -> int:
    """Parse argv, evaluate, return the exit status."""
    return run_entry("eval", "Evaluate a checkpoint or an exported model on a data set.", run, argv)
