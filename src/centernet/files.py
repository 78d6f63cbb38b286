"""Files that are whole or not there, JSON, checksums, and the errors around them."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from centernet.errors import UserError

UNFINISHED = ".unfinished."


@contextmanager
def user_errors(subject: str, remedy: str = "") -> Iterator[None]:
    """Turn an OSError of the block into a UserError: "SUBJECT: what the system says. REMEDY"."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{subject}: {error.strerror or error}{'. ' if remedy else ''}{remedy}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; what is written there takes the name when the block ends without error.

    Readers see the old file or the whole new one, also after a crash or a power cut. The folder is made if it is
    not there. A file that a killed process left unfinished is replaced by the next one of the same name.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield unfinished
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(unfinished, path)
        _flush_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all; raises UserError if it cannot be written."""
    with user_errors(f"cannot write {path}", "Is the folder writable, and the disk not full?"), \
            replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write a JSON file whole or not at all; raises UserError if it cannot be written."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=indent is None) + "\n" * (indent is not None))


def read_json(path: Path, subject: str = "", remedy: str = "") -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        path: the file.
        subject: what the messages call it, e.g. "annotation file boxes.json"; the path by default.
        remedy: the sentence that ends the messages.

    Raises:
        UserError: the file cannot be read, is not JSON, or holds something else than an object.
    """
    subject, end = subject or str(path), f". {remedy}" if remedy else ""
    with user_errors(subject, remedy):
        data = path.read_bytes()
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:  # also of the UTF-8 decoder
        raise UserError(f"{subject} is not valid JSON: {error}{end}") from error
    if not isinstance(value, dict):
        raise UserError(f"{subject} must hold a JSON object, found {type(value).__name__}{end}")
    return value


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
