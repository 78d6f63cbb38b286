"""Table and plot of benchmarks/real_data.py."""
from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from centernet.files import replacing, user_errors, write_text

PARTS = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "small": "AP_small", "medium": "AP_medium", "large": "AP_large"}
Results = list[dict[str, Any]]


def write_report(results: Results, order: list[str], folder: Path, title: str) -> str:
    """Write results.md and ap.png into a folder. Return the text.

    Args:
        results: lines of results.jsonl.
        order: names of the rows; the first one is the row that others are compared with.
        folder: the folder.
        title: first line of the text.
    """
    results = [result for result in results if result["row"] in order]
    text = table(results, order, title)
    write_text(folder / "results.md", text)
    if results:
        with user_errors(f"cannot write {folder / 'ap.png'}"), replacing(folder / "ap.png") as unfinished:
            plot(results, order, unfinished)
    return text


def grouped(results: Results, order: list[str]) -> dict[tuple[int, str], Results]:
    """Return the runs of each budget and row: by budget, then in the order of the rows."""
    groups: dict[tuple[int, str], Results] = {}
    for result in sorted(results, key=lambda one: (one["epochs"], order.index(one["row"]), one["seed"])):
        groups.setdefault((result["epochs"], result["row"]), []).append(result)
    return groups


def table(results: Results, order: list[str], title: str) -> str:
    """Return two Markdown tables: mean and spread of each row, and the AP of each seed. AP is in percent."""
    groups = grouped(results, order)
    lines = [title, "", "AP in percent: mean and standard deviation of the seeds. Difference: of the mean AP to the "
             f"first row ({order[0]}), and its standard error. Loss: mean of the last epoch. Seconds: of training.", "",
             f"| row | epochs | images seen | seeds | {' | '.join(PARTS)} | difference | loss | seconds |",
             "|---" * (len(PARTS) + 7) + "|"]
    for (epochs, row), runs in groups.items():
        cells = [spread([run["metrics"][key] for run in runs]) for key in PARTS.values()]
        loss = [run["loss"] for run in runs if run["loss"] is not None]
        lines.append("| " + " | ".join([
            row, str(epochs), str(runs[0]["images"]), str(len(runs)), *cells,
            difference(runs, groups.get((epochs, order[0]), [])) if row != order[0] else "",
            f"{statistics.mean(loss):.3f}" if loss else "-",
            f"{statistics.mean(run['seconds'] for run in runs):.0f}"]) + " |")
    lines += ["", "| row | epochs | seed: AP, AP50, AP75; loss |", "|---|---|---|"]
    for (epochs, row), runs in groups.items():
        seeds = [f"{run['seed']}: {', '.join(percent(run['metrics'][key]) for key in ('AP', 'AP50', 'AP75'))}; "
                 + ("-" if run["loss"] is None else f"{run['loss']:.3f}") for run in runs]
        lines.append(f"| {row} | {epochs} | {' / '.join(seeds)} |")
    return "\n".join(lines) + "\n"


def percent(value: float) -> str:
    """Return an AP of 0..1 in percent; COCO's -1 means that there are no such objects."""
    return "-" if value < 0 else f"{100 * value:.1f}"


def spread(values: list[float]) -> str:
    """Return mean and standard deviation in percent."""
    if min(values) < 0 or len(values) == 1:
        return percent(values[0])
    return f"{percent(statistics.mean(values))} ± {100 * statistics.stdev(values):.1f}"


def difference(runs: Results, first: Results) -> str:
    """Return the difference of the mean AP to that of other runs, in percent, with its standard error."""
    mine, other = ([run["metrics"]["AP"] for run in group] for group in (runs, first))
    if not other:
        return ""
    text = f"{100 * (statistics.mean(mine) - statistics.mean(other)):+.1f}"
    if min(len(mine), len(other)) > 1:
        error = sum(statistics.variance(group) / len(group) for group in (mine, other)) ** 0.5
        text += f" ± {100 * error:.1f}"
    return text


def plot(results: Results, order: list[str], path: Path) -> None:
    """Draw AP over images seen: a point for each run at its end, their mean with its spread, AP during trainings."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    colors = {row: f"C{number % 10}" for number, row in enumerate(order)}
    shown = [row for row in order if any(result["row"] == row for result in results)]
    for row in shown:
        ends = [(runs[0]["images"], [100 * run["metrics"]["AP"] for run in runs])
                for (_, name), runs in grouped(results, order).items() if name == row]
        axes.errorbar([images for images, _ in ends], [statistics.mean(values) for _, values in ends],
                      [statistics.stdev(values) if len(values) > 1 else 0 for _, values in ends],
                      color=colors[row], marker="o", capsize=4, label=row)
        for images, values in ends:
            axes.plot([images] * len(values), values, ".", color=colors[row], alpha=0.5)
    for result in results:
        if result["curve"]:
            axes.plot(*zip(*[(images, 100 * value) for images, value in result["curve"]]),
                      color=colors[result["row"]], linewidth=0.7, alpha=0.5)
    axes.set(xlabel="images seen", ylabel="AP (percent)")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100, format="png")
