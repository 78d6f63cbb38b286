"""Training step on CPU, compared with PyTorch for the same network, weights and batch; and that of the default network.

python -m benchmarks.training_step [--size 256] [--batch 2] [--repeats 5]
python -m benchmarks.training_step --config benchmarks/rows/bccd_res18.yaml --size 256 --batch 8
"""
from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.measure import Options, PeakMemory, Row, median, median_ratio, not_installed, paired
from benchmarks.report import markdown
from centernet.categories import categories_from_names
from centernet.config.load import PRESETS, Config, load_config
from centernet.config.schema import NetConfig
from centernet.device import prepare_environment
from centernet.errors import UserError, reports_errors

if TYPE_CHECKING:  # only the processes that measure MindSpore import it
    from mindspore import nn

    from centernet.training.optimization.step import TrainStep

PLAIN = PRESETS / "resnet50_plain.yaml"
CLASSES = 80
STEPS_PER_EPOCH = 1000
OBJECTS = 7  # objects of an image, as the mean of COCO
DEFORMABLE = "ResNet-50 deformable (default)"


@dataclass(frozen=True)
class Case:
    """A training step: batch size `batch`, images of size x size pixels; preset "" is the default network."""

    preset: str
    size: int
    batch: int


class StepProcess:
    """A process with a compiled training step. While one process runs, the threads of the others wait.

    Attributes:
        first_seconds: time of the first step, including compilation.
        losses: losses of the first step: total, hm, wh, off.
    """

    def __init__(self, serve: Callable[[Connection, Case, Any], None], case: Case, weights: Path | None):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, case, weights), daemon=True)
        self.process.start()
        theirs.close()
        self.first_seconds, self.losses = self._receive()

    def __call__(self) -> None:
        """Run one step."""
        self.pipe.send(True)
        self._receive()

    def peak_memory(self) -> float:
        """Return the peak memory of the process in MiB during one more step."""
        with PeakMemory(self.process.pid) as memory:
            self()
        return memory.mib

    def _receive(self) -> Any:
        try:
            return self.pipe.recv()
        except EOFError as error:
            raise UserError("a process of the training step ended early: see its messages above. If there are none, it "
                            "was killed. Is there too little memory?") from error

    def end(self) -> None:
        """Let the process end."""
        self.pipe.send(False)
        self.process.join()


def answer(pipe: Connection, step: Callable[[], list[float]]) -> None:
    """Run the first step and send its seconds and losses. Then run one step for every True."""
    start = time.perf_counter()
    losses = step()
    pipe.send((time.perf_counter() - start, losses))
    while pipe.recv():
        pipe.send(step())


def serve_ours(pipe: Connection, case: Case, weights: Path | None) -> None:
    """Serve the step of train.py. Write the initial weights with the names of the paper's code to a file."""
    prepare_environment()
    from mindspore import Tensor

    from centernet.device import set_up_device

    flags = ["--config_path", case.preset] if case.preset else []
    config = load_config("train", [*flags, "--device_target", "CPU"], "")
    set_up_device("CPU", 0, 1)
    step_cell = build_step(config)
    if weights:
        write_weights(step_cell.loss_network.network, config.net_config, weights)
    batch = draw_batch(case)
    answer(pipe, lambda: step_cell(*map(Tensor, batch))[0].asnumpy().tolist()[:4])


def build_step(config: Config) -> TrainStep:
    """Build TrainStep as train.py does for one device."""
    from centernet.training import setup

    plan = setup.make_plan(config, STEPS_PER_EPOCH, STEPS_PER_EPOCH * config.train_config.step_images, 1)
    return setup.build_step(config, categories_from_names(config.dataset_config.coco_classes), plan, 1)


def write_weights(network: nn.Cell, net: NetConfig, path: Path) -> None:
    """Write all weights of a network with the names of the paper's code to an .npz."""
    from centernet.weights.name_maps import source_names, to_their_layout

    ours = {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}
    np.savez(path, **{theirs: to_their_layout(name, ours[name])
                      for name, theirs in source_names("official", net, ours).items()})


def draw_batch(case: Case) -> list[np.ndarray]:
    """Return a batch with random pixels and boxes in the form of data.pipeline, see its COLUMNS."""
    from centernet.data.augment import unchanged_colors
    from centernet.data.targets import encode

    random = np.random.default_rng(0)
    cells, targets = case.size // 4, []
    for _ in range(case.batch):
        start = random.uniform(0, 0.7 * cells, (OBJECTS, 2))
        boxes = np.hstack([start, start + random.uniform(0.05 * cells, 0.3 * cells, (OBJECTS, 2))])
        targets.append(encode(boxes.astype(np.float32), random.integers(0, CLASSES, OBJECTS, np.int32),
                              (cells, cells), 128))
    image = random.integers(0, 256, (case.batch, case.size, case.size, 3), np.uint8)
    columns = {name: np.stack([getattr(target, name) for target in targets]) for name in targets[0]._fields}
    colors = np.stack([unchanged_colors()] * case.batch)
    return [image, colors, *(columns[name] for name in ("cls", "radius", "ind", "wh", "reg", "reg_mask"))]


def serve_torch(pipe: Connection, case: Case, weights: Path) -> None:
    """Serve the step of the paper's code. It gets normalised images and heatmaps, which our step computes itself."""
    os.environ.pop("ONEDNN_MAX_CPU_ISA", None)  # necessary for MindSpore, but it would slow down PyTorch
    from benchmarks.torch_centernet import TorchStep
    from centernet.data.targets import draw_heatmap

    config = load_config("train", ["--config_path", case.preset], "")
    data, net = config.dataset_config, config.net_config
    image, _, cls, radius, ind, wh, reg, reg_mask = draw_batch(case)
    cells = case.size // 4
    hm = np.stack([draw_heatmap(*columns, CLASSES, cells, cells) for columns in zip(cls, radius, ind, reg_mask)])
    normal = ((image / 255 - np.array(data.mean)) / np.array(data.std)).transpose(0, 3, 1, 2)
    batch = {"image": np.ascontiguousarray(normal, np.float32), "hm": hm, "wh": wh, "reg": reg,
             "mask": reg_mask[..., None].astype(np.float32), "ind": ind.astype(np.int64)}
    answer(pipe, TorchStep(dict(np.load(weights)), batch, {"backbone": net.backbone, "classes": CLASSES,
                                                           "filters": net.neck_filters, "head_conv": net.head_conv}))


def measure(options: Options, size: int = 512, batch: int = 2, preset: str = str(PLAIN)) -> list[Row]:
    """Return rows about time and memory of the steps. The first steps, with compilation, are reported separately.

    Raises:
        UserError: a step could not be built, or its process was killed.
    """
    ours = plain_name(preset)
    theirs = f"PyTorch, {ours}"
    steps = start_processes(Case(preset, size, batch), options.work / "weights.npz", (ours, theirs))
    seconds = paired(steps, options.repeats)
    rows = []
    for name, step in steps.items():
        row = Row(f"{name}, {batch} x {size} x {size}", median(seconds[name]), "s",
                  note=f"{step.peak_memory():.0f} MiB; first step {step.first_seconds:.1f} s")
        if name == ours and theirs in steps:
            ratio = median_ratio(seconds, ours, theirs)
            row = replace(row, ratio=ratio, to=theirs, target="no slower than PyTorch", met=ratio <= 1,
                          note=f"{row.note}; {compared(step.losses, steps[theirs].losses)}")
        rows.append(row)
        step.end()
    return rows if theirs in steps else [*rows, not_installed(theirs, "s", "torch")]


def plain_name(preset: str) -> str:
    """Return the name of the network in the report. Raise UserError if PyTorch's side does not have the network."""
    net = load_config("train", ["--config_path", preset], "").net_config
    names = {("resnet18", "none"): "ResNet-18 plain", ("resnet50", "none"): "ResNet-50 plain"}
    if (net.backbone, net.neck) not in names:
        raise UserError(f"--config {preset}: {net.backbone} with neck {net.neck} cannot be compared, only resnet18 and "
                        "resnet50 with neck none")
    return names[net.backbone, net.neck]


def start_processes(case: Case, weights: Path, names: tuple[str, str]) -> dict[str, StepProcess]:
    """Start the compiled steps to compare, named (ours, PyTorch's); that of PyTorch only if it is installed.

    The step of the default network is a third one, unless another preset than PLAIN is measured.
    """
    steps = {names[0]: StepProcess(serve_ours, case, weights)}
    if case.preset == str(PLAIN):
        steps[DEFORMABLE] = StepProcess(serve_ours, replace(case, preset=""), None)
    if importlib.util.find_spec("torch"):
        steps[names[1]] = StepProcess(serve_torch, case, weights)
    return steps


def compared(ours: list[float], theirs: list[float]) -> str:
    """Return a note about the difference of the first steps' losses: a check that both do the same work."""
    error = max(abs(mine / other - 1) for mine, other in zip(ours, theirs))
    return f"losses of the first step differ by {error:.1e}"


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Measure, print the rows and return the exit status: 0, or 2 after a UserError."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(PLAIN), help="preset or YAML file of a ResNet-18 or ResNet-50 "
                        "with neck none (default: resnet50_plain, and the default network)")
    parser.add_argument("--size", type=int, default=512, help="height and width of the images (default %(default)s)")
    parser.add_argument("--batch", type=int, default=2, help="batch size (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default %(default)s)")
    arguments = parser.parse_args(argv)
    prepare_environment()
    with tempfile.TemporaryDirectory() as work:
        rows = measure(Options(None, arguments.repeats, Path(work)), arguments.size, arguments.batch,
                       arguments.config)
    print(markdown(describe_machine(), {"training_step": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
