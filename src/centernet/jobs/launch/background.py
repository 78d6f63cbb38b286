"""Continue a job in the background, after all checks in the foreground."""
from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from centernet.errors import UserError
from centernet.files import user_errors


def keep_old(log_file: Path) -> None:
    """Create the folder of a log, and rename an earlier log to *.old. Raise UserError if that is impossible."""
    with user_errors(str(log_file.parent)):
        log_file.parent.mkdir(parents=True, exist_ok=True)
        if log_file.exists():
            log_file.replace(log_file.with_name(log_file.name + ".old"))


def take_folder(folder: Path) -> int:
    """Lock a job's log folder until this process and its background process end. Return the open lock file.

    Raises:
        UserError: another running job uses this folder. The logs and checkpoints of both would be mixed.
    """
    with user_errors(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".job", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{folder}: a running job writes to this folder. Wait until it ends, stop it, or start "
                            "this job in another folder (--log_root DIR)") from error
    return lock


def detach(log_file: str) -> int:
    """Split this process. Return 0 in the new background process, and its process id in this process.

    The background process has its own session, so that it continues after the terminal is closed. Its output is
    appended to log_file.
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
