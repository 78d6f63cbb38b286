"""Measure on a card what only a card can answer, in parts with time limits, and write one report.

    bash scripts/first_day_ascend.sh --help
"""
from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from centernet.cli import run_process
from centernet.data.coco import locate
from centernet.errors import UserError, nonempty, reports_errors
from centernet.files import user_errors
from centernet.jobs.launch.preflight import seen_devices
from centernet.jobs.launch.processes import adopt_orphans
from tools.dry_run import dry_environment, read_logs, read_report
from tools.first_day.parts import PARTS, ROOT, SIZES, Day, Part, seconds_of
from tools.first_day.report import describe, write_report
from tools.first_day.signals import interruptible, tell
from tools.first_day.simulation import is_simulated
from tools.first_day.task import FAILED, INTERRUPTED, SKIPPED, TIMED_OUT, Outcome, Task, run_task, skipped

SHORTEST = 3.0  # seconds; a command with less time is not started


class Environments:
    """The environment variables of commands: of those on the host, and of those on the device."""

    def __init__(self, day: Day, stub: Path):
        plain = {name: value for name, value in os.environ.items() if name != "MS_SIMULATION_LEVEL"}
        paths = [str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.host = {**plain, "PYTHONPATH": ":".join(paths), "PYTHON": sys.executable}
        simulated = {**dry_environment(stub), "PYTHON": sys.executable} if day.dry_run else {}
        self.device: Mapping[str, str] = simulated or self.host
        self.on_ascend = day.device_target != "CPU"
        self.target = day.device_target

    def of(self, task: Task, folder: Path) -> dict[str, str]:
        """Return the variables of a task; on Ascend, the logs of MindSpore and CANN go to its folder."""
        if task.on_host:
            return dict(self.host)
        logs = {"GLOG_logtostderr": "0", "GLOG_log_dir": str(folder), "ASCEND_PROCESS_LOG_PATH": str(folder / "plog")}
        return {**self.device, "DEVICE_TARGET": self.target, "MS_OM_PATH": str(folder),
                **(logs if self.on_ascend else {})}


def run_parts(day: Day, environments: Environments, parts: list[Part], deadline: float) -> None:
    """Run the parts one after the other until the deadline (time.monotonic); what came of them goes to day.outcomes.

    A KeyboardInterrupt, in a command or between two, ends the run.
    """
    for index, part in enumerate(parts):
        seconds = seconds_of(part, parts[index + 1:], deadline - time.monotonic())
        tell(f"\n{part.title} (at most {seconds:.0f} s)")
        run_part(day, environments, part, seconds)


def run_part(day: Day, environments: Environments, part: Part, seconds: float) -> None:
    """Run the tasks of a part until its time is over."""
    end = time.monotonic() + seconds
    spent: list[float] = []
    for task in part.tasks(day):
        left = end - time.monotonic()
        if task.skip:
            add(day, skipped(task))
        elif left < max([SHORTEST, *([statistics.median(spent)] if spent else [])]):
            add(day, Outcome(part.name, f"{task.name}, and what follows", SKIPPED, "the part's time was over"))
            return
        else:
            outcome = run_one(day, environments, task, min(left, part.each * seconds))
            add(day, outcome)
            spent.append(outcome.seconds)
            if outcome.status == INTERRUPTED:
                raise KeyboardInterrupt


def run_one(day: Day, environments: Environments, task: Task, seconds: float) -> Outcome:
    """Run a task. In a dry run, add the kernels and the memory that MindSpore's log tells."""
    folder = day.folder(task.part, task.name)
    outcome = run_task(task, folder, environments.of(task, folder), seconds)
    if day.dry_run and not task.on_host:
        report = read_report(0, read_logs(folder), "")
        outcome.values.update(kernels=sum(report.kernels.values()), peak=report.peak)
        if report.without_kernel:
            outcome.status = FAILED
            outcome.reason = f"no kernel for Ascend: {', '.join(report.without_kernel)}; {outcome.reason}"
    return outcome


def add(day: Day, outcome: Outcome) -> None:
    """Keep an outcome and print it."""
    day.outcomes.append(outcome)
    tell(f"  {describe(outcome)}")


@contextmanager
def stub_folder(day: Day) -> Iterator[Path]:
    """Give a folder for the stand-in for CANN; a dry run without CANN builds it there."""
    with tempfile.TemporaryDirectory(prefix="first-day-") as name:
        if day.dry_run:
            tell("MindSpore's dry run: everything is compiled for Ascend, nothing is computed. Times and numbers mean "
                 "nothing, and nothing is compared.")
        yield Path(name)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line. Raise UserError for values that make no sense."""
    parser = argparse.ArgumentParser(prog="first_day_ascend.sh", description=__doc__.splitlines()[0],
                                     allow_abbrev=False)
    parser.add_argument("--data", metavar="COCO", type=nonempty("--data", wanted="name a data set"),
                        help="data set in COCO's layout (default: generated)")
    parser.add_argument("--minutes", type=float, default=30.0, help="time for everything (default: 30)")
    parser.add_argument("--out", type=nonempty("--out", Path),
                        help="new folder for the report (default: first_day_DATE_TIME)")
    parser.add_argument("--device_target", choices=("Ascend", "CPU"), help="default: the variable DEVICE_TARGET, or "
                                                                           "Ascend")
    parser.add_argument("--device_id", type=int, default=0, help="device for the parts that use one (default: 0)")
    parser.add_argument("--size", choices=tuple(SIZES), help="full: the default network at 512 x 512; small: a network "
                                                             "for a try (default on a CPU and in a dry run)")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], metavar="PART",
                        help=f"only these parts: {', '.join(part.name for part in PARTS)}")
    parser.add_argument("--dry_run", action="store_true", help="compile everything for Ascend without a card")
    words = parser.parse_args(argv)
    if not words.minutes > 0:
        raise UserError(f"--minutes {words.minutes:g}: it must be greater than 0")
    if words.device_id < 0:
        raise UserError(f"--device_id {words.device_id}: devices count from 0")
    return words


def make_day(words: argparse.Namespace) -> Day:
    """Return what the user wants, with the defaults that depend on it.

    Raises:
        UserError: flags exclude each other, there is no device or no data set, or the folder is not empty.
    """
    dry_run = words.dry_run or is_simulated()
    target = words.device_target or ("Ascend" if dry_run else os.environ.get("DEVICE_TARGET", "Ascend"))
    if target not in ("Ascend", "CPU"):
        raise UserError(f"the variable DEVICE_TARGET is {target!r}: it must be Ascend or CPU")
    if dry_run and target == "CPU":
        raise UserError("a dry run compiles for Ascend: leave out --device_target CPU, or --dry_run (and unset "
                        "MS_SIMULATION_LEVEL)")
    devices = len(seen_devices()) if target == "Ascend" and not dry_run else 0
    if target == "Ascend" and not dry_run and words.device_id >= devices:
        raise UserError(f"--device_id {words.device_id}: this process sees {devices} Ascend devices (/dev/davinci0, "
                        "...). Without a card, use --device_target CPU or --dry_run")
    data = str(Path(words.data).resolve()) if words.data else ""
    for split in ("train", "val") if data else ():
        locate(data, split)
    out = (words.out or Path(time.strftime("first_day_%Y%m%d_%H%M%S"))).resolve()
    with user_errors(f"--out {out}"):
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise UserError(f"--out {out} is not empty: name a new folder")
    size = words.size or ("small" if target == "CPU" or dry_run else "full")
    return Day(target, words.device_id, devices, size, data, dry_run, out)


def chosen_parts(only: list[str] | None) -> list[Part]:
    """Return the parts to run: all, or the named ones with the preparation if they need it."""
    wanted = set(only or (part.name for part in PARTS))
    if wanted & {"settings", "devices", "evaluation", "export"}:
        wanted.add("prepare")
    return [part for part in PARTS if part.name in wanted]


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Run all parts, write the report, return the exit status: 0; 1 if something failed; 130 after an interrupt."""
    words = parse(argv)
    day, start = make_day(words), time.monotonic()
    adopt_orphans()
    interrupted = False
    with interruptible():
        try:
            with stub_folder(day) as stub:
                run_parts(day, Environments(day, stub), chosen_parts(words.only), start + 60 * words.minutes)
        except KeyboardInterrupt:
            interrupted = True
        path = write_report(day, words.minutes, time.monotonic() - start, interrupted)
        tell(f"\nreport: {path}\n        {path.with_suffix('.json')}")
    if interrupted:
        return 130
    return int(any(one.status in (FAILED, TIMED_OUT) for one in day.outcomes))


if __name__ == "__main__":
    run_process(main)
