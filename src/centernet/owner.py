"""One owner of a folder: a second run that writes there is told at its start.

The owner holds a lock on a small file, which the kernel releases at any end of the process. The file says who it is. On
some network file systems a lock is not seen by other hosts, so the owner also renews the file's time.
"""
from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from centernet.documents import parse_json
from centernet.errors import UserError
from centernet.files import make_folder, temporary, user_errors
from centernet.interrupt import stop_if_interrupted

LOG = logging.getLogger("centernet")
OWNER = ".owner.json"
HEARTBEAT = 5.0  # seconds between two renewals of the file's time
PATIENCE = 3     # heartbeats without a renewal, after which an owner on another host has ended


@contextmanager
def owned(folder: Path, flag: str, name: str = OWNER) -> Iterator[None]:
    """Own a folder, or one kind of file in it, in the block. The folder is created if necessary.

    Args:
        folder: the folder.
        flag: the flag that sets it, for messages.
        name: name of the file with the lock; several kinds of files in one folder have different names.

    Raises:
        UserError: another process owns it, or the folder is not writable.
    """
    path = folder / name
    make_folder(folder, flag)
    with user_errors(f"{flag} {folder}: cannot write to this folder", "Choose another one"):
        file, locked = _open(path)
    try:
        _take(path, file, locked, f"{flag} {folder}")
    except BaseException:
        os.close(file)
        raise
    ended = threading.Event()
    thread = threading.Thread(target=_renew, args=(file, ended), name="owner", daemon=True)
    thread.start()
    try:
        with temporary(path):
            yield
    finally:
        ended.set()
        thread.join()
        with suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(file)


def _open(path: Path) -> tuple[int, bool | None]:
    """Open the file and lock it. Return it, and whether it is locked; None: this file system has no locks."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked: bool | None = True
        except BlockingIOError:
            return file, False
        except OSError:
            locked = None
        with suppress(OSError):
            if os.stat(path).st_ino == os.fstat(file).st_ino:
                return file, locked
        os.close(file)  # its owner has just removed it


def _take(path: Path, file: int, locked: bool | None, subject: str) -> None:
    """Write this process into the file. Raise UserError if the process that it names is still running."""
    record = _read(file)
    here = record.get("host") == socket.gethostname()
    if here:
        # A held lock of a process that is not to be seen: a container of this host, or a child of a dead owner.
        alive = locked is not True and (_start_of(record.get("pid")) == record.get("start")
                                        or locked is False and _is_renewed(file, record))
    else:
        alive = locked is False or bool(record) and _is_renewed(file, record)
    if alive:
        raise UserError(f"{subject}: process {record.get('pid')} on {record.get('host', 'another host')} writes to "
                        f"this folder since {record.get('since', 'now')} ({record.get('command', 'unknown command')}). "
                        f"Wait until it ends, stop it, or choose another folder. Its lock is {path.name}")
    if record:
        LOG.info("%s: process %s on %s, which wrote to this folder, has ended without an end in order; this process "
                 "takes the folder over", subject, record.get("pid"), record.get("host"))
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "start": _start_of(os.getpid()),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"), "command": Path(sys.argv[0]).name}
    with user_errors(f"{subject}: cannot write {path.name}"):
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(mine).encode(), 0)


def _read(file: int) -> dict[str, Any]:
    """Return who wrote the file; {} if nobody did, or not completely."""
    try:
        record = parse_json(os.pread(file, 1 << 16, 0), OWNER)
    except UserError:
        return {}
    return record if isinstance(record, dict) else {}


def _start_of(pid: Any) -> str:
    """Return when a process of this host started, in the kernel's ticks; "" if there is no such process.

    A number is used again by later processes; with the start it is unique.
    """
    with suppress(OSError):
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace") if isinstance(pid, int) else ""
        fields = text.rpartition(")")[2].split()  # the name may contain spaces and brackets
        return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""
    return ""


def _is_renewed(file: int, record: dict[str, Any]) -> bool:
    """Watch whether a process of another host renews the file's time. Clocks of hosts differ, so only changes count."""
    LOG.info("waiting %.0f s to see whether process %s on %s, which owns the folder, is still running",
             HEARTBEAT * PATIENCE, record.get("pid"), record.get("host"))
    before, end = os.fstat(file).st_mtime_ns, time.monotonic() + HEARTBEAT * PATIENCE
    while time.monotonic() < end:
        stop_if_interrupted()
        time.sleep(min(0.2, HEARTBEAT / 2))
        if os.fstat(file).st_mtime_ns != before:
            return True
    return False


def _renew(file: int, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT):
        with suppress(OSError):
            os.utime(file)
