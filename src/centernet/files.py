"""Atomic file writes, bounded reads, checksums, and error messages for files."""
from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from centernet.documents import parse_json, parse_object, parse_yaml
from centernet.errors import UserError, printable

UNFINISHED = ".unfinished."
MOST_BYTES = 1 << 32       # of a JSON file; the largest are annotation files, and those of COCO have less than 500 MB
MOST_YAML_BYTES = 1 << 20  # of a configuration
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


def mindspore_partials(path: Path) -> tuple[Path, Path]:
    """Return the files that MindSpore writes before it renames one of them to NAME.ckpt: NAME.tmp or NAME.ckpt.tmp."""
    return path.with_suffix(".tmp"), path.with_name(f"{path.name}.tmp")


def remove_temporary() -> None:
    """Remove the temporary files and folders of this process, which is about to end."""
    for path in list(_temporary):
        shutil.rmtree(path, ignore_errors=True)
        for file in (path, *(mindspore_partials(path) if path.suffix == ".ckpt" else ())):
            with contextlib.suppress(OSError):
                file.unlink()


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
    if path.is_dir():
        raise UserError(f"cannot write {path}: this is a folder. Give the name of a file")
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
    subject, end = subject or printable(path), f". {remedy}" if remedy else ""
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


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders, also linked ones. Links come last; no folder is visited twice."""
    roots, seen = [str(folder)], set()
    for root in roots:  # it grows in the loop
        for place, folders, names in os.walk(root):
            real = os.path.realpath(place)
            if real in seen:  # for example a link to a folder that contains it
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            roots += [path for name in folders if os.path.islink(path := os.path.join(place, name))]
            yield from (Path(place, name) for name in names)


def make_folder(folder: Path, flag: str) -> None:
    """Create a folder for results. Raise UserError if it cannot be created or written; `flag` begins the message."""
    require_writable(folder, flag)
    with user_errors(f"{flag} {printable(folder)}: cannot write to this folder", "Choose another one"):
        folder.mkdir(parents=True, exist_ok=True)


def require_writable(folder: Path, flag: str, remedy: str = "Choose another one") -> None:
    """Raise UserError if a folder for results cannot be written, or not be created. Nothing is created.

    Args:
        folder: the folder; it need not exist.
        flag: begins the message.
        remedy: ends it, unless the folder, or one above it, is a file.
    """
    require_no_file(folder, flag)
    place = next((path for path in (folder, *folder.parents) if exists(path)), folder)
    if not os.access(place, os.W_OK | os.X_OK):
        named = folder if folder.parts else Path.cwd()  # "." says little to a user who did not type it
        reason = os.strerror(errno.EROFS if os.statvfs(place).f_flag & os.ST_RDONLY else errno.EACCES)
        raise UserError(f"{flag} {printable(named)}: cannot write to this folder: {reason}. {remedy}")


def require_no_file(folder: Path, flag: str) -> None:
    """Raise UserError if a folder for results, or one above it, is a file; `flag` begins the message."""
    file = next((path for path in (folder, *folder.parents) if exists(path) and not path.is_dir()), None)
    if file is not None:
        found = "" if file == folder else f": {printable(file)}"
        raise UserError(f"{flag} {printable(folder)}{found} is a file: name a folder")


def is_file(path: Path) -> bool:
    """Return whether a path is a file. A name that is too long for the file system is none (pathlib raises OSError)."""
    return exists(path) and path.is_file()


def exists(path: Path) -> bool:
    """Return whether a path exists. A name that is too long for the file system, or has a byte 0, does not exist."""
    try:
        return path.exists()
    except OSError:
        return False


def read_json(path: Path, subject: str = "", remedy: str = "", most: int = MOST_BYTES) -> dict[str, Any]:
    """Read a JSON file that holds an object. The conditions are those of read_bytes and parse_json.

    Raises:
        UserError: the file cannot be read, is not JSON, does not hold an object, or breaks a condition.
    """
    subject = subject or printable(path)
    return parse_object(read_bytes(path, most, subject, remedy), subject, remedy)


def read_json_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Read a file with a JSON object on each line; no lines if there is no file.

    Returns:
        The objects, and the number of lines that are no objects: a killed process leaves an incomplete line.

    Raises:
        UserError: the file cannot be read, see read_bytes.
    """
    rows, skipped = [], 0
    lines = read_bytes(path).split(b"\n") if exists(path) else []
    for line in filter(bytes.strip, lines):
        try:
            row = parse_json(line, str(path))
        except UserError:
            row = None
        rows += [row] if isinstance(row, dict) else []
        skipped += not isinstance(row, dict)
    return rows, skipped


def read_yaml(path: Path, as_text: bool = False) -> list[Any]:
    """Read the documents of a YAML file, see parse_yaml. Raise UserError as read_bytes and parse_yaml do."""
    return parse_yaml(read_bytes(path, MOST_YAML_BYTES), printable(path), as_text)


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
