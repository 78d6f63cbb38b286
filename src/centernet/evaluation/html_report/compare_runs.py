"""Comparison of two runs on one page: APs, differences of each category and size, settings, curves of the training."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from centernet.config.values import dotted
from centernet.errors import UserError, listed, printable, shown
from centernet.evaluation.html_report.compared_data import RunData, data_of, differences
from centernet.evaluation.html_report.error_types import TYPES
from centernet.evaluation.html_report.report_plots import RUN_COLORS, training_curves
from centernet.evaluation.html_report.sections import MEANINGS
from centernet.files import is_file, read_json, read_json_lines
from centernet.json_value import JsonValue
from centernet.markup import Html, decimal, element, note, page, plot, section, table
from centernet.program import program
from centernet.run_files import EVALUATION, METRICS, RECORD, REPORT

# Where the files of an evaluation are, from the folder that a user names: its own, or that of a training.
PLACES = ("", "val", "results/val", "results")
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Run:
    """What is known of a run; empty where its files do not tell it."""

    folder: Path
    numbers: dict[str, float] = field(default_factory=dict)             # COCO's twelve numbers
    classes: dict[str, tuple[float, float]] = field(default_factory=dict)  # category -> AP, AP50
    errors: dict[str, float] = field(default_factory=dict)              # type -> dAP
    settings: dict[str, Any] = field(default_factory=dict)              # dotted name -> value
    losses: Points = field(default_factory=list)                        # epoch from 1, mean loss
    precisions: Points = field(default_factory=list)                    # epoch from 1, AP
    data: RunData = RunData()


def read_run(folder: Path) -> Run:
    """Read metrics.json and report.json of one evaluation, run.json and metrics.jsonl of one training.

    Args:
        folder: the result folder of eval, or the folder of a training. An evaluation may be in its subfolder val.

    Raises:
        UserError: the folder has none of the files, or one of them has another form.
    """
    if not folder.is_dir():
        raise UserError(f"{printable(folder)} is not a folder: {_remedy()}")
    found = _found(folder, EVALUATION, REPORT) | _found(folder, RECORD, METRICS)
    if not (found[EVALUATION] or found[RECORD] or found[METRICS]):
        raise UserError(f"{printable(folder)} has no {EVALUATION}, {RECORD} or {METRICS}, also not in its subfolders "
                        f"{', '.join(PLACES[1:])}: {_remedy()}")
    metrics, report, record = (_open(found[name]) for name in (EVALUATION, REPORT, RECORD))
    starts = record["runs"].items() if record else []
    last = starts[-1] if starts else None
    numbers, classes = _read_evaluation(metrics)
    errors, settings = _read_report(report)
    losses, precisions = _read_training(found[METRICS])
    return Run(folder, numbers, classes, errors, _read_settings(last) | settings, losses, precisions,
               data_of(metrics, report, last))


def require_common(first: Run, second: Run) -> None:
    """Raise UserError if the folders have nothing that can be compared: no number of one has its like in the other."""
    pairs = ((first.settings, second.settings), (first.losses, second.losses), (first.precisions, second.precisions))
    same_kind = any(one and other for one, other in pairs)
    if not (same_kind or first.classes.keys() & second.classes.keys()):
        held = [f"{printable(run.folder)} has {_held(run)}" for run in (first, second)]
        raise UserError(f"nothing of these runs can be compared: {'; '.join(held)}. Evaluate both with "
                        f"`{program('eval')}` on the same data, or name two trainings")


def _remedy() -> str:
    return f"name a folder that {program('eval')} or {program('train')} has written"


def _held(run: Run) -> str:
    names = listed(list(map(printable, run.classes)), 5)
    held = [f"an evaluation of {names}"] * bool(names) + ["a training"] * bool(run.losses or run.precisions)
    return " and ".join(held) or "no evaluation and no finished epoch of a training"


def _found(folder: Path, *names: str) -> dict[str, Path | None]:
    """Return the paths of these files, None for missing ones, all from one place: they describe the same run.

    It is the first place that has the first file; if none has it, the first place that has the next one.
    """
    place = next((place for name in names for place in PLACES if is_file(folder / place / name)), "")
    return {name: path if is_file(path := folder / place / name) else None for name in names}


def _open(path: Path | None) -> JsonValue | None:
    return None if path is None else JsonValue(read_json(path), printable(path), _remedy())


def _read_evaluation(document: JsonValue | None) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    if document is None:
        return {}, {}
    return ({name: document[name].number() for name in MEANINGS},
            {row["name"].text(): (row["AP"].number(), row["AP50"].number()) for row in document["classes"].items()})


def _read_report(document: JsonValue | None) -> tuple[dict[str, float], dict[str, Any]]:
    if document is None:
        return {}, {}
    errors = document["errors"]
    return ({} if errors.value is None else {kind: errors["gains"][kind].number() for kind in TYPES},
            {name: row["value"].value for name, row in document["settings"].pairs()})


def _read_settings(start: JsonValue | None) -> dict[str, Any]:
    """Return the settings of a start in run.json, by dotted name."""
    return dotted({key: value.value for key, value in start["settings"].pairs()}) if start else {}


def _read_training(path: Path | None) -> tuple[Points, Points]:
    rows = [] if path is None else read_json_lines(path)[0]
    return _points(rows, "epoch", "loss"), _points(rows, "evaluation", "AP")


def _points(rows: Sequence[Mapping[str, Any]], kind: str, key: str) -> Points:
    pairs = [(row.get("epoch"), row.get(key)) for row in rows if row.get("kind") == kind]
    return [(epoch + 1.0, float(value)) for epoch, value in pairs
            if isinstance(epoch, int) and isinstance(value, (int, float)) and math.isfinite(value)]


def comparison_page(first: Run, second: Run) -> str:
    """Return the page that compares runs A and B."""
    names = [element("p", element("span", class_="key", style=f"background:{color}"), element("b", f"{letter}: "),
                     printable(run.folder)) for letter, run, color in zip("AB", (first, second), RUN_COLORS)]
    warnings = [element("p", element("b", "Warning: "), line, class_="worse")
                for line in differences(first.data, second.data)]
    return page("Comparison of two runs", [
        element("h1", "Comparison of two runs"), *names, *warnings, _numbers(first, second), _classes(first, second),
        _errors(first, second), _curves(first, second), _settings(first, second)])


def _numbers(first: Run, second: Run) -> Html:
    if not (first.numbers or second.numbers):
        return section("AP", element("p", f"Neither run has a {EVALUATION}: evaluate both with `{program('eval')}`."))
    rows = [[name, *_compared(first.numbers.get(name), second.numbers.get(name)),
             element("td", meaning, class_="text")] for name, meaning in MEANINGS.items()]
    return section("AP", table(("", "A", "B", "B - A", ""), rows), note(_missing(first, second)))


def _missing(first: Run, second: Run) -> str:
    lacking = [letter for letter, run in zip("AB", (first, second)) if not run.numbers]
    return f"Run {lacking[0]} has no {EVALUATION}: evaluate it with `{program('eval')}`." if lacking else \
        "Compare only evaluations of the same images. –: not known, or nothing annotated."


def _classes(first: Run, second: Run) -> Html:
    if not (first.classes or second.classes):
        return element("div")
    nothing = (None, None)
    rows = [[name, *_compared(first.classes.get(name, nothing)[0], second.classes.get(name, nothing)[0]),
             *_compared(first.classes.get(name, nothing)[1], second.classes.get(name, nothing)[1])]
            for name in dict.fromkeys([*first.classes, *second.classes])]
    return section("Categories", table(("category", "AP of A", "AP of B", "B - A", "AP50 of A", "AP50 of B", "B - A"),
                                       rows))


def _errors(first: Run, second: Run) -> Html:
    if not (first.errors and second.errors):
        return section("Errors by type", element("p", "Evaluate both runs with --report true to compare them."))
    rows = [[kind, *_compared(100 * first.errors[kind], 100 * second.errors[kind], 2, lower=True)] for kind in TYPES]
    return section("Errors by type", table(("type", "dAP of A", "dAP of B", "B - A"), rows), note(
        "dAP: points of AP50 that a detector without these errors would gain; less is better."))


def _compared(first: float | None, second: float | None, digits: int = 3, lower: bool = False) -> list[object]:
    """Return the cells of two values and of their difference; lower: the lower one is better."""
    values: list[object] = [decimal(first, digits), decimal(second, digits)]
    if first is None or second is None or "–" in values:
        return [*values, "–"]
    change = round(second - first, digits)
    good = "" if change == 0 else "worse" if (change > 0) == lower else "better"
    return [*values, element("td", f"{change:+.{digits}f}" if change else f"{0:.{digits}f}", class_=good)]


def _curves(first: Run, second: Run) -> Html:
    svg = training_curves((first.losses, second.losses), (first.precisions, second.precisions))
    if svg is None:
        return section("Training", element("p", f"Neither folder has a {METRICS} with epochs."))
    return section("Training", plot(svg, "loss and AP over the epochs"))


def _settings(first: Run, second: Run) -> Html:
    if not (first.settings and second.settings):
        return section("Settings that differ", element("p", f"Not known of both runs: a training has them in {RECORD}, "
                                                       f"an evaluation with --report true in {REPORT}."))
    names = [name for name in sorted({*first.settings, *second.settings})
             if first.settings.get(name) != second.settings.get(name)]
    rows = [[name, *(element("td", _value(run.settings, name), class_="text") for run in (first, second))]
            for name in names]
    return section("Settings that differ", table(("setting", element("th", "A", class_="text"),
                                                  element("th", "B", class_="text")), rows)
                   if names else element("p", "None."))


def _value(settings: Mapping[str, Any], name: str) -> str:
    if name not in settings:
        return "(not a setting of this run)"
    value = settings[name]
    return printable(value) if isinstance(value, str) else shown(value)
