"""metrics.jsonl: the numbers of a training, one JSON object on a line."""
from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from centernet.files import read_json_lines, write_text

LOG = logging.getLogger("centernet")
MOST_WAITING = 1 << 24  # bytes of lines that could not be written; then they are dropped


class Metrics:
    """metrics.jsonl. Lines that cannot be written wait in memory: no full disk or lost folder ends a training.

    Args:
        path: the file; it is replaced.
        rows: its first lines.

    Raises:
        UserError: the file cannot be written at the start.
    """

    def __init__(self, path: Path, rows: Sequence[dict[str, Any]] = ()):
        self.path, self.file, self.waiting, self.warned = path, -1, b"", False
        write_text(path, "".join(_line(row) for row in rows))

    def write(self, row: dict[str, Any]) -> None:
        """Write a line, and those that wait. The first failure is told, later ones are not."""
        self.waiting += _line(row).encode()
        try:
            self._flush()
        except OSError as error:
            self.close()
            if not self.warned:
                LOG.warning("warning: cannot write %s: %s. The training goes on; its lines wait in memory, and each "
                            "new line is a new try", self.path, error.strerror or error)
            self.warned = True
            if len(self.waiting) > MOST_WAITING:
                self.waiting = b""

    def _flush(self) -> None:
        if self.file < 0:
            self.file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        while self.waiting:
            self.waiting = self.waiting[os.write(self.file, self.waiting):]

    def close(self) -> None:
        """Close the file. All rows that could be written are on disk."""
        if self.file >= 0:
            with suppress(OSError):
                os.close(self.file)
        self.file = -1


def _line(row: dict[str, Any]) -> str:
    """Return a row as JSON, which has no NaN and no infinity."""
    plain = {key: None if isinstance(value, float) and not math.isfinite(value) else value
             for key, value in row.items()}
    return json.dumps(plain) + "\n"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a metrics.jsonl, without incomplete lines; [] if there is no file."""
    rows, skipped = read_json_lines(path)
    if skipped:
        LOG.warning("%s: skipped %d incomplete line%s", path, skipped, "s" * (skipped > 1))
    return rows
