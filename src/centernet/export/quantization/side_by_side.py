"""Comparison of several forms of one model: a table of size, speed and average precision.

    python -m centernet.export.quantization.side_by_side fp32.onnx fp16.onnx int8.onnx --data_dir /path/to/coco
"""
from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from centernet.config.load import Config, load_config
from centernet.data.coco import CocoDataset, read_evaluated
from centernet.data.image_file import read_image
from centernet.detection.transform import prepare_image
from centernet.errors import nonempty, reports_errors
from centernet.evaluation.dataset import evaluate_exported
from centernet.files import write_json
from centernet.runtimes.exported import ExportedBackend
from centernet.runtimes.manifest import Manifest
from centernet.runtimes.onnx_session import open_session

WARM_UP = 2  # runs that are not timed


@dataclass(frozen=True)
class Row:
    """Results of one model. milliseconds is the median time of the timed runs, for one image, of the model alone."""

    model: str
    precision: str
    calibration: str
    megabytes: float
    milliseconds: float
    AP: float
    AP50: float


def milliseconds(paths: Sequence[Path], batches: Sequence[np.ndarray], repeats: int) -> list[float]:
    """Return the median time of each model for one image, in ms, without decoding outside of the file.

    The runs of the models are alternating, so that other load on the machine affects all models equally. Waiting
    threads sleep: with busy waiting, the threads of one model would slow down the others.

    Args:
        paths: the .onnx files.
        batches: for each model, float32 (B,3,H,W), normalised for it.
        repeats: number of timed runs of each model.
    """
    sessions = [open_session(path, {"session.intra_op.allow_spinning": "0"}) for path in paths]
    seconds: list[list[float]] = [[] for _ in sessions]
    for _ in range(WARM_UP + repeats):
        for times, session, images in zip(seconds, sessions, batches):
            feed = {session.get_inputs()[0].name: images}
            start = time.perf_counter()
            session.run(None, feed)
            times.append(time.perf_counter() - start)
    return [1000 * statistics.median(times[WARM_UP:]) / len(images) for times, images in zip(seconds, batches)]


def batch_of(backend: ExportedBackend, dataset: CocoDataset, batch_size: int) -> np.ndarray:
    """Return the first images of a data set, repeated if there are too few: float32 (B,3,H,W), normalised."""
    paths = [image.path for image in dataset.images[:batch_size]]
    images = [prepare_image(read_image(path), backend.spec)[0] for path in paths]
    return np.stack([images[position % len(images)] for position in range(batch_size)])


def compare(paths: Sequence[Path], dataset: CocoDataset, config: Config, batch_size: int, repeats: int) -> list[Row]:
    """Measure models. Raise UserError if one cannot be run, or its categories are not those of the data set."""
    backends = [ExportedBackend(path) for path in paths]
    batches = [batch_of(backend, dataset, backend.fixed_shape[0] or batch_size) for backend in backends]
    times = milliseconds(paths, batches, repeats)
    metrics = [evaluate_exported(backend, dataset, config) for backend in backends]
    return [Row(path.name, backend.manifest.precision, calibration(backend.manifest), path.stat().st_size / 1e6, time_,
                found.AP, found.AP50) for path, backend, time_, found in zip(paths, backends, times, metrics)]


def calibration(manifest: Manifest) -> str:
    """Return the calibration of an 8-bit model in short form; "-" for other models."""
    count = manifest.calibration_images
    return f"{manifest.calibration_method}, {count} images" if count else "-"


def table(rows: Sequence[Row]) -> str:
    """Return the table as text."""
    width = max(len(row.model) for row in rows)
    lines = [f"{'model':<{width}}  precision  calibration                MB  ms/image     AP   AP50"]
    lines += [f"{row.model:<{width}}  {row.precision:<9}  {row.calibration:<22}  {row.megabytes:5.1f}  "
              f"{row.milliseconds:8.2f}  {row.AP:.3f}  {row.AP50:.3f}" for row in rows]
    return "\n".join(lines)


def count(text: str) -> int:
    """Convert text to an integer above 0, for argparse."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, found {text!r}")
    return int(text)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Print the table and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", metavar="NAME.onnx")
    parser.add_argument("--data_dir", type=nonempty("--data_dir"),
                        help="annotated COCO data set: annotations/ and val2017/")
    parser.add_argument("--annotation_file", type=nonempty("--annotation_file"),
                        help="with --image_dir: for a data set in another layout")
    parser.add_argument("--image_dir", type=nonempty("--image_dir"),
                        help="folder of the images that the annotation file names")
    parser.add_argument("--allow_outside", choices=("true", "false"), default="false",
                        help="read images whose file_name leads out of the image folder")
    parser.add_argument("--batch_size", type=count, default=1,
                        help="batch size of the timed runs, for models without a fixed batch size")
    parser.add_argument("--repeats", type=count, default=20, help="timed runs of each model")
    parser.add_argument("--output", type=nonempty("--output", Path), help="also write the rows to this JSON file")
    arguments = parser.parse_args(argv)
    data_dir, file, image_dir = (word or "" for word in (arguments.data_dir, arguments.annotation_file,
                                                         arguments.image_dir))
    dataset = read_evaluated(data_dir, "val", file, image_dir, strict=False,
                             allow_outside=arguments.allow_outside == "true", whole=False)
    rows = compare(arguments.models, dataset, load_config("eval", [], ""), arguments.batch_size, arguments.repeats)
    if arguments.output:
        write_json(arguments.output, [asdict(row) for row in rows])
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
