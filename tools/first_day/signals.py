"""End of a run of the first day after SIGTERM, as after Ctrl-C."""
from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[None]:
    """In the block, SIGTERM raises KeyboardInterrupt, like Ctrl-C. It must be used in the main thread.

    This process only waits for others, so the exception passes through no foreign code.
    """
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
