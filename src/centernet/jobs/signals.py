"""Ending a run in order when it is told to end."""
from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible(active: bool) -> Iterator[None]:
    """Within it SIGTERM raises KeyboardInterrupt, as Ctrl-C does; needs the main thread.

    For Ctrl-C too: while a graph runs, mindspore turns SIGINT into SIGTERM, which by default kills at once.

    Args:
        active: False changes nothing. For one of several devices: it may wait for another that is
            gone, in a call that Python's handlers cannot interrupt.
    """
    if not active:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
