"""Going on in the background after everything was checked in the foreground."""
from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from centernet.errors import UserError


def keep_old(log_file: Path) -> None:
    """Make a log's folder, and rename an earlier log there to *.old; UserError if that is impossible."""
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        if log_file.exists():
            log_file.replace(log_file.with_name(log_file.name + ".old"))
    except OSError as error:
        raise UserError(f"{log_file.parent}: {error.strerror or error}") from error


def take_folder(folder: Path) -> int:
    """Lock a job's log folder until this process, and the one that goes on for it, end; returns the open file.

    Raises:
        UserError: another job is running in it, whose log and checkpoints would be mixed up with this one's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".job", os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{folder}: a job is running that writes there. Wait for its end, stop it, or start this one "
                        "in another folder (--log_root DIR)") from error
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror or error}") from error
    return lock


def detach(log_file: str) -> int:
    """Split this process: the one that goes on in the background gets 0, the one that stays gets its process id.

    The one in the background is in a session of its own, so that closing the terminal does not end it,
    and its output is appended to log_file.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return pid
    os.setsid()
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    return 0
