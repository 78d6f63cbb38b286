"""The parts of the first day: which commands they run, and their shares of the time."""
from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from centernet.files import read_json
from tools.first_day.golden import MODES
from tools.first_day.settings import BASE, STEPS, Measured, Setting, next_setting, read_training
from tools.first_day.task import FAILED, PASSED, SKIPPED, Outcome, Task

ROOT = Path(__file__).resolve().parents[2]


class Size(NamedTuple):
    """Flags of the network (all commands), of training alone, numbers of images (training, evaluation), input size."""

    network: tuple[str, ...]
    training: tuple[str, ...]
    images: tuple[str, str]
    pixels: tuple[str, str]


SIZES = {
    "full": Size((), (), ("1024", "64"), ("512", "512")),
    "small": Size(("--net_config.backbone", "resnet18", "--net_config.block_class", "1", "1", "1", "1",
                   "--net_config.neck_filters", "32", "16", "16", "--net_config.head_conv", "16",
                   "--dataset_config.input_res_train", "96", "96", "--dataset_config.input_res_test", "96", "96"),
                  ("--train_config.batch_size", "4"), ("64", "8"), ("96", "96")),
}
WARM_UP = ("--train_config.MultiDecay.warmup_steps", "10")  # with the default's 2000, the losses would hardly change
STEPS_OF_GROUP = 10
DRY_STEPS = 2


@dataclass
class Day:
    """What the user wants, and what came of it so far.

    Attributes:
        device_target: Ascend or CPU.
        device_id: number of the device, for parts that use one.
        devices: number of devices that this process sees; 0 on a CPU.
        size: a key of SIZES.
        data: the user's data set; "" for generated images.
        dry_run: compile for Ascend, compute nothing.
        out: folder of the report.
        outcomes: those of all tasks so far.
    """

    device_target: str
    device_id: int
    devices: int
    size: str
    data: str
    dry_run: bool
    out: Path
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def device(self) -> tuple[str, ...]:
        """The flags that choose the device."""
        return ("--device_target", self.device_target, "--device_id", str(self.device_id))

    @property
    def scale(self) -> Size:
        """The size of networks, images and data."""
        return SIZES[self.size]

    @property
    def training(self) -> tuple[str, ...]:
        """The flags of a training's network and size, without the device."""
        return (*self.scale.network, *self.scale.training)

    @property
    def work(self) -> Path:
        """The folder of images, shards and the checkpoint."""
        return self.out / "work"

    def folder(self, part: str, name: str) -> Path:
        """Return the folder of a task."""
        return self.out / part / re.sub(r"[^\w.-]+", "_", name)

    def passed(self, part: str, name: str) -> bool:
        """Return whether a task has passed."""
        return any((one.part, one.name, one.status) == (part, name, PASSED) for one in self.outcomes)


def tool(name: str, *words: str) -> tuple[str, ...]:
    """Return the words of a command of this package."""
    return (sys.executable, "-m", f"tools.first_day.{name}", *words)


def entry(name: str, *words: str) -> tuple[str, ...]:
    """Return the words of train.py, eval.py or export.py."""
    return (sys.executable, str(ROOT / name), *words)


def read_result(folder: Path, _: str) -> dict[str, Any]:
    """Read the JSON file that a command of this package writes with --out result.json."""
    path = folder / "result.json"
    return read_json(path) if path.exists() else {}


def environment_tasks(day: Day) -> Iterator[Task]:
    """Versions, and a sum on the device."""
    yield Task("environment", "versions", tool("environment", *day.device, "--out", "result.json"), read=read_result)


def prepare_tasks(day: Day) -> Iterator[Task]:
    """Images, shards and a checkpoint for the later parts."""
    source = ("--data", day.data) if day.data else ()
    yield Task("prepare", "data", tool("prepare", str(day.work), "--images", *day.scale.images, *source,
                                       *day.scale.network),
               on_host=True)


def golden_tasks(day: Day) -> Iterator[Task]:
    """The golden networks in each precision."""
    on_cpu = {"exact_fp32": "it changes nothing on a CPU", "bfloat16": "a CPU has no convolutions in bfloat16"}
    for mode in MODES:
        yield Task("golden", mode, tool("golden", *day.device, "--mode", mode, "--out", "result.json"),
                   on_cpu.get(mode, "") if day.device_target == "CPU" else "", read_result)


def operator_tasks(day: Day) -> Iterator[Task]:
    """Profiles of the training step."""
    for amp in ("float32", "float16"):
        flags = BASE[day.device_target]._replace(amp=amp).flags()
        yield Task("operators", amp, tool("operators", *day.device, "--out", "result.json", *day.training, *flags),
                   read=read_result)


def setting_tasks(day: Day) -> Iterator[Task]:
    """Short trainings; each choice of the next setting depends on the results so far."""
    if needs(day):
        yield Task("settings", "all", (), needs(day))
        return
    measured: dict[Setting, Measured] = {}
    steps = str(DRY_STEPS if day.dry_run else STEPS)
    while (setting := next_setting(measured, day.device_target)) is not None:
        yield Task("settings", str(setting),
                   entry("train.py", *day.device, *day.training, *WARM_UP, *setting.flags(), "--mindrecord_dir",
                         str(day.work / "shards"), "--train_steps", steps, "--enable_save_ckpt", "false",
                         "--save_result_dir", "results"),
                   "", lambda folder, log: asdict(read_training(folder / "results", log)))
        measured[setting] = measured_of(day.outcomes[-1], day.dry_run)


def measured_of(outcome: Outcome, dry_run: bool = False) -> Measured:
    """Return what a task of setting_tasks has measured; nothing if it failed. In a dry run all speeds are the same."""
    if outcome.status in (FAILED, SKIPPED) or not outcome.values:
        return Measured(0.0, (), 0, 0.0)
    values = outcome.values
    return Measured(1.0 if dry_run else values["speed"], tuple(values["losses"]), values["skipped"],
                    values["first_step"])


def group_tasks(day: Day) -> Iterator[Task]:
    """Trainings on 2 and on all devices; in a dry run, the compilation of the step of one of 2 and 8 devices."""
    if day.dry_run:
        for number in (2, 8):
            yield Task("devices", f"{number} devices", (sys.executable, "-m", "tools.dry_run_step", *day.device,
                                                        *day.training),
                       variables={"RANK_SIZE": str(number), "RANK_ID": "0"})
        return
    reason = "a CPU has no group of devices" if day.device_target == "CPU" else (
        f"this process sees {day.devices} device{'s' * (day.devices != 1)}" if day.devices < 2 else needs(day))
    for number in dict.fromkeys((2, max(day.devices, 2))):
        words = ("bash", str(ROOT / "scripts" / "run_distributed_train_ascend.sh"), str(day.work / "shards"),
                 "--foreground", "--log_root", ".", "--device_num", str(number), *day.training, "--train_steps",
                 str(STEPS_OF_GROUP), "--enable_save_ckpt", "false", "--save_result_dir", "results")
        yield Task("devices", f"{number} devices", words, reason,
                   lambda folder, log: asdict(read_training(folder / "results", log)))


def evaluation_tasks(day: Day) -> Iterator[Task]:
    """Evaluations at the images' own sizes and at one size."""
    for keep in ("true", "false"):
        yield Task("evaluation", f"keep_res {keep}",
                   entry("eval.py", *day.device, *day.scale.network, "--load_checkpoint_path",
                         str(day.work / "initial.ckpt"), "--data_dir", str(day.work / "coco"), "--save_result_dir",
                         "results", "--eval_config.keep_res", keep), needs(day), read_evaluation)


def read_evaluation(_: Path, log: str) -> dict[str, Any]:
    """Read speed and compilations from the log of eval.py."""
    speeds = re.findall(r"processed \d+ of \d+ images, ([\d.]+) images/s", log)
    sizes = re.search(r"input sizes compiled: (\d+), with their first runs ([\d.]+) s", log)
    return {"speed": float(speeds[-1]) if speeds else 0.0, "sizes": int(sizes[1]) if sizes else 0,
            "first_runs": float(sizes[2]) if sizes else 0.0}


def export_tasks(day: Day) -> Iterator[Task]:
    """Exports with both forms of deformable layers, and the C++ program on the validation images."""
    checkpoint = ("--export_load_ckpt", str(day.work / "initial.ckpt"))
    for form in ("gather", "native"):
        yield Task("export", form, entry("export.py", *day.device, *day.scale.network, *checkpoint, "--export_name",
                                         "model", "--export_deform", form, "--input_res", *day.scale.pixels),
                   needs(day), read_export)
    on_cpu = day.device_target == "CPU"
    model = day.work / "initial.ckpt" if on_cpu else day.folder("export", "gather") / "model.mindir"
    yield Task("export", "C++ program",
               ("bash", str(ROOT / "scripts" / "run_infer_310.sh"), str(model), str(day.work / "coco"), "y",
                str(day.device_id), "CPU" if on_cpu else "ASCEND"), chain_reason(day, os.environ),
               read_chain, variables={"EXPORT_FLAGS": " ".join(("--export_deform gather", *day.scale.network,
                                                                "--input_res", *day.scale.pixels))})


def chain_reason(day: Day, environment: Any) -> str:
    """Return why the C++ program cannot run; "" if it can."""
    if day.dry_run:
        return "a dry run has no MindSpore Lite"
    if not environment.get("MS_LITE_HOME") and not environment.get("LITE_HOME"):
        return "MS_LITE_HOME is not set: see docs/deployment.md"
    if day.device_target == "CPU" and not environment.get("CENTERNET_LITE"):
        return "CENTERNET_LITE is not set: on a CPU, MindSpore 2.0 writes the model (scripts/export_mindir_lite20.sh)"
    if day.device_target != "CPU" and not day.passed("export", "gather"):
        return "there is no exported model: the export with gathers did not pass"
    return needs(day)


def read_export(_: Path, log: str) -> dict[str, Any]:
    """Read the error against the checkpoint from the log of export.py."""
    found = re.search(r"max error against the checkpoint: (\S+)", log)
    return {"error": found[1]} if found else {}


def read_chain(_: Path, log: str) -> dict[str, Any]:
    """Read the time of an image from the output of run_infer_310.sh."""
    found = re.search(r"average time: ([\d.]+) ms", log)
    return {"ms": float(found[1])} if found else {}


def needs(day: Day) -> str:
    """Return why a task that needs the prepared data cannot run; "" if it can."""
    return "" if day.passed("prepare", "data") else "images, shards and checkpoint could not be prepared"


class Part(NamedTuple):
    """A part: its name and title, its share of the time, the largest fraction of it for one command, and its tasks."""

    name: str
    title: str
    share: float
    each: float
    tasks: Callable[[Day], Iterator[Task]]


PARTS = (
    Part("environment", "Environment and versions", 3, 1.0, environment_tasks),
    Part("prepare", "Images, shards and a checkpoint", 7, 1.0, prepare_tasks),
    Part("golden", "Golden networks", 25, 0.55, golden_tasks),
    Part("operators", "Operators of the training step", 10, 0.6, operator_tasks),
    Part("settings", "Settings of the training", 31, 0.34, setting_tasks),
    Part("devices", "Several devices", 9, 0.6, group_tasks),
    Part("evaluation", "Evaluation", 8, 0.6, evaluation_tasks),
    Part("export", "Export and the C++ program", 7, 0.6, export_tasks),
)


def seconds_of(part: Part, later: Sequence[Part], left: float) -> float:
    """Return the seconds for a part: its share of what is left for it and the later parts."""
    return max(left, 0.0) * part.share / (part.share + sum(other.share for other in later))
