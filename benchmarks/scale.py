"""An epoch of COCO on many devices, on paper: host cores, traffic and files from measured inputs.

python -m benchmarks.scale --per_core 140 [--devices 8 64] [--data_dir COCO] [--config_path configs/PRESET.yaml]
"""
from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from centernet.config.load import Config, load_config
from centernet.device import prepare_environment
from centernet.errors import UserError

IMAGES = 117_266  # of train2017 that have boxes, crowds included
CLASSES = 80
FILE_BYTES = 163_215  # mean of the 80 images of data/coco_mini; --data_dir measures another set


@dataclass(frozen=True)
class Inputs:
    """What is measured, or read off the program."""

    images: int             # of an epoch
    batch: int              # images of a step on one device
    rate: float             # images/s of one device
    per_core: float         # images/s that one core of the host prepares
    file_bytes: float       # of an image file, mean
    sample_bytes: int       # of an image and its targets, host to device
    heatmap_bytes: int      # the heatmap that comes along unless the device draws it
    message_bytes: int      # gradients, batch norm statistics, losses and flag: the AllReduce of a step
    checkpoint_bytes: int
    link: float             # bytes/s of the slowest link in the ring


def scale(inputs: Inputs, devices: int) -> dict[str, float]:
    """The figures of an epoch on a number of devices, by name; units are in the names.

    A ring AllReduce sends 2 (N - 1) / N times the message over every link: N - 1 steps that add and N - 1 that hand
    the sums round, each with an N-th of it.
    """
    step = inputs.batch / inputs.rate
    steps = inputs.images // (devices * inputs.batch)
    ring = 2 * (devices - 1) / devices * inputs.message_bytes
    return {
        "steps of an epoch": steps,
        "images left out of an epoch": inputs.images - steps * devices * inputs.batch,
        "step without AllReduce (s)": step,
        "AllReduce message (MB)": inputs.message_bytes / 1e6,
        "ring traffic of a device and step (MB)": ring / 1e6,
        "AllReduce at the link's speed (s)": ring / inputs.link,
        "epoch without AllReduce (min)": steps * step / 60,
        "epoch, AllReduce not overlapped (min)": steps * (step + ring / inputs.link) / 60,
        "host cores of a device": inputs.rate / inputs.per_core,
        "host cores of all devices": devices * inputs.rate / inputs.per_core,
        "host to device, each (MB/s)": inputs.rate * inputs.sample_bytes / 1e6,
        "host to device with host heatmaps, each (MB/s)":
            inputs.rate * (inputs.sample_bytes + inputs.heatmap_bytes) / 1e6,
        "read from shards, all devices (MB/s)": devices * inputs.rate * inputs.file_bytes / 1e6,
        "shards (GB)": inputs.images * inputs.file_bytes / 1e9,
        "checkpoint (MB)": inputs.checkpoint_bytes / 1e6,
    }


def sample_bytes(config: Config) -> tuple[int, int]:
    """Bytes of an image's columns without heatmap, and of the heatmap: those of a sample that the pipeline makes."""
    import cv2

    from centernet.data.pipeline import make_sample

    data = config.dataset_config
    picture = cv2.imencode(".jpg", np.zeros((480, 640, 3), np.uint8))[1].tobytes()
    boxes, classes = np.array([[10, 10, 200, 200]], np.float32), np.zeros(1, np.int32)
    columns = make_sample(picture, boxes, classes, data, CLASSES, np.random.default_rng(0))
    return sum(column.nbytes for column in columns[:7]), CLASSES * data.output_res[0] * data.output_res[1] * 4


def state_bytes(config: Config) -> tuple[int, int, int]:
    """Bytes of the AllReduce of a step and of a checkpoint (one is written), and the trainable parameters."""
    from centernet.categories import Categories
    from centernet.training.setup import make_plan, start
    from centernet.weights.checkpoint import model_record, save_checkpoint

    categories = Categories(tuple(map(str, range(CLASSES))), tuple(range(CLASSES)))
    step, _ = start(config, categories, make_plan(config, 1, 1, 1), 1)
    trainable = sum(parameter.size for parameter in step.weights)
    statistics = sum(parameter.size for parameter in step.statistics)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.ckpt"
        save_checkpoint(path, step, model_record(config, categories), {})
        return 4 * (5 + statistics + trainable), path.stat().st_size, trainable


def markdown(table: dict[int, dict[str, float]]) -> str:
    """One column for each number of devices."""
    counts = list(table)
    lines = ["| what | " + " | ".join(f"{count} devices" for count in counts) + " |", "|---" * (len(counts) + 1) + "|"]
    for name in table[counts[0]]:
        lines.append(f"| {name} | " + " | ".join(f"{table[count][name]:,.4g}" if table[count][name] < 1e4 else
                                                 f"{table[count][name]:,.0f}" for count in counts) + " |")
    return "\n".join(lines)


def mean_file_bytes(data_dir: str) -> float:
    """Mean size of the training images of a data set; UserError as locate."""
    from centernet.data.coco import locate

    sizes = [path.stat().st_size for path in locate(data_dir, "train")[1].iterdir() if path.is_file()]
    return sum(sizes) / max(len(sizes), 1)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; UserError for values that make no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per_core", type=float, required=True,
                        help="images/s that a core prepares, as benchmarks/feed_rate.py measures it")
    parser.add_argument("--devices", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--rate", type=float, default=62.0, help="images/s of a device (default %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="images of a step on a device (default %(default)s)")
    parser.add_argument("--link", type=float, default=100.0, help="Gbit/s between devices (default %(default)s)")
    parser.add_argument("--config_path", default="", help="network and image size; the default network without it")
    parser.add_argument("--data_dir", default="", help="COCO layout: take the mean image size from there")
    arguments = parser.parse_args(argv)
    for name in ("per_core", "rate", "batch", "link"):
        if not getattr(arguments, name) > 0:
            raise UserError(f"--{name} {getattr(arguments, name)}: it must be above 0")
    if min(arguments.devices) < 1:
        raise UserError(f"--devices {min(arguments.devices)}: at least 1 is needed")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0, or 2 after a user's error."""
    try:
        arguments = parse(argv)
        file_bytes = mean_file_bytes(arguments.data_dir) if arguments.data_dir else FILE_BYTES
        prepare_environment()
        config = load_config("train", ["--config_path", arguments.config_path], "")
        message, checkpoint, trainable = state_bytes(config)
        sample, heatmap = sample_bytes(config)
        inputs = Inputs(IMAGES, arguments.batch, arguments.rate, arguments.per_core, file_bytes, sample, heatmap,
                        message, checkpoint, arguments.link * 1e9 / 8)
        print(f"{IMAGES:,} images of {file_bytes:,.0f} bytes; {config.preset or 'default'} network of {trainable:,} "
              f"trainable parameters; an image is {sample:,} bytes for the device, its heatmap {heatmap:,}; "
              f"{inputs.per_core:g} images/s from a host core; {inputs.rate:g} images/s a device; "
              f"{arguments.link:g} Gbit/s between devices\n")
        print(markdown({count: scale(inputs, count) for count in arguments.devices}))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
