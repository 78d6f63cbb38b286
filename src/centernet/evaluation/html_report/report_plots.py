"""The plots of a report and of a comparison. They have no text of users: names are in the page beside them.

So a name with a formula, a missing glyph or markup can neither break nor change a plot.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from centernet.detection.visualize import category_colors
from centernet.evaluation.html_report.curves import RECALLS
from centernet.plots import new_figure, to_svg

COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#4b5563")
GREY = "#c3c8d0"
RUN_COLORS = ("#1f77b4", "#ff7f0e")


def class_colors(classes: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Return the colour of each category that has a legend entry, by its position.

    Up to ten annotated categories have one each: that of all pictures with boxes. Of more, the five with the highest
    and the five with the lowest AP50 have one, and the others are grey: nobody can tell eighty colours apart.
    """
    annotated = [place for place, row in enumerate(classes) if row["curve"]]
    ranked = sorted(annotated, key=lambda place: -classes[place]["AP50"])
    if len(ranked) > len(COLORS):
        return dict(zip(ranked[:5] + ranked[-5:], COLORS))
    everywhere = category_colors(tuple(str(row["name"]) for row in classes))
    return {place: "#{2:02x}{1:02x}{0:02x}".format(*everywhere[place]) for place in ranked}


def precision_recall(numbers: Mapping[str, Any], colors: Mapping[int, str]) -> bytes | None:
    """Return an SVG: curves of the categories at IoU 0.5, and their mean at several IoUs. None without curves."""
    curves = [(place, row["curve"]) for place, row in enumerate(numbers["classes"]) if any(row["curve"] or ())]
    if not curves:
        return None
    figure = new_figure(11, 4.4)
    left, right = figure.subplots(1, 2, sharey=True)
    for place, curve in sorted(curves, key=lambda pair: pair[0] in colors):
        left.plot(RECALLS, curve, color=colors.get(place, GREY), linewidth=1.8 if place in colors else 0.8)
    shades = np.linspace(0.25, 1, len(numbers["curves"]["by_iou"]))
    for (iou, curve), shade in zip(reversed(numbers["curves"]["by_iou"].items()), shades):
        right.plot(RECALLS, curve, color=(0.12, 0.3, 0.65, shade), label=f"IoU {iou}: {np.mean(curve):.3f}")
    right.legend(title="mean AP", loc="lower left", fontsize=9)
    left.set(xlabel="recall", ylabel="precision", title="each category at IoU 0.50")
    right.set(xlabel="recall", title="mean of all categories")
    _frame((left, right), 1)
    return to_svg(figure)


def over_threshold(numbers: Mapping[str, Any]) -> bytes | None:
    """Return an SVG of precision, recall and F1 over the score threshold; None if no detection is right."""
    curves = numbers["curves"]
    if not any(curves["recall"]):
        return None
    figure = new_figure(6.5, 3.8)
    axes = figure.subplots()
    x, precision, recall = (np.array(curves[key]) for key in ("thresholds", "precision", "recall"))
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    for values, label, color in ((precision, "precision", COLORS[0]), (recall, "recall", COLORS[1]),
                                 (f1, "F1", COLORS[2])):
        axes.plot(x, values, label=label, color=color)
    axes.axvline(numbers["threshold"], color="#4b5563", linestyle="--", linewidth=1)
    axes.annotate(f"best F1 at {numbers['threshold']:.2f}", (numbers["threshold"], 1.0), xytext=(5, 1),
                  textcoords="offset points", fontsize=9, color="#4b5563")
    axes.legend(loc="center right", fontsize=9)
    axes.set(xlabel="score threshold")
    _frame((axes,), 1)
    return to_svg(figure)


def training_curves(losses: Sequence[Sequence[tuple[float, float]]],
                    precisions: Sequence[Sequence[tuple[float, float]]]) -> bytes | None:
    """Return an SVG of the losses (epoch, mean) and the AP (epoch, AP) of runs A and B; None if there are none."""
    panels = [(rows, title) for rows, title in ((losses, "loss (mean of each epoch)"), (precisions, "AP in training"))
              if any(rows)]
    if not panels:
        return None
    figure = new_figure(5.5 * len(panels), 3.8)
    for axes, (rows, title) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        for points, name, color in zip(rows, "AB", RUN_COLORS):
            if points:
                axes.plot(*zip(*points), label=name, color=color, marker="o" if len(points) < 60 else None,
                          markersize=3)
        axes.set(xlabel="epoch", title=title)
        axes.legend()
        axes.grid(alpha=0.3)
    return to_svg(figure)


def _frame(axes: Sequence[Any], limit: float) -> None:
    for each in axes:
        each.set(xlim=(0, limit), ylim=(0, 1.05 * limit))
        each.grid(alpha=0.3)
