"""End of a run of the first day after SIGTERM or SIGHUP, as after Ctrl-C."""
from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from centernet.interrupt import ending_signals


@contextmanager
def interruptible() -> Iterator[None]:
    """In the block, the first of ending_signals() raises KeyboardInterrupt, and later ones are ignored.

    When a terminal is closed, the shell and the system both send SIGHUP. It must be used in the main thread. This
    process only waits for others, so the exception passes through no foreign code.
    """
    numbers = ending_signals()  # before the handlers change

    def interrupt(number: int, frame: FrameType | None) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)  # the end must not be interrupted
        raise KeyboardInterrupt
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tell(text: str) -> None:
    """Print a line. If the terminal is gone, nothing is printed from now on: the report is still to be written."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open until the process ends)
