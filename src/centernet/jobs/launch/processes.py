"""Process trees on Linux: no process runs longer than the process that started it."""
from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from centernet.interrupt import ending_signals

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
LIBC = "libc.so.6"


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent has ended, so that it can find and end them."""
    ctypes.CDLL(LIBC).prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """End this process when its parent ends, even by SIGKILL."""
    ctypes.CDLL(LIBC).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start_process(command: Sequence[str], environment: Mapping[str, str], log: IO,
                  cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a program in its own session, with only this environment. It ends when this process ends.

    Its output goes to `log`. Call it in the main thread.
    """
    with _signals_wait():
        return subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                                stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_parent)


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Let the handlers of ending_signals() wait for the end of the block.

    An exception of a handler vanishes in the functions that Python calls after a fork ("Exception ignored in ...").
    """
    arrived: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: arrived.append(number))
              for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])


def descendants(pid: int) -> list[int]:
    """Return the running descendants of a process, parents before their children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            state, parent = _state(int(entry.name))
            if state not in ("Z", "X", ""):
                children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], list(children.get(pid, []))
    while waiting:
        found.append(waiting.pop(0))
        waiting += children.get(found[-1], [])
    return found


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    return _state(pid)[0] not in ("Z", "X", "")


def end_descendants(patience: float) -> None:
    """End all descendants of this process: with SIGTERM, and after patience seconds with SIGKILL."""
    deadline = time.monotonic() + patience
    asked: set[int] = set()
    while remaining := descendants(os.getpid()):
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        for pid in remaining:
            if number == signal.SIGKILL or pid not in asked:
                _send(pid, number)
        asked.update(remaining)
        _reap()
        time.sleep(0.05)
        if time.monotonic() > deadline + 10:  # blocked in the kernel, because a device driver does not answer
            return
    _reap()


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended in the meantime
        os.kill(pid, number)


def _reap() -> None:
    """Collect the exit status of adopted processes that have ended."""
    with contextlib.suppress(ChildProcessError):  # there are none
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _state(pid: int) -> tuple[str, int]:
    """Return state letter and parent of a process; ("", 0) if it does not exist."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", 0
    state, parent = text.rpartition(")")[2].split()[:2]  # the name may contain spaces and brackets
    return state, int(parent)
