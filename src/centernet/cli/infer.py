"""Detect objects in images or videos with a checkpoint or an exported model, or run a model on prepared inputs.

    python infer.py --device_target CPU --image street.jpg --model_path centernet.ckpt --save_result_dir found
    python infer.py --device_target CPU --image clip.mp4 --model_path centernet.onnx --save_result_dir found
    python infer.py --device_target CPU --predict_dir prepared --model_path centernet.mindir --result_path result_Files
"""
from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.device import set_up
from centernet.errors import UserError
from centernet.files import require_writable
from centernet.model_files import EXPORTED
from centernet.owner import OWNER, owned
from centernet.program import program

if typing.TYPE_CHECKING:
    from centernet.detection.detector import Detector
    from centernet.detection.finder import Finder

TILES = 12   # of an image that is detected in tiles; their number decides what runs the model (open_model.py)
LONG = 1000  # frames that are expected of a camera, a stream, or a video that does not say its number


def run(config: Config) -> None:
    """Run the model on images and videos (--image) or on the output of preprocess.py (--predict_dir)."""
    if not config.model_path:
        raise UserError("--model_path is not set: name a checkpoint (.ckpt) or an exported model (.mindir, .onnx)")
    if bool(config.image) == bool(config.predict_dir):
        raise UserError(f"give either --image (image files) or --predict_dir (the output of {program('preprocess')})")
    if config.predict_dir and not config.model_path.endswith(EXPORTED):
        raise UserError(f"--predict_dir holds inputs of one fixed size. They need an exported model (.mindir, .onnx), "
                        f"found --model_path {config.model_path}")
    if config.predict_dir and not config.result_path:
        raise UserError("--result_path is not set: name the folder for the model's raw output")
    if config.image:
        _detect(config)
        return
    from centernet.evaluation.prepared_set import run_prepared
    from centernet.runtimes.exported import open_exported

    set_up(config, config.device_id)
    run_prepared(open_exported(config.model_path, config.eval_config), Path(config.predict_dir),
                 Path(config.result_path))


def _detect(config: Config) -> None:
    """Detect in all images, then in all videos. What can be wrong with paths is found before MindSpore starts."""
    from centernet.evaluation.image_files import infer_images
    from centernet.evaluation.inputs import find_inputs
    from centernet.evaluation.result_places import require_free_places
    from centernet.evaluation.videos import infer_video, require_readable

    inputs = find_inputs(config.image, config.recursive)
    folder = Path(config.save_result_dir or "results")
    require_free_places(inputs, folder)
    require_writable(folder, "--save_result_dir")
    frames = sum(require_readable(video) or LONG for video in inputs.videos)
    set_up(config, config.device_id)
    from centernet.open_model import open_model

    with owned(folder, "--save_result_dir", f".infer{OWNER}"):
        runs = (len(inputs.images) + min(frames, config.max_frames or frames)) * (TILES if config.tile else 1)
        finder = make_finder(*open_model(config.model_path, config, runs))
        if inputs.images:
            infer_images(finder, list(inputs.images), folder, config.result_formats)
        for video in inputs.videos:
            infer_video(finder, video, folder, config.result_formats, config.max_frames)


def make_finder(detector: Detector, config: Config) -> Finder:
    """Return the finder that the flags describe. Raise UserError if --classes names what the model does not have."""
    from centernet.detection.finder import Finder, chosen_classes
    from centernet.detection.soft_nms import GAUSSIAN, HARD, LINEAR

    if config.nms != "auto":
        detector.settings = dataclasses.replace(detector.settings, SOFT_NMS=config.nms != "none")
        detector.method = {"hard": HARD, "linear": LINEAR}.get(config.nms, GAUSSIAN)
    # Given, not named: a --config_path that a training has written names every setting.
    most = detector.settings.K if not config.tile or "eval_config.K" in config.given else 0
    return Finder(detector, chosen_classes(config.classes, detector.spec.categories), config.tile, config.overlap, most)


def main(argv: list[str] | None = None) -> int:
    """Parse argv, run inference, return the exit status."""
    return run_entry("infer", "Detect objects in images or videos, or run an exported model on prepared inputs.", run,
                     argv)
