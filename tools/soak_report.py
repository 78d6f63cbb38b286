"""Verdict and plot of a soak (tools.soak)."""
from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

WARM_UP = 1  # windows that are not compared
LEAST = WARM_UP + 3
ROOM = 32.0  # MiB above and below the curves of memory, so that noise looks small and a leak does not


@dataclass(frozen=True)
class Window:
    """A part of the soak that ends with an evaluation.

    Attributes:
        step: steps since the start of the training.
        process: number of the process, from 1; a resumed training is the next one.
        seconds: wall-clock time of the window, including the start of a new process.
        rss_mib: resident memory at the end of the evaluation, MiB.
        peak_mib: largest resident memory in the window, MiB.
        threads, handles: largest number of threads and of open file handles in the window.
        cpu_seconds_per_step: CPU time of the whole window, with the evaluation, divided by its steps.
        steps_per_second: of the training alone, without the first step of a process.
    """

    step: int
    process: int
    seconds: float
    rss_mib: float
    peak_mib: float
    threads: int
    handles: int
    cpu_seconds_per_step: float
    steps_per_second: float

    def line(self) -> str:
        """Return the values as a line of text."""
        return (f"step {self.step:>6}  process {self.process:>3}  {self.seconds:>7.1f} s  {self.rss_mib:>7.1f} MiB  "
                f"peak {self.peak_mib:>7.1f} MiB  {self.threads:>3} threads  {self.handles:>3} handles  "
                f"{self.cpu_seconds_per_step:.3f} CPU s/step  {self.steps_per_second:>6.2f} steps/s")


@dataclass(frozen=True)
class Limits:
    """What the last third of the windows may differ from the first third, by their medians."""

    max_memory: float = field(default=16.0, metadata={"help": "largest growth of the largest resident memory, MiB"})
    max_threads: int = field(default=0, metadata={"help": "largest growth of the number of threads"})
    max_handles: int = field(default=0, metadata={"help": "largest growth of the number of open file handles"})
    max_cpu: float = field(default=0.2, metadata={"help": "largest growth of the CPU seconds of a step, as a share"})
    max_slowdown: float = field(default=0.5, metadata={
        "help": "largest loss of steps per second, as a share; other programs on the machine count, too"})


@dataclass(frozen=True)
class Check:
    """One line of the verdict: medians of the first and the last third; `change` is in `unit` and at most `limit`."""

    name: str
    first: float
    last: float
    change: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        """Return whether the change is within its limit."""
        return self.change <= self.limit


def thirds(windows: Sequence[Window]) -> tuple[Sequence[Window], Sequence[Window]]:
    """Return the first and the last third of at least LEAST windows, without the first window: it compiles."""
    rows = windows[WARM_UP:]
    return rows[:len(rows) // 3], rows[-(len(rows) // 3):]


def judge(windows: Sequence[Window], limits: Limits) -> list[Check]:
    """Compare the thirds of at least LEAST windows."""
    def medians(name: str) -> list[float]:
        return [statistics.median(float(getattr(window, name)) for window in third) for third in thirds(windows)]

    def growth(title: str, name: str, limit: float, unit: str) -> Check:
        first, last = medians(name)
        return Check(title, first, last, last - first, limit, unit)

    def share(title: str, name: str, limit: float, sign: int) -> Check:
        first, last = medians(name)
        return Check(title, first, last, 100 * sign * (last - first) / first if first else 0.0, 100 * limit, "%")

    return [growth("largest memory, MiB", "peak_mib", limits.max_memory, "MiB"),
            growth("threads", "threads", limits.max_threads, ""),
            growth("open file handles", "handles", limits.max_handles, ""),
            share("CPU seconds per step", "cpu_seconds_per_step", limits.max_cpu, 1),
            share("steps per second", "steps_per_second", limits.max_slowdown, -1)]


def report(windows: Sequence[Window], checks: Sequence[Check]) -> str:
    """Return the verdict as text."""
    third, processes = len(thirds(windows)[0]), windows[-1].process
    distance = len(windows) - WARM_UP - third  # windows between the middles of the two thirds
    lines = [f"{windows[-1].step} steps, {len(windows)} evaluations, {processes} process{'es' * (processes > 1)}, "
             f"{sum(window.seconds for window in windows):.0f} s; medians of {third} windows after the first one, "
             f"and of the last {third}:",
             f"{'':<22}{'first':>10}{'last':>10}{'worse by':>14}{'limit':>14}"]
    lines += [f"{check.name:<22}{check.first:>10.4g}{check.last:>10.4g}{_with(check.change, check.unit):>14}"
              f"{_with(check.limit, check.unit):>14}{'' if check.met else '  EXCEEDED'}" for check in checks]
    lines += [f"memory per evaluation: {checks[0].change / distance:+.3f} MiB",
              "verdict: flat" if all(check.met for check in checks) else "verdict: NOT flat"]
    return "\n".join(lines) + "\n"


def _with(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".rstrip()


def draw(windows: Sequence[Window], path: Path) -> None:
    """Plot memory, threads and handles, and speed over the steps, into a PNG file."""
    # The import of matplotlib takes a second.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    memory, counts, speed = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 2))
    steps = [window.step for window in windows]

    def lines(axes, *series: tuple[str, str], room: float = 0.0) -> None:
        for label, name in series:
            axes.plot(steps, [getattr(window, name) for window in windows], label=label, marker=".", linewidth=1)
        axes.set_ylim(*((axes.dataLim.y0 - room, axes.dataLim.y1 + room) if room
                        else (0, 1.15 * axes.dataLim.y1 or 1)))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", fontsize=8)

    lines(memory, ("largest in the window", "peak_mib"), ("at the end of the evaluation", "rss_mib"),
          room=ROOM)
    memory.set_ylabel("resident memory, MiB")
    lines(counts, ("threads", "threads"), ("open file handles", "handles"))
    counts.set_ylabel("largest number")
    lines(speed, ("steps per second", "steps_per_second"))
    speed.set(xlabel="step", ylabel="steps per second")
    figure.savefig(path, dpi=80)
