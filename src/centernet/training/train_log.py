"""Training log: console lines, metrics.jsonl, progress bar, and what follows them (loss plot, trackers).

There are two forms of lines. That of the model zoo has a line for each step, and people grep it. That of a terminal is
a progress bar and one line for each epoch. With the second, the lines of the first still go to --log_file.
"""
from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from centernet.run_files import METRICS
from centernet.training.metrics_file import Metrics, read_metrics

LOG = logging.getLogger("centernet")
ONLY_IN_FILES, ONLY_ON_CONSOLE = {"only": "files"}, {"only": "console"}  # marks of log records, see cli/console.py


@dataclass(frozen=True)
class StepResult:
    """Numbers of one step. total is the weighted sum of the losses; rate is the learning rate."""

    total: float
    hm: float
    wh: float
    off: float
    overflow: bool
    scale: float
    rate: float

    @classmethod
    def of(cls, numbers: list[float]) -> StepResult:
        """Name the numbers that TrainStep returns."""
        total, hm, wh, off, overflow, scale, rate = numbers
        return cls(total, hm, wh, off, bool(overflow), scale, rate)

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> StepResult:
        """Read a row of metrics.jsonl, which has null for numbers that are not finite."""
        numbers = [row.get(name) for name in ("loss", "hm_loss", "wh_loss", "off_loss", "overflow", "scale", "lr")]
        return cls.of([math.nan if number is None else number for number in numbers])

    def text(self) -> str:
        """Return the outputs in the form of the model zoo's README."""
        return (f"(Tensor(shape=[], dtype=Float32, value= {self.total:.6g}), "
                f"Tensor(shape=[], dtype=Bool, value= {self.overflow}), "
                f"Tensor(shape=[], dtype=Float32, value= {self.scale:.6g}))")


class Follower(Protocol):
    """Something that gets each row of metrics.jsonl, such as the loss plot or a tracker. It raises no error."""

    def add(self, row: dict[str, Any]) -> None:
        """Take a row."""
        ...

    def close(self) -> None:
        """Write what is waiting."""
        ...


def has_epoch_lines(log_format: str) -> bool:
    """Return whether the console gets one line for each epoch, see --log_format."""
    return log_format == "epochs" or (log_format == "auto" and sys.stdout.isatty())


def duration(seconds: float) -> str:
    """Return a time as people write it: 0:07, 12:05, 3:00:09."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class TrainLog:
    """Log of one training. With folder None (all ranks but the first) it prints and writes nothing.

    Args:
        folder: folder of metrics.jsonl.
        steps_per_epoch: steps of an epoch.
        total_steps: last step of the training.
        images_per_step: global batch size.
        start_step: number of steps done before. Later steps in metrics.jsonl are removed, because they are repeated.
        repeats_evaluation: the evaluation after start_step will be repeated, too.
        epoch_lines: the console gets one line for each epoch instead of one for each step.
        weights: weights of the losses hm, wh and off in the total, for the lines of epochs.
        followers: they get each row of metrics.jsonl.
    """

    def __init__(self, folder: Path | None, steps_per_epoch: int, total_steps: int, images_per_step: int,
                 start_step: int = 0, repeats_evaluation: bool = False, *, epoch_lines: bool = False,
                 weights: tuple[float, float, float] = (1.0, 1.0, 1.0), followers: Sequence[Follower] = ()):
        self.active = folder is not None
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = total_steps
        self.images_per_step = images_per_step
        self.epoch_lines, self.weights, self.followers = epoch_lines, weights, followers
        self.line = ""  # of the last epoch: it waits for the AP
        self.place = (0, 0)  # epoch and step of the last step
        self.results: list[StepResult] = []  # of this epoch
        self.began, self.timed_steps = 0.0, 0  # end of the first step in this process (seconds), steps after it
        self.first_step: float | None = None  # seconds
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self.clock = time.perf_counter()
        self.bar = tqdm(total=total_steps, initial=start_step, unit="step", file=sys.stderr,
                        disable=None if self.active else True, dynamic_ncols=True)
        if folder is not None:
            path = folder / METRICS
            kept = start_step + (not repeats_evaluation)  # evaluations before this step
            earlier = [row for row in read_metrics(path) if row["step"] <= start_step
                       and (row["kind"] != "evaluation" or row["step"] < kept)] if start_step else []
            self.file = Metrics(path, earlier)
            began = start_step - start_step % steps_per_epoch  # the means of a resumed epoch include its earlier steps
            self.results = [StepResult.of_row(row) for row in earlier if row["kind"] == "step" and row["step"] > began]

    def start_clock(self) -> None:
        """Start the clock of the first step. Its time is reported separately."""
        self.clock = time.perf_counter()

    def step(self, epoch: int, step: int, result: StepResult) -> None:
        """Log a step. epoch counts from 0; step counts from 1 over the whole training."""
        self._say_epoch()
        now = time.perf_counter()
        seconds, self.clock = now - self.clock, now
        speed = None
        if self.first_step is None:
            self.first_step, self.began = seconds, now
            self._info(f"first step (with compilation) took {seconds:.1f} s")
        else:
            self.seconds.append(seconds)
            self.timed_steps += 1
            speed = self.images_per_step / seconds
        self.results.append(result)
        self.place = epoch, step
        percent = (step - 1) % self.steps_per_epoch + 1
        self._documented(f"epoch: {epoch}, current epoch percent: {percent / self.steps_per_epoch:.3f}, step: {step}, "
                         f"outputs are {result.text()}")
        self._write({"kind": "step", "epoch": epoch, "step": step, "loss": result.total, "hm_loss": result.hm,
                     "wh_loss": result.wh, "off_loss": result.off, "lr": result.rate, "scale": result.scale,
                     "overflow": result.overflow, "images_per_second": speed})
        self.bar.set_description_str(f"epoch {epoch + 1}/{self._epochs}", refresh=False)
        self.bar.set_postfix_str(f"loss {result.total:.4g}", refresh=False)
        self.bar.update()

    def epoch(self, epoch: int, step: int) -> None:
        """Log the end of an epoch. Its times do not include the first step of the run."""
        total, each = sum(self.seconds), sum(self.seconds) / max(len(self.seconds), 1)
        self._documented(f"epoch time: {total * 1000:.3f} ms, per step time: {each * 1000:.3f} ms")
        finite = [result.total for result in self.results if math.isfinite(result.total)]
        self._write({"kind": "epoch", "epoch": epoch, "step": step, "seconds": total, "seconds_per_step": each,
                     "images_per_second": self.images_per_step / each if each else None,
                     "loss": sum(finite) / len(finite) if finite else None})
        self.line = self._epoch_line(epoch, step, self.images_per_step / each if each else None)
        self.seconds, self.results = [], []
        self.start_clock()

    @property
    def _epochs(self) -> int:
        return -(-self.total_steps // self.steps_per_epoch)

    def _epoch_line(self, epoch: int, step: int, speed: float | None) -> str:
        """Return the line of an epoch: means of the weighted losses, learning rate, images/s, time left."""
        good = [result for result in self.results if math.isfinite(result.total)]
        mean = {name: sum(getattr(result, name) for result in good) / max(len(good), 1)
                for name in ("total", "hm", "wh", "off")}
        terms = ", ".join(f"{name} {weight * mean[name]:.4g}"
                          for name, weight in zip(("hm", "wh", "off"), self.weights) if mean[name])
        parts = [f"epoch {epoch + 1:>{len(str(self._epochs))}}/{self._epochs}",
                 f"loss {mean['total']:.4g} ({terms})" if good else "loss not finite"]
        if self.results:
            parts.append(f"lr {self.results[-1].rate:.3g}")
        if skipped := sum(result.overflow for result in self.results):
            parts.append(f"{skipped} of {len(self.results)} steps skipped")
        if speed:
            parts.append(f"{speed:.3g} images/s")
        if self.timed_steps and step < self.total_steps:
            each = (time.perf_counter() - self.began) / self.timed_steps  # with evaluations and checkpoints
            parts.append(f"{duration(each * (self.total_steps - step))} left")
        return "  ".join(parts)

    def _say_epoch(self, end: str = "") -> None:
        """Print the line of the last epoch, if it waits."""
        if self.active and self.epoch_lines and self.line:
            LOG.info("%s", self.line + end, extra=ONLY_ON_CONSOLE)
        self.line = ""

    def evaluation(self, epoch: int, step: int, average_precision: float, best: bool) -> None:
        """Log the AP (0..1) after an epoch."""
        self.line = self.line or f"epoch {epoch + 1}/{self._epochs}"  # a resumed run begins with an evaluation
        self._say_epoch(f"  AP {average_precision:.4f}{' (best so far)' if best else ''}")
        self._documented(f"epoch: {epoch}, AP: {average_precision:.4f}{' (best so far)' if best else ''}")
        self._write({"kind": "evaluation", "epoch": epoch, "step": step, "AP": average_precision, "best": best})
        self.start_clock()

    def stopped_early(self, epoch: int, waited: int, best: str, plain_from: int = -1) -> None:
        """Log why the training ends after an epoch.

        Args:
            epoch: the epoch, from 0.
            waited: number of evaluations without a higher AP.
            best: see CheckpointKeeper.describe_best.
            plain_from: first epoch without strong augmentation; -1: there is none.
        """
        self._info(f"epoch: {epoch}, the training ends early: the AP has not improved in {waited} evaluations "
                   f"(train_config.early_stop); {best}")
        if epoch < plain_from:
            self._info(f"note: the epochs without strong augmentation (dataset_config.plain_epochs), from epoch "
                       f"{plain_from} on, were not reached")

    def compilation(self, evaluation: Collection[float]) -> None:
        """Log the time of all first runs: of the step, and of each input size in evaluations (seconds)."""
        step, sizes = self.first_step or 0.0, sum(evaluation)
        self._info(f"first runs (with compilation) took {step + sizes:.1f} s in all: first step {step:.1f} s, "
                   f"{len(evaluation)} input sizes of evaluations {sizes:.1f} s")

    def close(self) -> None:
        """Close the progress bar, the file and the followers. All rows are already on disk."""
        self._say_epoch()
        if self.results and self.first_step is not None:  # the training ends within an epoch
            self.line = f"{self._epoch_line(*self.place, None)}  (a part of the epoch)"
            self._say_epoch()
        self.bar.close()
        if self.active:
            self.file.close()
            for follower in self.followers:
                follower.close()

    def _info(self, line: str) -> None:
        if self.active:
            LOG.info("%s", line)

    def _documented(self, line: str) -> None:
        """Log a line of the form that people grep."""
        if self.active:
            LOG.info("%s", line, extra=ONLY_IN_FILES if self.epoch_lines else None)

    def _write(self, row: dict[str, Any]) -> None:
        if self.active:
            self.file.write(row)
            for follower in self.followers:
                follower.add(row)
