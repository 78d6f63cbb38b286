"""One command of the first day: how it is run with a time limit, and what came of it."""
from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from centernet.jobs.launch.processes import end_descendants, start_process

PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL
PASSED, FAILED, TIMED_OUT, SKIPPED, INTERRUPTED = "passed", "failed", "timed out", "skipped", "interrupted"


@dataclass(frozen=True)
class Task:
    """A command, or the reason why it is not run.

    Attributes:
        part, name: its place in the report.
        words: program and arguments.
        skip: why it is not run; "" if it is.
        read: folder and log of the command -> values for the report; it is called after every end of the command.
        on_host: the command needs no device, so it computes in a dry run, too.
        variables: further environment variables.
    """

    part: str
    name: str
    words: tuple[str, ...] = ()
    skip: str = ""
    read: Callable[[Path, str], dict[str, Any]] = lambda folder, log: {}
    on_host: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What came of a task. status is one of the constants above; reason tells why it is not PASSED."""

    part: str
    name: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    command: str = ""
    log: str = ""
    values: dict[str, Any] = field(default_factory=dict)


def run_task(task: Task, folder: Path, environment: Mapping[str, str], seconds: float) -> Outcome:
    """Run a command in its own folder. Its output goes to log.txt there. It is ended after `seconds`.

    A KeyboardInterrupt ends the command, too; it returns INTERRUPTED.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "log.txt"
    outcome = Outcome(task.part, task.name, FAILED, command=_typed(task, folder), log=str(path))
    start = time.monotonic()
    with path.open("w", encoding="utf-8") as log:
        try:
            # In its own session: Ctrl-C reaches only this process, which then ends the command and its children.
            process = start_process(task.words, {**environment, **task.variables}, log, folder)
            status = process.wait(seconds)
            outcome.status = FAILED if status else PASSED
            outcome.reason = _reason(status, path) if status else ""
        except subprocess.TimeoutExpired:
            outcome.status, outcome.reason = TIMED_OUT, f"it was ended after {seconds:.0f} s, its share of the time"
        except KeyboardInterrupt:
            outcome.status, outcome.reason = INTERRUPTED, "interrupted"
        except OSError as error:
            outcome.reason = f"{task.words[0]} could not be started: {error}"
        finally:
            end_descendants(PATIENCE)
    outcome.seconds = time.monotonic() - start
    outcome.values = _values(task, folder, path, outcome)
    return outcome


def skipped(task: Task) -> Outcome:
    """Return the outcome of a task that is not run."""
    return Outcome(task.part, task.name, SKIPPED, task.skip)


def _typed(task: Task, folder: Path) -> str:
    variables = [f"{name}={shlex.quote(value)}" for name, value in task.variables.items()]
    return f"cd {shlex.quote(str(folder))} && {' '.join([*variables, shlex.join(task.words)])}"


def _values(task: Task, folder: Path, log: Path, outcome: Outcome) -> dict[str, Any]:
    try:
        return task.read(folder, log.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, KeyError) as error:
        if outcome.status == PASSED:
            outcome.status, outcome.reason = FAILED, f"it ended well, but its results cannot be read: {error}"
        return {}


def _reason(status: int, log: Path) -> str:
    """Return why a command failed: its last message, or its last line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ") or "Error: " in line]
    ended = f"ended by signal {-status}" if status < 0 else f"status {status}"
    last = next(reversed(errors or lines), "")
    return f"{ended}: {last[:300]}" if last else ended
