"""Detect on pictures with a checkpoint or an exported model, or run the latter on what preprocess.py prepared.

    python infer.py --device_target CPU --image street.jpg --model_path centernet.ckpt --save_result_dir found
    python infer.py --device_target CPU --predict_dir prepared --model_path centernet.mindir --result_path result_Files
    python infer.py --device_target CPU --image street.jpg --model_path centernet.onnx --save_result_dir found
"""
from __future__ import annotations

from pathlib import Path

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.device import eager, set_up_device
from centernet.errors import UserError


def run(config: Config) -> None:
    """Choose the mode by the flags, load the model, run it."""
    from centernet.evaluation.pictures import detect_pictures, find_images
    from centernet.evaluation.prepared_set import run_prepared

    if not config.model_path:
        raise UserError("--model_path is not set: name a checkpoint (.ckpt) or an exported model (.mindir, .onnx)")
    if bool(config.image) == bool(config.predict_dir):
        raise UserError("give either --image (pictures) or --predict_dir (the output of preprocess.py)")
    if config.predict_dir and not config.model_path.endswith((".mindir", ".onnx")):
        raise UserError(f"--predict_dir holds inputs of one fixed size: they need an exported model (.mindir, .onnx), "
                        f"found --model_path {config.model_path}")
    if config.predict_dir and not config.result_path:
        raise UserError("--result_path is not set: name the folder for the model's raw output")
    images = find_images(config.image) if config.image else []
    set_up_device(config.device_target, config.device_id, config.seed)
    backend, input_res = _load(config, len(images))
    if config.image:
        detect_pictures(backend, images, config.eval_config, input_res, Path(config.save_result_dir or "results"))
    else:
        run_prepared(backend, backend.manifest, Path(config.predict_dir), Path(config.result_path))


def _load(config: Config, images: int):
    """The backend of --model_path, and the (height, width) of its input without keep_res."""
    from centernet.categories import categories_from_names
    from centernet.open_model import open_checkpoint
    from centernet.runtimes.exported import is_exported, open_exported
    from centernet.weights.checkpoint import network_config, read_checkpoint

    path = config.model_path
    if is_exported(path, config.backend):
        backend = open_exported(path, config.eval_config)
        return backend, backend.fixed_shape[1:]
    checkpoint = read_checkpoint(path)
    net, data, record = config.net_config, config.dataset_config, checkpoint.record
    categories = record.categories if record else categories_from_names(data.coco_classes)
    net = network_config(record, net) if record else net
    backend = open_checkpoint(path, checkpoint, net, data, categories, config, images, eager)
    return backend, record.input_res_test if record else data.input_res_test


def main(argv: list[str] | None = None) -> int:
    """Parse argv, infer, return the exit status."""
    return run_entry("infer", "Detect on pictures, or run an exported model on prepared inputs.", run, argv)
