"""Detect objects in images with a checkpoint or an exported model, or run an exported model on prepared inputs.

    python infer.py --device_target CPU --image street.jpg --model_path centernet.ckpt --save_result_dir found
    python infer.py --device_target CPU --predict_dir prepared --model_path centernet.mindir --result_path result_Files
    python infer.py --device_target CPU --image street.jpg --model_path centernet.onnx --save_result_dir found
"""
from __future__ import annotations

from pathlib import Path

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.device import set_up
from centernet.errors import UserError
from centernet.owner import OWNER, owned


def run(config: Config) -> None:
    """Run the model on images (--image) or on the output of preprocess.py (--predict_dir)."""
    from centernet.evaluation.image_files import find_images, infer_images
    from centernet.evaluation.prepared_set import run_prepared
    from centernet.open_model import open_model
    from centernet.runtimes.exported import open_exported

    if not config.model_path:
        raise UserError("--model_path is not set: name a checkpoint (.ckpt) or an exported model (.mindir, .onnx)")
    if bool(config.image) == bool(config.predict_dir):
        raise UserError("give either --image (image files) or --predict_dir (the output of preprocess.py)")
    if config.predict_dir and not config.model_path.endswith((".mindir", ".onnx")):
        raise UserError(f"--predict_dir holds inputs of one fixed size. They need an exported model (.mindir, .onnx), "
                        f"found --model_path {config.model_path}")
    if config.predict_dir and not config.result_path:
        raise UserError("--result_path is not set: name the folder for the model's raw output")
    images = find_images(config.image) if config.image else []
    set_up(config, config.device_id)
    if config.image:
        folder = Path(config.save_result_dir or "results")
        with owned(folder, "--save_result_dir", f".infer{OWNER}"):
            infer_images(open_model(config.model_path, config, len(images)), images, folder)
    else:
        run_prepared(open_exported(config.model_path, config.eval_config), Path(config.predict_dir),
                     Path(config.result_path))


def main(argv: list[str] | None = None) -> int:
    """Parse argv, run inference, return the exit status."""
    return run_entry("infer", "Detect objects in images, or run an exported model on prepared inputs.", run, argv)
