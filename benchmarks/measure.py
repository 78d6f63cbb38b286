"""Measurement for benchmarks: alternating runs, medians, peak memory, and the row of a report."""
from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL = 0.02  # seconds between two measurements of the memory


@dataclass(frozen=True)
class Options:
    """Arguments of every benchmark."""

    data_dir: Path | None  # data set in COCO's layout; it exists if the benchmark needs it
    repeats: int           # number of rounds of every comparison
    work: Path             # an empty folder for this benchmark; it is removed afterwards


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    what: str
    value: float | None        # None: not measured, see the note
    unit: str                  # "s", "ms", "images/s", "MiB", ...
    ratio: float | None = None  # value / value of `to`, both from the same run
    to: str = ""
    target: str = ""           # as text, for example ">= 280 images/s"; "" if there is none
    met: bool | None = None    # the target is met; None without target or measurement
    note: str = ""


def not_installed(what: str, unit: str, package: str) -> Row:
    """Return the row of a measurement whose optional package is missing."""
    return Row(what, None, unit, note=f"{package} is not installed")


def paired(functions: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1,
           before: Callable[[], object] | None = None) -> dict[str, list[float]]:
    """Compare the times of functions: each runs once in every round, with the reverse order in every second round.

    So if the machine is slower for a while, this affects all functions, and the order has no effect.

    Args:
        functions: functions by name; their results are discarded.
        repeats: number of measured rounds.
        warm_up: number of rounds before, without measurement.
        before: called before every function, outside of its time.

    Returns:
        Seconds of each round by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(warm_up + repeats):
        for name in list(functions)[::1 if number % 2 == 0 else -1]:
            if before:
                before()
            start = time.perf_counter()
            functions[name]()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median(values: list[float]) -> float:
    """Return the median of the values."""
    return statistics.median(values)


def median_ratio(seconds: dict[str, list[float]], name: str, to: str) -> float:
    """Return the median over the rounds of paired() of seconds[name] / seconds[to]."""
    return statistics.median(mine / other for mine, other in zip(seconds[name], seconds[to]))


class PeakMemory:
    """Context manager that measures the resident memory of a process and its children. `mib` is the peak.

    Shared memory counts for each process, so the sum of several processes is an upper limit.
    """

    def __init__(self, pid: int | None = None):
        self.process = psutil.Process(pid)
        self.mib = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        total = 0
        try:
            for process in (self.process, *self.process.children(recursive=True)):
                total += process.memory_info().rss
        except psutil.NoSuchProcess:  # it has ended in the meantime
            pass
        self.mib = max(self.mib, total / 2**20)
