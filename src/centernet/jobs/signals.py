"""Normal end of a run after SIGTERM."""
from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible(active: bool) -> Iterator[None]:
    """In the block, SIGTERM raises KeyboardInterrupt, like Ctrl-C. It must be used in the main thread.

    This also concerns Ctrl-C: while a graph runs, MindSpore converts SIGINT to SIGTERM, which by default ends the
    process immediately.

    Args:
        active: False changes nothing. Use False for one of several devices: it may wait for a lost device in a call
            that Python's signal handlers cannot interrupt.
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
