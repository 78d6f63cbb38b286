"""A place for MindSpore's exporters, which refuse file names with spaces and most other signs."""
from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def plain_path(path: Path) -> Iterator[Path]:
    """A path of letters only to write to; what is there at the end is moved to path."""
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        plain = Path(folder) / f"model{path.suffix}"
        yield plain
        shutil.move(plain, path)
