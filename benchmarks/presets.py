"""Compare presets on the CPU: the time of an image in onnxruntime, with decoding, and of a training step.

python -m benchmarks.presets official_res18 plus_res18 [--size 512] [--train_size 256] [--batch 2] [--repeats 9]

The first preset is the one that the others are compared with. All networks have random weights: these do not affect
the speed.
"""
from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.measure import Row, median, median_ratio, paired
from benchmarks.report import markdown
from benchmarks.training_step import Case, StepProcess, serve_ours
from centernet.config.load import find_config, load_config
from centernet.device import prepare_environment, set_up_device
from centernet.errors import reports_errors


def inference(presets: list[str], size: int, work: Path) -> dict[str, Callable[[], object]]:
    """Return for each preset a call of its exported ONNX model with decoding, for one image of size x size pixels."""
    from benchmarks.inference import exported
    from centernet.models.centernet import build_centernet

    set_up_device("CPU", 0, seed=1)
    x = np.random.default_rng(0).standard_normal((1, 3, size, size), np.float32)
    calls: dict[str, Callable[[], object]] = {}
    for preset in presets:
        config = load_config("export", ["--config_path", preset, "--device_target", "CPU", "--export_format", "ONNX",
                                        "--input_res", str(size), str(size)], "")
        network = build_centernet(config.net_config, len(config.dataset_config.coco_classes)).set_train(False)
        calls[preset] = partial(exported(network, config, work / f"{preset}.onnx"), x)
    return calls


def rows_of(what: str, calls: Mapping[str, Callable[[], object]], repeats: int) -> list[Row]:
    """Measure the calls alternately, and return a row for each: seconds, and the ratio to the first one."""
    seconds, first = paired(calls, repeats), next(iter(calls))
    return [Row(f"{what}, {name}", median(values), "s", median_ratio(seconds, name, first), first)
            for name, values in seconds.items()]


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Measure, print the rows and return the exit status: 0, or 2 after a UserError."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+", metavar="PRESET")
    parser.add_argument("--size", type=int, default=512, help="image of the inference (default %(default)s); 0: no "
                        "inference")
    parser.add_argument("--train_size", type=int, default=256, help="images of the step (default %(default)s); 0: no "
                        "training step")
    parser.add_argument("--batch", type=int, default=2, help="batch size of the step (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="rounds (default %(default)s)")
    arguments = parser.parse_args(argv)
    for preset in arguments.presets:
        find_config(preset)
    prepare_environment()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as work:
        if arguments.size:
            rows += rows_of(f"image of {arguments.size} x {arguments.size}, onnxruntime",
                            inference(arguments.presets, arguments.size, Path(work)), arguments.repeats)
        if arguments.train_size:
            size, batch = arguments.train_size, arguments.batch
            steps = {preset: StepProcess(serve_ours, Case(preset, size, batch), None) for preset in arguments.presets}
            rows += rows_of(f"training step, {batch} x {size} x {size}", steps, arguments.repeats)
            for step in steps.values():
                step.end()
    print(markdown(describe_machine(), {"presets": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
