"""The settings of a training that are compared, the order in which they are measured, and the choice of the best."""
from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from centernet.run_files import METRICS
from centernet.training.metrics_file import read_metrics

STEPS = 30
LEFT_OUT = 3     # first steps that do not count for the speed
FEWEST = 8       # steps that a setting needs to be recommended
MOST_OFF = 0.02  # largest allowed difference of the mean loss from float32
MOST_SKIPPED = 0.2  # largest allowed share of steps that were skipped because of an overflow


class Setting(NamedTuple):
    """A value of each factor."""

    jit_level: str
    amp: str
    deform_op: str
    heatmap: str

    def __str__(self) -> str:
        return " ".join(self)

    def flags(self) -> list[str]:
        """Return the flags of train.py."""
        level, kind = ("O0", "float16") if self.amp == "float32" else ("O2", self.amp)
        return ["--jit_level", self.jit_level, "--train_config.amp_level", level, "--train_config.amp_type", kind,
                "--net_config.deform_op", self.deform_op,
                "--dataset_config.heatmap_on_device", str(self.heatmap == "device").lower()]


BASE = {"Ascend": Setting("auto", "float32", "gather", "device"), "CPU": Setting("auto", "float32", "native", "device")}
VALUES = {"jit_level": ("auto", "O0", "O1", "O2"), "amp": ("float32", "float16", "bfloat16"),
          "deform_op": ("gather", "native"), "heatmap": ("device", "host")}
# What is changed alone, the most informative first.
SINGLE = (("amp", "float16"), ("jit_level", "O2"), ("deform_op", "native"), ("deform_op", "gather"),
          ("jit_level", "O1"), ("amp", "bfloat16"), ("heatmap", "host"), ("jit_level", "O0"))


@dataclass(frozen=True)
class Measured:
    """What a training of a setting has shown.

    Attributes:
        speed: images/s, the median over the steps; 0 if no step was measured.
        losses: those of the steps.
        skipped: number of steps that were skipped after an overflow.
        first_step: seconds of the first step, with compilation; 0 if it has not ended.
    """

    speed: float
    losses: tuple[float, ...]
    skipped: int
    first_step: float


def next_setting(measured: Mapping[Setting, Measured], device_target: str) -> Setting | None:
    """Return the setting to measure next; None if all are measured.

    The default comes first, then one changed value at a time. Then come the combinations, the one with the highest
    expected speed first: each value is expected to change the speed as it did alone. Combinations with a value that
    failed alone come last.
    """
    base = BASE[device_target]
    alone = [base, *(base._replace(**{factor: value}) for factor, value in SINGLE)]
    left = [setting for setting in possible(device_target) if setting not in measured]
    first = next((setting for setting in alone if setting in left), None)
    return first or max(left, key=lambda setting: expected(setting, measured, base), default=None)


def possible(device_target: str) -> list[Setting]:
    """Return all settings that a device can run: a CPU has no convolutions in bfloat16."""
    return [setting for setting in itertools.starmap(Setting, itertools.product(*VALUES.values()))
            if device_target != "CPU" or setting.amp != "bfloat16"]


def expected(setting: Setting, measured: Mapping[Setting, Measured], base: Setting) -> float:
    """Return the expected speed as a multiple of that of the base."""
    def speed(one: Setting) -> float:
        return measured[one].speed if one in measured else 0.0
    changed = [base._replace(**{factor: value}) for factor, value, default in zip(base._fields, setting, base)
               if value != default]
    return math.prod(speed(one) / speed(base) if speed(base) else float(speed(one) > 0) for one in changed)


def deviation(one: Measured, base: Measured) -> float:
    """Return by which fraction the mean loss differs from that of the base, over the steps that both have."""
    count = min(len(one.losses), len(base.losses))
    mean, other = (statistics.fmean(each.losses[:count]) if count else math.nan for each in (one, base))
    return mean / other - 1 if other else math.nan


def recommended(measured: Mapping[Setting, Measured], base: Setting) -> Setting | None:
    """Return the fastest setting whose losses are those of the base; None if there is none, or no base with results."""
    if base not in measured or len(measured[base].losses) < FEWEST:
        return None
    fit = [setting for setting, one in measured.items()
           if len(one.losses) >= FEWEST and one.speed > 0 and abs(deviation(one, measured[base])) <= MOST_OFF
           and one.skipped <= MOST_SKIPPED * len(one.losses)]
    return max(fit, key=lambda setting: measured[setting].speed, default=None)


def read_training(folder: Path, log: str) -> Measured:
    """Read the results of a training from its log and from metrics.jsonl in its folder of results."""
    return measure([row for row in read_metrics(folder / METRICS) if row["kind"] == "step"], log)


def measure(rows: Sequence[Mapping[str, Any]], log: str) -> Measured:
    """Return the results of a training.

    Args:
        rows: the steps of metrics.jsonl.
        log: the training's log.
    """
    speeds = [row["images_per_second"] for row in rows[LEFT_OUT:] if row["images_per_second"]]
    found = re.search(r"first step \(with compilation\) took ([\d.]+) s", log)
    losses = tuple(math.nan if row["loss"] is None else row["loss"] for row in rows)
    return Measured(statistics.median(speeds) if speeds else 0.0, losses, sum(bool(row["overflow"]) for row in rows),
                    float(found[1]) if found else 0.0)
