"""The end of a process that runs one command: its exit status is certain.

Only the standard library is imported here, as in the package's __init__.
"""
from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn


def run_process(run: Callable[..., int], *args: Any) -> NoReturn:
    """End this process with the status that run(*args) returns: 1 after a traceback, 130 after an interrupt."""
    status = 1
    try:
        status = run(*args)
    except SystemExit as end:  # of argparse, e.g. after --help
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        leave(status)


def leave(status: int) -> NoReturn:
    """End this process now, with this status.

    A normal end of Python unloads MindSpore while threads of MindSpore still run. A rank that failed while others
    waited for it crashed there (SIGSEGV, on a loaded machine), and its status was lost. So the end of the interpreter
    and the destructors of C++ libraries are skipped. No work is lost: each file, thread pool and upload was closed by
    the `with` block that opened it, and the system frees the rest.

    Exit handlers (atexit) run only after a success. A successful rank needs MindSpore's: it waits for the device,
    releases HCCL's communicators and signs off from the scheduler. A rank that failed does not sign off: the scheduler
    then counts it as lost, which ends the others if no launcher does.
    """
    try:
        if status == 0:
            atexit._run_exitfuncs()
        logging.shutdown()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # the reader left, closed, no stream at all
                stream.flush()
        os._exit(status)
