"""How the benchmarks measure: pairs within one run, medians, peak memory; and the row that they report."""
from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL = 0.02  # seconds between two looks at the memory


@dataclass(frozen=True)
class Options:
    """What run.py hands to every benchmark."""

    data_dir: Path | None  # COCO layout; checked to be there for the benchmarks that need it
    repeats: int           # pairs of every comparison
    work: Path             # an empty folder of the benchmark's own, removed afterwards


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    what: str
    value: float | None        # None: not measured, the note says why
    unit: str                  # "s", "ms", "images/s", "MiB", ...
    ratio: float | None = None  # of value to that of `to`, both from the same run
    to: str = ""
    target: str = ""           # in words, e.g. ">= 280 images/s"; "" if there is none
    met: bool | None = None    # whether the target is met; None without target or measurement
    note: str = ""


def not_installed(what: str, unit: str, package: str) -> Row:
    """The row of something whose optional package is missing."""
    return Row(what, None, unit, note=f"{package} is not installed")


def paired(functions: dict[str, Callable[[], object]], repeats: int, warm_up: int = 1,
           before: Callable[[], object] | None = None) -> dict[str, list[float]]:
    """Time functions against each other: in every round each runs once, every other round in reverse order.

    So a machine that slows down for a while slows all of them, and none always runs after the same other.

    Args:
        functions: by name; what they return is dropped.
        repeats: rounds that count.
        warm_up: rounds before that do not.
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
    """The middle of the values."""
    return statistics.median(values)


def median_ratio(seconds: dict[str, list[float]], name: str, to: str) -> float:
    """Median over the rounds of paired() of name's seconds divided by to's."""
    return statistics.median(mine / other for mine, other in zip(seconds[name], seconds[to]))


class PeakMemory:
    """Context manager that watches the resident memory of a process and its children; `mib` is the largest seen.

    Memory that processes share counts in each of them, so for several processes it is an upper bound.
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
        except psutil.NoSuchProcess:  # ended meanwhile
            pass
        self.mib = max(self.mib, total / 2**20)
