"""A last action of a process that gets SIGTERM while it is blocked in a call that Python cannot interrupt."""
from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def last_words(grace: float, speak: Callable[[], None]) -> Iterator[None]:
    """If SIGTERM arrives and the block does not end within grace seconds, call speak and exit with status 143.

    If one of several devices is lost, the others wait for it in a collective operation. Then Python never runs its
    signal handler. But the C level of the interpreter immediately writes the signal to a pipe, and a thread reads it
    there. After half of the time the thread sends the signal again: if a handler raises an exception while a
    destructor or a callback of C code runs, Python prints and drops it, and the block continues.

    Args:
        grace: seconds that a normal end of the block may take.
        speak: called in a thread beside the blocked thread. If it fails, its error is printed, and the process exits
            in the same way.
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
            if not left.is_set():  # after the block, the signal could interrupt an upload
                signal.pthread_kill(main_thread, signal.SIGTERM)
        # The block may end at the same moment as the grace. Then the lock decides which thread continues.
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
