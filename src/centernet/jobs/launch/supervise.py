"""Supervision of a job's processes: if one fails, all are ended, and no process stays behind."""
from __future__ import annotations

import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from centernet.interrupt import ending_signals
from centernet.jobs.launch.plan import GROUP_VARIABLES, RankPlan
from centernet.jobs.launch.processes import adopt_orphans, end_descendants, start_process
from centernet.jobs.launch.rank_process import VANISHED, read_status, start, status_file

POLL = 0.2          # seconds
TAIL_LINES = 30
FAREWELL = 60       # seconds that scheduler and msrun may still run after the last rank has succeeded; also the reverse


@dataclass(frozen=True)
class Watched:
    """A process of the job: its name, its log, and its exit status (None while it runs)."""

    name: str
    log_file: str
    status: Callable[[], int | None]


class Stopped(Exception):
    """The job got a signal to end."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables of another launcher."""
    return {name: value for name, value in environment.items() if name not in GROUP_VARIABLES}


def run_plans(plans: tuple[RankPlan, ...], patience: float, echo: bool) -> int:
    """Start the planned ranks and watch them; see watch()."""
    with _in_charge(patience):
        environment = clean_environment(os.environ)
        processes = [start(plan, environment) for plan in plans]
        return watch([Watched(plan.name, plan.log_file, process.poll) for plan, process in zip(plans, processes)], [],
                     echo)


def run_msrun(command: tuple[str, ...], plans: tuple[RankPlan, ...], log_file: str, echo: bool) -> int:
    """Start msrun, which starts the ranks, and watch both; see watch()."""
    with _in_charge(patience=3):
        for plan in plans:
            status_file(plan).unlink(missing_ok=True)
            link_log(plan, Path(log_file).parent)
        python, rest = Path(command[0]), os.environ.get("PATH", os.defpath)
        # msrun starts its ranks with the command "python": it must be this Python.
        path = os.pathsep.join([_folder_of_python(python, Path(log_file).parent), str(python.parent), rest])
        with open(log_file, "wb") as log:
            msrun = start_process(command, {**clean_environment(os.environ), "PATH": path}, log)
        ranks = [Watched(plan.name, plan.log_file, partial(read_status, plan))
                 for plan in plans if plan.name != "scheduler"]
        return watch(ranks, [Watched("msrun", log_file, msrun.poll)], echo)


def _folder_of_python(python: Path, folder: Path) -> str:
    """Return a folder whose program `python` is this Python: its own folder, or one that is created in `folder`.

    The program there is a script. With a link elsewhere, Python would not find the packages of its virtual environment.
    """
    beside = python.with_name("python")
    if beside.exists() and beside.samefile(python):
        return str(python.parent)
    script = folder / "bin" / "python"
    script.parent.mkdir(exist_ok=True)
    script.write_bytes(b'#!/bin/sh\nexec %b "$@"\n' % os.fsencode(shlex.quote(str(python))))
    script.chmod(0o755)
    return os.path.abspath(script.parent)


def link_log(plan: RankPlan, folder: Path) -> None:
    """Link msrun's own log of a process into its LOG folder, so that this folder has all its logs.

    Args:
        plan: the process.
        folder: folder of msrun's logs.
    """
    name = "scheduler.log" if plan.name == "scheduler" else f"worker_{plan.name.removeprefix('rank ')}.log"
    link = Path(plan.folder, "msrun_log.txt")
    with suppress(OSError):  # some file systems have no links; msrun's folder has the log in any case
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(folder / name, plan.folder))


def watch(ranks: list[Watched], helpers: list[Watched], echo: bool) -> int:
    """Wait until all ranks have ended or one process has failed. Print a failed process and the reason.

    Standard output is the first rank's log, or a terminal that shows it.

    Args:
        ranks: the processes that do the work.
        helpers: processes that form the group of the ranks; they end at about the same time as the ranks.
        echo: copy the first rank's log to standard output.

    Returns:
        0 if all ranks succeeded, otherwise the status of the first process that failed (128 + signal if it was
        killed).
    """
    follow = _Follower(ranks[0].log_file) if echo else None
    deadline = math.inf
    while True:
        # Read the status before the logs: then all output from before the end of a process is shown.
        codes = {one: one.status() for one in (*helpers, *ranks)}  # None: still running
        if follow:
            follow.copy()
        if all(codes[rank] == 0 for rank in ranks):
            _give_time(helpers)
            return 0
        if failed := _first_failure(codes, ranks):
            return _explain(failed, codes[failed] or 0, ranks[0].log_file)
        if early := next((helper for helper in helpers if codes[helper] == 0), None):
            deadline = min(deadline, time.monotonic() + FAREWELL)
            if time.monotonic() > deadline:
                return _explain(early, 0, ranks[0].log_file)
        time.sleep(POLL)


def _first_failure(codes: dict[Watched, int | None], ranks: list[Watched]) -> Watched | None:
    """The process to blame: a rank rather than a helper, and one that ended by itself rather than one that was killed.

    A rank that vanished comes last: when one dies, msrun kills the others.
    """
    failed = {one: code for one, code in codes.items() if code}
    return min(failed, key=lambda one: (failed[one] == VANISHED, one not in ranks, failed[one] < 0), default=None)


def _give_time(helpers: list[Watched]) -> None:
    """Wait for the helpers to end. Their status is ignored: the work is done, but msrun may crash while it unloads."""
    deadline = time.monotonic() + FAREWELL
    while any(helper.status() is None for helper in helpers) and time.monotonic() < deadline:
        time.sleep(POLL)


def _explain(failed: Watched, code: int, main_log: str) -> int:
    """Print how a process ended, and its last lines unless they are in main_log; its status as a shell has it."""
    code = -signal.SIGKILL if code == VANISHED else code
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    print(f"error: {failed.name} {how}; its log is {failed.log_file}", flush=True)
    if failed.log_file != main_log:
        _print_tail(failed.log_file)
    return 128 - code if code < 0 else code or 1


def _print_tail(path: str) -> None:
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            lines = log.readlines()[-TAIL_LINES:]
    except OSError as error:
        lines = [f"(not readable: {error.strerror})\n"]
    print("".join(f"  | {line}" for line in lines), end="", flush=True)


class _Follower:
    """Copies text that is appended to a file to standard output."""

    def __init__(self, path: str):
        self.path, self.position = Path(path), 0

    def copy(self) -> None:
        """Copy the new text."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                file.seek(self.position)
                text = file.read()
            self.position += len(text)
            sys.stdout.write(text.decode("utf-8", "replace"))
            sys.stdout.flush()


@contextmanager
def _in_charge(patience: float) -> Iterator[None]:
    """In the block, signals raise Stopped. At its end, all descendants of this process are ended."""
    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)
    numbers = ending_signals()  # before the handlers change
    adopt_orphans()
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)  # the end must not be interrupted
        end_descendants(patience)
        for number in numbers:
            signal.signal(number, before[number])
