"""The report of the first day: first_day.md for people, first_day.json for programs."""
from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from centernet.files import write_json, write_text
from tools.first_day.parts import PARTS, ROOT, Day, measured_of
from tools.first_day.settings import BASE, LEFT_OUT, MOST_OFF, Measured, Setting, deviation, recommended
from tools.first_day.task import FAILED, PASSED, SKIPPED, TIMED_OUT, Outcome

SLOWEST = 15  # operators in the table
AI_CPU = ("AI_CPU", "AI CPU", "AICPU")


def describe(one: Outcome) -> str:
    """Return an outcome in one line."""
    reason = f": {one.reason}" if one.reason else ""
    return f"{one.name:<36} {one.status}, {one.seconds:.1f} s{reason}" if one.command else \
        f"{one.name:<36} {one.status}{reason}"


def write_report(day: Day, minutes: float, seconds: float, interrupted: bool) -> Path:
    """Write both files and return the path of the Markdown file."""
    options = {name: value for name, value in dataclasses.asdict(day).items() if name not in ("outcomes", "out")}
    head = {"made": time.strftime("%Y-%m-%d %H:%M"), **options, "minutes": minutes, "seconds": round(seconds, 1),
            "interrupted": interrupted}
    best = best_setting(day)
    write_json(day.out / "first_day.json", finite({
        **head, "recommended": best and {"setting": best._asdict(), "flags": best.flags()},
        "outcomes": [dataclasses.asdict(one) for one in day.outcomes]}), indent=1)
    path = day.out / "first_day.md"
    write_text(path, "\n".join(lines_of(day, head)) + "\n")
    return path


def finite(value: Any) -> Any:
    """Return a value with None for every number that JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def settings_of(day: Day) -> dict[Setting, Measured]:
    """Return what was measured of each setting."""
    return {Setting(*one.name.split()): measured_of(one, day.dry_run) for one in day.outcomes
            if one.part == "settings" and one.command}


def best_setting(day: Day) -> Setting | None:
    """Return the recommended setting; None in a dry run."""
    return None if day.dry_run else recommended(settings_of(day), BASE[day.device_target])


def lines_of(day: Day, head: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the Markdown file."""
    yield "# First day on a card"
    yield ""
    yield (f"{head['made']}, {day.device_target}, size {day.size}, "
           f"{'data ' + day.data if day.data else 'generated images'}, {head['seconds'] / 60:.1f} of "
           f"{head['minutes']:g} minutes{', **interrupted**' if head['interrupted'] else ''}.")
    if day.dry_run:
        yield ("**A dry run**: everything was compiled for Ascend, and nothing was computed. Times and numbers mean "
               "nothing, and nothing was compared.")
    elif day.device_target == "CPU":
        yield "**Made on a CPU**: it shows how the report looks, and says nothing about Ascend."
    yield ""
    yield from _result(day)
    yield from _parts(day)
    for part in PARTS:
        outcomes = [one for one in day.outcomes if one.part == part.name]
        section = list(SECTIONS.get(part.name, lambda *_: ())(day, outcomes))
        if section:
            yield from ("", f"## {part.title}", *section)
    yield from _dry_run(day)
    yield from _commands(day)


def _result(day: Day) -> Iterator[str]:
    best = best_setting(day)
    yield "## Result"
    if best:
        ratio = settings_of(day)[best].speed / (settings_of(day)[BASE[day.device_target]].speed or math.nan)
        yield (f"- Recommended setting: **{best}**, {settings_of(day)[best].speed:.1f} images/s, {ratio:.2f} times the "
               f"base's. Its mean loss is within {MOST_OFF:.0%} of the base's, which is in float32. Flags of train.py:")
        yield f"  `{' '.join(best.flags())}`"
    else:
        yield "- No setting is recommended: " + ("a dry run measures nothing" if day.dry_run else
                                                 "the base's training, or each one, has no usable result")
    bad = [one for one in day.outcomes if one.status in (FAILED, TIMED_OUT)]
    yield "- Failed, the first one first:" if bad else "- Nothing failed."
    yield from (f"  - {one.part}, {one.name}: {one.status}: {escaped(one.reason)}" for one in bad)
    not_run = [one for one in day.outcomes if one.status == SKIPPED]
    if not_run:
        yield f"- Not run: {len(not_run)} commands; the table has the reasons."


def _parts(day: Day) -> Iterator[str]:
    yield ""
    yield "## Commands"
    yield from table(("part", "command", "result", "seconds", "log"),
                     ((one.part, one.name, one.status + (f": {one.reason}" if one.reason else ""),
                       f"{one.seconds:.1f}" if one.command else "", _inside(one.log, day.out)) for one in day.outcomes))


def _inside(path: str, folder: Path) -> str:
    return str(Path(path).relative_to(folder)) if path else ""


def _environment(_: Day, outcomes: Sequence[Outcome]) -> Iterable[str]:
    rows = [row for one in outcomes for row in one.values.get("rows", ())]
    return table(("what", "found"), rows) if rows else ()


def _golden(_: Day, outcomes: Sequence[Outcome]) -> Iterator[str]:
    modes = {one.name: {(row[0], row[1].split(" (")[0].split()[0] if "gradient" in row[1] else row[1]): row[2:]
                        for row in one.values["rows"]} for one in outcomes if one.values.get("rows")}
    if not modes:
        return
    yield ("Relative difference from the stored numbers of a CPU in float32, the largest difference of sampled values "
           "in brackets. Bold: more than allowed. Gradient: that of the worst group of parameters.")
    keys = list(dict.fromkeys(key for rows in modes.values() for key in rows))

    def cell(rows: dict[tuple[str, str], Sequence[Any]], key: tuple[str, str]) -> str:
        if key not in rows:
            return ""
        relative, largest, allowed = (math.inf if value is None else value for value in rows[key])
        text = f"{relative:.1e} ({largest:.1e})"
        return text if relative <= allowed else f"**{text}**, allowed {allowed:.0e}"
    yield from table(("network", "what", *modes), ((*key, *(cell(rows, key) for rows in modes.values()))
                                                   for key in keys))


def _operators(_: Day, outcomes: Sequence[Outcome]) -> Iterator[str]:
    for one in (one for one in outcomes if one.values.get("operators")):
        rows, engines = one.values["operators"], one.values["engines"]
        total = sum(engines.values()) or math.nan
        yield ""
        yield (f"{one.name}: {total:.1f} ms a step in kernels, from {one.values['source']}: "
               + ", ".join(f"{name} {ms:.1f} ms" for name, ms in engines.items()) + ".")
        slow = [row for row in rows if row["engine"].upper() in AI_CPU]
        if slow:
            yield f"On the AI CPU: {', '.join(dict.fromkeys(row['name'] for row in slow))}."
        yield from table(("operator", "engine", "number", "ms a step", "share"),
                         ((row["name"], row["engine"], f"{row['count']:g}", f"{row['ms']:.2f}",
                           f"{row['ms'] / total:.1%}") for row in rows[:SLOWEST]))
        yield from ([f"... and {len(rows) - SLOWEST} more in first_day.json"] if len(rows) > SLOWEST else [])


def _settings(day: Day, _: Sequence[Outcome]) -> Iterator[str]:
    measured, first = settings_of(day), BASE[day.device_target]
    if not measured or day.dry_run:
        return
    yield (f"Speed: the median over the steps after the first {LEFT_OUT}. Loss: by how much its mean over all steps "
           f"differs from that of the base ({first}).")
    base = measured.get(first, Measured(0.0, (), 0, 0.0))
    rows = [(*setting, f"{one.speed:.1f}" if one.speed else "-",
             f"{one.speed / base.speed:.2f}" if base.speed and one.speed else "-",
             f"{deviation(one, base):+.2%}" if one.losses and base.losses else "-", str(len(one.losses)),
             str(one.skipped), f"{one.first_step:.1f}" if one.first_step else "-")
            for setting, one in sorted(measured.items(), key=lambda item: -item[1].speed)]
    yield from table((*Setting._fields, "images/s", "of the base", "loss", "steps", "skipped", "first step, s"),
                     rows)


def _devices(day: Day, outcomes: Sequence[Outcome]) -> Iterator[str]:
    rows = [(one.name, f"{one.values['speed']:.1f}", f"{one.values['speed'] / int(one.name.split()[0]):.1f}",
             f"{one.values['first_step']:.1f}") for one in outcomes if one.values.get("speed") and not day.dry_run]
    if rows:
        yield from table(("devices", "images/s", "a device", "first step, s"), rows)


def _evaluation(day: Day, outcomes: Sequence[Outcome]) -> Iterator[str]:
    rows = [(one.name, f"{one.values['speed']:.1f}", str(one.values["sizes"]), f"{one.values['first_runs']:.1f}")
            for one in outcomes if one.values.get("speed") and not day.dry_run]
    if rows:
        yield from table(("evaluation", "images/s, with compilation", "input sizes", "their first runs, s"), rows)


def _export(day: Day, outcomes: Sequence[Outcome]) -> Iterator[str]:
    rows = [(one.name, str(one.values.get("error", "-")), f"{one.values['ms']:g}" if "ms" in one.values else "-")
            for one in outcomes if one.values and one.status == PASSED and not day.dry_run]
    if rows:
        yield from table(("export", "max error against the checkpoint", "ms an image"), rows)


def _dry_run(day: Day) -> Iterator[str]:
    rows = [(one.part, one.name, str(one.values["kernels"]), str(one.values["peak"])) for one in day.outcomes
            if one.values.get("kernels")]
    if rows:
        yield from ("", "## Compiled in the dry run",
                    *table(("part", "command", "kernels", "simulated peak memory, MiB"), rows))


def _commands(day: Day) -> Iterator[str]:
    yield from ("", "## The same again", "Each of these runs alone"
                + (", after the variables of `bash scripts/dry_run_ascend.sh`" if day.dry_run else "")
                + ". `scripts/first_day_ascend.sh --only PART` repeats a part.", "```shell",
                f"export PYTHONPATH={ROOT / 'src'}:{ROOT}")
    yield from (one.command for one in day.outcomes if one.command)
    yield "```"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Return the lines of a Markdown table, with an empty line before it."""
    return ["", *("| " + " | ".join(escaped(str(cell)) for cell in row) + " |"
                  for row in (head, ["---"] * len(head), *rows))]


def escaped(text: str) -> str:
    """Return a text that does not end a cell or a line of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


SECTIONS: dict[str, Callable[[Day, Sequence[Outcome]], Iterable[str]]] = {
    "environment": _environment, "golden": _golden, "operators": _operators, "settings": _settings,
    "devices": _devices, "evaluation": _evaluation, "export": _export}
