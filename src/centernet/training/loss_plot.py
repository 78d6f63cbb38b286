"""loss.png: weighted losses, AP and learning rate over the steps, drawn from metrics.jsonl."""
from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from centernet.errors import UserError
from centernet.files import replacing
from centernet.plots import new_figure
from centernet.run_files import METRICS, PLOT
from centernet.training.metrics_file import read_metrics

LOG = logging.getLogger("centernet")
TERMS = ("hm", "wh", "off")
FIRST = 30.0  # seconds of training before the first plot: short trainings only have that of their end
SHARE = 20.0  # the pause between two plots, in times of drawing: at most 5 % of the time goes into plots


class LossPlot:
    """Draws loss.png anew while the training runs, at ends of epochs.

    Args:
        folder: folder of metrics.jsonl and loss.png.
        weights: weight of each loss term in the total: "hm", "wh", "off".
    """

    def __init__(self, folder: Path, weights: Mapping[str, float]):
        self.folder, self.weights = folder, weights
        self.due = time.monotonic() + FIRST

    def add(self, row: dict[str, Any]) -> None:
        """Draw if an epoch or an evaluation has ended, and the last plot is long enough ago."""
        if row["kind"] == "step" or time.monotonic() < self.due:
            return
        started = time.monotonic()
        self.draw()
        self.due = time.monotonic() + max(FIRST, SHARE * (time.monotonic() - started))

    def draw(self) -> None:
        """Write loss.png. A full disk or a lost folder must not change how a training ends."""
        picture = self.folder / PLOT
        try:
            plot_losses(self.folder / METRICS, picture, self.weights)
        except (OSError, UserError) as error:
            LOG.warning("warning: cannot write %s: %s", picture, getattr(error, "strerror", None) or error)

    def close(self) -> None:
        """Write the last plot."""
        self.draw()


def plot_losses(metrics: Path, picture: Path, weights: Mapping[str, float]) -> None:
    """Plot a metrics.jsonl: losses and their weighted terms, AP, learning rate. Without steps, do nothing.

    Thin lines are the values of single steps, thick ones are smoothed. The file is replaced completely or not at all.

    Raises:
        OSError: the file cannot be written.
        UserError: metrics.jsonl cannot be read.
    """
    rows = read_metrics(metrics)
    steps = [row for row in rows if row["kind"] == "step"]
    tested = [row for row in rows if row["kind"] == "evaluation"]
    if not steps:
        return
    figure = new_figure(9, 7.5 if tested else 6)
    axes = figure.subplots(3 if tested else 2, 1, sharex=True, height_ratios=(3, 1.2, 1) if tested else (3, 1))
    _draw_losses(axes[0], steps, weights)
    if tested:
        axes[1].plot([row["step"] for row in tested], [row["AP"] for row in tested], color="tab:green", marker="o",
                     markersize=3, clip_on=False)
        best = max(tested, key=lambda row: row["AP"])
        axes[1].set(ylabel="AP", ylim=(0, None))
        axes[1].set_title(f"best AP {best['AP']:.4f} after step {best['step']}", fontsize=9)
        axes[1].grid(alpha=0.3)
    axes[-1].plot([row["step"] for row in steps], [row["lr"] for row in steps], color="black", linewidth=1)
    axes[-1].set(xlabel="step", ylabel="learning rate", ylim=(0, None))
    with replacing(picture) as unfinished:
        figure.savefig(unfinished, dpi=100, format="png")


def _draw_losses(axes: Any, rows: Sequence[dict[str, Any]], weights: Mapping[str, float]) -> None:
    steps = np.array([row["step"] for row in rows])
    curves = {"total": _column(rows, "loss", 1.0)}
    for term in TERMS:
        values = _column(rows, f"{term}_loss", weights[term])
        if np.nansum(np.abs(values)) > 0:  # there is no off loss without a reg map
            factor = "" if weights[term] == 1 else f" x {weights[term]:g}"
            curves[f"{term}{factor}"] = values
    window = smoothing(len(rows))
    for label, values in curves.items():
        line = axes.plot(steps, smoothed(values, window), label=label, linewidth=1.8)[0]
        if window > 1:
            axes.plot(steps, values, color=line.get_color(), linewidth=0.6, alpha=0.25)
    found = np.concatenate(list(curves.values()))
    if np.nanmin(found, initial=np.inf) > 0:
        axes.set_yscale("log")
    axes.set_ylabel("loss")
    axes.legend(title=f"weighted terms; mean of {window} steps" if window > 1 else "weighted terms")
    axes.grid(alpha=0.3)


def _column(rows: Sequence[dict[str, Any]], key: str, factor: float) -> np.ndarray:
    """Return the values of a key, float64 (N,); NaN for values that were not finite."""
    return np.array([np.nan if row[key] is None else row[key] * factor for row in rows])


def smoothing(steps: int) -> int:
    """Return the width of the moving mean, in steps, for a number of steps: 1 up to 49, later 2 % of them."""
    return max(1, steps // 50) | 1 if steps >= 50 else 1


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of the `window` steps around each step, float64 (N,). NaN are left out; only NaN gives NaN."""
    half, count = window // 2, len(values)
    there = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(there, values, 0.0))])
    numbers = np.concatenate([[0], np.cumsum(there)])
    first, last = np.maximum(np.arange(count) - half, 0), np.minimum(np.arange(count) + half + 1, count)
    known = numbers[last] - numbers[first]
    return np.where(known > 0, (sums[last] - sums[first]) / np.maximum(known, 1), np.nan)
