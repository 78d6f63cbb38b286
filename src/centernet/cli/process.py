"""Run one command in this process, limit its memory pools, and end it with a reliable exit status.

Only the standard library is imported here, as in the package's __init__.
"""
from __future__ import annotations

import atexit
import contextlib
import ctypes
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

M_ARENA_MAX = -8  # of mallopt, see malloc.h
ARENAS = 4


def run_process(run: Callable[..., int], *args: Any) -> NoReturn:
    """End this process with the status that run(*args) returns: 1 after a traceback, 130 after an interrupt."""
    status = 1
    print_every_text()
    try:
        status = run(*args)
    except SystemExit as end:  # from argparse, e.g. after --help
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        leave(status)


def print_every_text() -> None:
    """Let standard output and standard error write characters that their encoding lacks as \\u....

    Otherwise a category name in Chinese would end a command on a terminal of another encoding than UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # another program may have replaced it
            stream.reconfigure(errors="backslashreplace")


def leave(status: int) -> NoReturn:
    """End this process now, with this status.

    A normal end of Python unloads MindSpore while MindSpore's threads still run. On a loaded machine, a failed rank
    that others waited for crashed there (SIGSEGV), and its status was lost. Therefore this function skips the end of
    the interpreter and the destructors of C++ libraries. No work is lost: the `with` block that opened a file, thread
    pool or upload has closed it, and the system frees the rest.

    Exit handlers (atexit) run only after a success. A successful rank needs the handlers of MindSpore: they wait for
    the device, release HCCL's communicators and unregister the rank from the scheduler. A failed rank does not
    unregister: the scheduler then counts it as lost and ends the other ranks, if no launcher does that.
    """
    try:
        if status == 0:
            atexit._run_exitfuncs()
        logging.shutdown()
    finally:
        for stream in (sys.stdout, sys.stderr):
            # OSError: nobody reads the stream; ValueError: it is closed; AttributeError: there is none.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)


def limit_arenas(threads: int) -> None:
    """Let glibc's malloc use few pools of memory (arenas), unless the environment sets their number.

    The readers of each epoch and evaluation are new threads. By default they spread over up to eight arenas for each
    CPU core, and an arena keeps what was freed in it. So the memory of a training grew with each epoch.

    Args:
        threads: number of threads that prepare images. There are as many arenas, and at least ARENAS.
    """
    if "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    with contextlib.suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, max(ARENAS, threads))
