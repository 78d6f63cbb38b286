"""Atomic file writes, bounded reads, checksums, and error messages for files."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from centernet.documents import parse_json, parse_yaml
from centernet.errors import UserError, shown

UNFINISHED = ".unfinished."
MOST_BYTES = 1 << 28       # of a JSON file: an info file with 20 million images
MOST_YAML_BYTES = 1 << 20  # of a configuration


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
def folder_beside(target: Path, subject: str, prefix: str = ".export-") -> Iterator[Path]:
    """Give a temporary folder in the folder of a file that is to be written, from where a rename publishes the file.

    The folder of the file is created if necessary. An OSError of the block becomes a UserError, see user_errors.
    """
    with user_errors(subject):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent) as folder:
            yield Path(folder)


def _flush_folder(folder: Path) -> None:
    """Write a folder's entries to disk, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_utf8(name: str, what: str) -> None:
    """Raise UserError if a file name or path is not UTF-8: JSON files (and the programs that read them) cannot have it.

    Args:
        name: a name as Python has it: bytes that are not UTF-8 are lone surrogates in it.
        what: what it names, e.g. "image".
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{what} {ascii(name)}: the name is not UTF-8, which JSON needs: rename it") from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file completely or not at all. Raise UserError if it cannot be written."""
    with user_errors(f"cannot write {path}", "Is the folder writable, and the disk not full?"), \
            replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write a JSON file completely or not at all. Raise UserError if it cannot be written."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=indent is None) + "\n" * (indent is not None))


def read_bytes(path: Path, most: int = MOST_BYTES, subject: str = "", remedy: str = "") -> bytes:
    """Read a regular file of at most `most` bytes. A device or a pipe could give bytes without end, or none for ever.

    Args:
        path: the file.
        most: the largest size.
        subject: its name in messages, e.g. "annotation file boxes.json"; default: the path.
        remedy: last sentence of the messages.

    Raises:
        UserError: the file cannot be read, is not a regular file, or is larger.
    """
    subject, end = subject or shown_path(path), f". {remedy}" if remedy else ""
    with user_errors(subject, remedy):
        try:
            status = path.stat()
        except ValueError as error:  # a byte 0, or half of a surrogate pair
            raise UserError(f"{subject} cannot be the path of a file ({error}){end}") from error
        if stat.S_ISDIR(status.st_mode):
            raise UserError(f"{subject} is a folder, but a file is needed{end}")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{subject} is not a regular file (it is a device, a pipe or a socket): copy its content "
                            f"to a file first{end}")
        if status.st_size > most:
            raise UserError(f"{subject} has {status.st_size} bytes; at most {most} are allowed{end}")
        with path.open("rb") as file:
            return file.read(status.st_size)  # with `most`, Python would take memory for so many bytes


def shown_path(path: Path) -> str:
    """Return a path for messages: as it is, or as an escaped and shortened text if it cannot be printed."""
    text = str(path)
    return text if len(text) <= 1000 and text.isprintable() else shown(text)


def is_file(path: Path) -> bool:
    """Return whether a path is a file. A name that is too long for the file system, or has a byte 0, is none."""
    try:
        return path.is_file()
    except OSError:  # Path.is_file passes on ENAMETOOLONG and EACCES
        return False


def read_json(path: Path, subject: str = "", remedy: str = "", most: int = MOST_BYTES) -> dict[str, Any]:
    """Read a JSON file that holds an object. The conditions are those of read_bytes and parse_json.

    Raises:
        UserError: the file cannot be read, is not JSON, does not hold an object, or breaks a condition.
    """
    subject = subject or shown_path(path)
    value = parse_json(read_bytes(path, most, subject, remedy), subject, remedy)
    if not isinstance(value, dict):
        end = f". {remedy}" if remedy else ""
        raise UserError(f"{subject} must hold a JSON object, found {type(value).__name__}{end}")
    return value


def read_yaml(path: Path) -> list[Any]:
    """Read the documents of a YAML file. Raise UserError as read_bytes and parse_yaml do."""
    return parse_yaml(read_bytes(path, MOST_YAML_BYTES), shown_path(path))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
