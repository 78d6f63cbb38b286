"""Atomic file writes, JSON, checksums, and error messages for files."""
from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from centernet.errors import UserError

UNFINISHED = ".unfinished."
LOG = logging.getLogger("centernet")
_temporary: list[Path] = []  # files and folders that this process will rename or remove; see remove_temporary()


@contextmanager
def user_errors(subject: str, remedy: str = "") -> Iterator[None]:
    """Convert an OSError of the block to a UserError: "SUBJECT: message of the system. REMEDY"."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{subject}: {error.strerror or error}{'. ' if remedy else ''}{remedy}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; rename it to `path` if the block ends without an error.

    Readers see either the old file or the complete new file, also after a crash or a power cut. The folder is created
    if necessary. If a killed process leaves an unfinished file, the next write of the same name replaces it.

    Raises:
        OSError: the folder is not writable, or the disk is full.
    """
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary(unfinished):
            yield unfinished
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(unfinished, path)
        _flush_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def folder_beside(target: Path, subject: str) -> Iterator[Path]:
    """Give a temporary folder in the folder of a file that is to be written, from where a rename publishes the file.

    The folder of the file is created if necessary. An OSError of the block becomes a UserError, see user_errors.
    Temporary folders that killed processes left for the same file are removed.
    """
    prefix = f".export-{target.name}-"
    with user_errors(subject):
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f"{glob.escape(prefix)}*"):
            LOG.info("removed %s, which an interrupted run left", left)
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent) as folder, temporary(Path(folder)):
            yield Path(folder)


@contextmanager
def temporary(path: Path) -> Iterator[None]:
    """In the block, remove_temporary() removes this file or folder."""
    _temporary.append(path)
    try:
        yield
    finally:
        _temporary.remove(path)


def remove_temporary() -> None:
    """Remove the temporary files and folders of this process, which is about to end.

    MindSpore writes NAME.ckpt.tmp first, so files with longer names belong to them.
    """
    for path in list(_temporary):
        shutil.rmtree(path, ignore_errors=True)
        for file in path.parent.glob(f"{glob.escape(path.name)}*"):
            with contextlib.suppress(OSError):
                file.unlink()


def _flush_folder(folder: Path) -> None:
    """Write a folder's entries to disk, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file completely or not at all. Raise UserError if it cannot be written."""
    with user_errors(f"cannot write {path}", "Is the folder writable, and the disk not full?"), \
            replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write a JSON file completely or not at all. Raise UserError if it cannot be written."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=indent is None) + "\n" * (indent is not None))


def read_json(path: Path, subject: str = "", remedy: str = "") -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        path: the file.
        subject: its name in messages, e.g. "annotation file boxes.json"; default: the path.
        remedy: last sentence of the messages.

    Raises:
        UserError: the file cannot be read, is not JSON, or does not hold an object.
    """
    subject, end = subject or str(path), f". {remedy}" if remedy else ""
    with user_errors(subject, remedy):
        data = path.read_bytes()
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:  # ValueError: also from the UTF-8 decoder
        raise UserError(f"{subject} is not valid JSON: {error}{end}") from error
    if not isinstance(value, dict):
        raise UserError(f"{subject} must hold a JSON object, found {type(value).__name__}{end}")
    return value


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def require_space(folder: Path, size: int, subject: str, replaced: Iterable[Path] = ()) -> None:
    """Raise UserError unless a folder's disk has space for size bytes: "SUBJECT take .., but only .. are free".

    Args:
        folder: an existing folder.
        size: bytes that will be written.
        subject: the flag with its value, and what is written.
        replaced: files that will be replaced; their space counts as free.
    """
    free = shutil.disk_usage(folder).free
    if size > free + sum(file.stat().st_size for file in replaced):
        raise UserError(f"{subject} take {_readable(size)}, but only {_readable(free)} are free: use a folder on a "
                        "larger disk")


def _readable(size: int) -> str:
    """Return a number of bytes in a unit in which it is not 0.0."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size / 1e3:.1f} kB"
