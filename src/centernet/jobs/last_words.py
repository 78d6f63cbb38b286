"""What must still be done when a process is told to end while a call that Python cannot interrupt blocks it."""
from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def last_words(grace: float, speak: Callable[[], None]) -> Iterator[None]:
    """If SIGTERM comes and the block is not left within grace seconds, call speak and end with status 143.

    One of several devices waits in a collective for another that is gone: the handler that Python would run never
    comes to its turn. The C level of the interpreter notes the signal in a pipe at once, and a thread reads it there.
    After half of the time it sends the signal once more: what a handler raises while a destructor or a callback of C
    code runs is printed and dropped by Python, and the block goes on as if nothing had been.

    Args:
        grace: seconds that leaving the block in order may take.
        speak: called in a thread beside the blocked one; its failure is printed and changes nothing.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    left, claim = threading.Event(), threading.Lock()

    def watch() -> None:
        while (noted := os.read(reader, 1)) and noted[0] != signal.SIGTERM:
            pass
        if not noted or left.wait(grace / 2):
            return
        with claim:
            if not left.is_set():  # afterwards it could cut an upload short
                signal.pthread_kill(main_thread, signal.SIGTERM)
        # The lock decides who goes on when the block is left at the very moment that the grace ends.
        if not left.wait(grace / 2) and claim.acquire(blocking=False):
            try:
                speak()
            finally:
                os._exit(128 + signal.SIGTERM)

    main_thread = threading.main_thread().ident or 0
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    thread = threading.Thread(target=watch, name="last words", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        with claim:
            signal.set_wakeup_fd(before)
        os.close(writer)
        thread.join()
        os.close(reader)
