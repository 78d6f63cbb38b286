"""SIGTERM, SIGHUP and Ctrl-C set a flag that loops look at. No exception is raised through foreign code.

MindSpore's compiler calls Python functions, and a KeyboardInterrupt that a signal handler raises in one of them is
lost. So the handlers do nothing, and the interpreter's C level writes each signal to a pipe. A thread reads it there,
also while the main thread is in native code. If nothing looks at the flag (a graph is compiled, or a device is lost),
the thread ends the process. It can do so only when native code does not hold Python's lock: a compilation of MindSpore
does that for up to many seconds, and then the thread reads all signals of this time at once, as one.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from centernet.errors import Interrupted
from centernet.files import remove_temporary

GRACE = 20.0    # seconds after which a process is ended that has not looked at the flag
ORDERLY = 28.0  # the same for one that has looked: it may be writing a checkpoint
CLEANING = 2.0  # seconds for the removal of temporary files at a forced end
SAME = 1.0      # signals within this time count as one: `timeout` sends its signal twice
POLL = 0.25     # seconds between two looks at the deadline and at the handler of SIGINT
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGHUP: the terminal or the connection is lost


class _Watch:
    """The signals of this process, and the thread that reads them and ends a process that does not end itself."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        self.number, self.since, self.seen = 0, 0.0, False
        self.deadline_counts = True
        self.grace, self.actions = GRACE, list[Callable[[], None]]()
        self.over = threading.Event()
        self.claim = threading.Lock()  # at the deadline, either the main thread goes on or this one ends the process
        self.thread = threading.Thread(target=self._run, name="signals", daemon=True)

    def _run(self) -> None:
        while not self.over.is_set():
            if select.select([self.reader], [], [], POLL)[0]:
                for number in os.read(self.reader, 64):
                    self._note(number)
            _put_back_sigint()
            if self.number and time.monotonic() > self.since + (ORDERLY if self.seen else self.grace):
                self._end_if_running()

    def _note(self, number: int) -> None:
        if number not in SIGNALS:
            return
        if not self.number:
            self.number, self.since = number, time.monotonic()
        elif time.monotonic() > self.since + SAME:
            _leave(128 + self.number, "a second signal: the process ends now")

    def _end_if_running(self) -> None:
        with self.claim:
            if self.over.is_set() or not self.deadline_counts:
                return
            try:
                for action in reversed(self.actions):
                    action()
            finally:
                _leave(128 + self.number, f"{signal.Signals(self.number).name} arrived "
                       f"{time.monotonic() - self.since:.0f} s ago, but the process is still busy, for example with "
                       "the compilation of a graph: it ends now")

    def close(self) -> None:
        """End the thread. If it is about to end the process, wait for that."""
        with self.claim:
            self.over.set()
        self.thread.join()
        os.close(self.writer)
        os.close(self.reader)


# Signals belong to the process, so there is one watch for all its code; none outside of signals_set_a_flag().
_watches: list[_Watch] = []


@contextmanager
def signals_set_a_flag() -> Iterator[None]:
    """In the block, SIGNALS set the flag of stop_if_interrupted(). A second signal ends the process at once, or when
    native code gives back Python's lock.

    If nothing looks at the flag for GRACE seconds, the process is ended with the status 128 + number of the signal. If
    SIGHUP is ignored, as after nohup, it stays so. In a second block inside, and outside of the main thread, this
    function does nothing: Python has signal handlers only there.
    """
    if _watches or threading.current_thread() is not threading.main_thread():
        yield
        return

    def nothing(number: int, frame: FrameType | None) -> None:
        """Let the interpreter's C level write the signal to the pipe."""

    watch = _Watch()
    pipe = signal.set_wakeup_fd(watch.writer, warn_on_full_buffer=False)  # first, or a signal could be lost
    before = {number: signal.signal(number, nothing) for number in ending_signals()}
    _remember_sigint()
    _watches.append(watch)
    watch.thread.start()
    try:
        yield
    finally:
        _watches.remove(watch)
        signal.set_wakeup_fd(pipe)
        watch.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def ending_signals() -> tuple[int, ...]:
    """Return the signals that end this process: SIGNALS, but not a SIGHUP that it ignores because nohup started it."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return tuple(number for number in SIGNALS if not (number == signal.SIGHUP and ignored))


_masks: list[set[int]] = []  # of the thread that forks


def _before_fork() -> None:
    if _watches:
        _masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS))


def _after_fork() -> None:
    if _masks:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop())


def _forget_in_child() -> None:
    """A forked child has its own signals: SIGTERM must end it, and must not reach the pipe of its parent."""
    if _watches:
        _watches.clear()
        signal.set_wakeup_fd(-1)
        for number in ending_signals():
            signal.signal(number, signal.SIG_DFL)
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_forget_in_child)


def interrupted() -> int:
    """Return the number of the signal that arrived; 0: none. The caller ends its work soon."""
    if not _watches or not _watches[0].number:
        return 0
    _watches[0].seen = True
    return _watches[0].number


def stop_if_interrupted() -> None:
    """Raise Interrupted if a signal has arrived. Loops call it at a place where they can be left."""
    if number := interrupted():
        raise Interrupted(number)


@contextmanager
def before_forced_end(action: Callable[[], None], grace: float = GRACE) -> Iterator[None]:
    """Call action in another thread before a process is ended that has not looked at the flag for grace seconds.

    Outside of signals_set_a_flag() this function does nothing.
    """
    if not _watches:
        yield
        return
    watch = _watches[0]
    before, watch.grace = watch.grace, min(watch.grace, grace)
    watch.actions.append(action)
    try:
        yield
    finally:
        with watch.claim:  # the action may run now
            watch.actions.remove(action)
            watch.grace = before


def ignore_signals() -> None:
    """From now on, neither SIGTERM nor SIGHUP nor the deadline ends the process: it is copying its results.

    Call this function in the main thread.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if _watches:
        with _watches[0].claim:
            _watches[0].deadline_counts = False


def _leave(status: int, message: str) -> None:
    """End the process now. Threads of native code still run, so nothing is unloaded, and no lock is taken.

    A disk that hangs may be the reason why the process is busy. So nobody waits long for the removal of files.
    """
    say(message)
    cleaner = threading.Thread(target=remove_temporary, daemon=True)
    cleaner.start()
    cleaner.join(CLEANING)
    os._exit(status)


def say(line: str) -> None:
    """Write a line to standard error. The log could wait for a lock of the main thread."""
    with contextlib.suppress(OSError):  # nobody reads the stream
        os.write(2, f"{line}\n".encode())


# Each time MindSpore compiles or runs a graph or an operator, it installs its own handler of SIGINT. That one sends
# SIGTERM to this process, and then a Ctrl-C cannot be told from a SIGTERM. The thread restores ours every POLL seconds.
# A Ctrl-C before that ends in order, too, but with status 143. A struct sigaction begins with the handler.
_SIZE = 512  # bytes; more than a struct sigaction has on any Linux
_sigint: list[ctypes.Array[ctypes.c_char]] = []


def _remember_sigint() -> None:
    _sigint[:] = [ctypes.create_string_buffer(_SIZE)]
    ctypes.CDLL(None).sigaction(int(signal.SIGINT), None, _sigint[0])


def _put_back_sigint() -> None:
    if _watches and _sigint:
        found = ctypes.create_string_buffer(_SIZE)
        libc = ctypes.CDLL(None)
        libc.sigaction(int(signal.SIGINT), None, found)
        if found.raw[:8] != _sigint[0].raw[:8]:
            libc.sigaction(int(signal.SIGINT), _sigint[0], None)
