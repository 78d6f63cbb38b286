"""Results of the benchmarks as JSON and as Markdown tables."""
from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from benchmarks.measure import Row


def write_report(folder: Path, machine: dict[str, str], results: dict[str, list[Row]]) -> str:
    """Write results.json and results.md into folder. Return the Markdown text."""
    plain = {name: [dataclasses.asdict(row) for row in rows] for name, rows in results.items()}
    (folder / "results.json").write_text(json.dumps({"machine": machine, "benchmarks": plain}, indent=1) + "\n",
                                         encoding="utf-8")
    text = markdown(machine, results)
    (folder / "results.md").write_text(text, encoding="utf-8")
    return text


def markdown(machine: dict[str, str], results: dict[str, list[Row]]) -> str:
    """Return the machine in one line, and a table for each benchmark."""
    lines = [", ".join(f"{name}: {value}" for name, value in machine.items()), ""]
    for name, rows in results.items():
        lines += [f"## {name}", "", "| what | measured | ratio | target | met | note |", "|---|---|---|---|---|---|"]
        lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    measured = "not measured" if row.value is None else f"{shown(row.value)} {row.unit}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} of {row.to}"
    met = {None: "", True: "yes", False: "no"}[row.met]
    return [cell.replace("|", "\\|") for cell in (row.what, measured, ratio, row.target, met, row.note)]


def shown(value: float) -> str:
    """Return a number with three significant digits, without exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
