"""Verification of shard files by their SHA-256. The processes of a group share the work.

If one process alone read all files (19 GB for COCO), the others would wait for it in their first collective operation,
for minutes on a slow disk. A group on Ascend fails if its processes arrive there too far apart (HCCL_CONNECT_TIMEOUT).
Here the group forms first, with a short message. Then every process reads its part of the files, and a second message
tells all of them what was found. A stamp of earlier checks would also save time, but it needs a writable folder, and a
changed byte in a file with an unchanged time would pass.
"""
from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from centernet.errors import UserError
from centernet.files import sha256
from centernet.group import Group, gather

LOG = logging.getLogger("centernet")


def verify_files(folder: Path, rows: Sequence[dict[str, Any]], info_name: str, remedy: str, group: Group) -> None:
    """Compare the SHA-256 of files with their info file. Every process of the group must call this function.

    Processes that see the same copy of the files divide them among themselves. Several servers with own copies check
    each copy completely.

    Args:
        folder: folder of the files and the info file.
        rows: name, size and sha256 of each file; () if there is no info file.
        info_name: name of the info file.
        remedy: end of the message for a changed file: what to do.
        group: the processes that work together.

    Raises:
        UserError: on every process, if one of them finds a file that has changed or cannot be read.
    """
    if rows and group.rank == 0:
        LOG.info("checking the SHA-256 of %d shard files", len(rows))
    copies = gather(_copy_id(folder / info_name), group)
    same = [rank for rank, copy in enumerate(copies) if copy == copies[group.rank]]
    report = _check(folder, divide(rows, len(same))[same.index(group.rank)])
    reports = [json.loads(text) for text in gather(json.dumps(report).encode(), group)]
    for found in reports:
        if found["unreadable"]:
            raise UserError(found["unreadable"])
    damaged = [found for found in reports if found["changed"]]
    if damaged:
        names = {name for found in damaged for name in found["changed"]}
        raise UserError(f"{damaged[0]['folder']}: shard file(s) {', '.join(sorted(names))} changed after they were "
                        f"written (their SHA-256 differs from {info_name}). Copy the whole folder again, or {remedy}")


def divide(rows: Sequence[dict[str, Any]], parts: int) -> list[list[dict[str, Any]]]:
    """Divide files into parts of about the same number of bytes: the largest file first, to the smallest part."""
    result: list[list[dict[str, Any]]] = [[] for _ in range(parts)]
    for row in sorted(rows, key=lambda row: -row["size"]):
        min(result, key=lambda part: sum(other["size"] for other in part)).append(row)
    return result


def hash_files(files: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of files. Threads read the complete files."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(sha256, files))


def _copy_id(info: Path) -> bytes:
    """Return bytes that are equal on processes that see the same copy of the files, also over a network file system."""
    try:
        status = info.stat()
    except OSError:
        return b""
    return json.dumps([status.st_ino, status.st_mtime_ns, status.st_size]).encode()


def _check(folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the names of changed files, and a message if a file cannot be read."""
    report: dict[str, Any] = {"folder": str(folder), "changed": [], "unreadable": ""}
    try:
        found = hash_files([folder / row["name"] for row in rows])
    except OSError as error:
        return {**report, "unreadable": f"shard file {error.filename or folder}: {error.strerror or error}"}
    return {**report, "changed": [row["name"] for row, digest in zip(rows, found) if row.get("sha256") != digest]}
