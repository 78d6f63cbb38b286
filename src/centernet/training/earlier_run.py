"""A new training in the folder of an earlier one: the earlier files are moved, not replaced."""
from __future__ import annotations

import logging
import os
from pathlib import Path

from centernet.files import user_errors
from centernet.run_files import METRICS, RECORD

LOG = logging.getLogger("centernet")

CHECKPOINTS = ("last.ckpt", "best.ckpt", "centernet-*_*.ckpt")
RESULTS = (RECORD, METRICS, "config.yaml", "loss.png")


def set_aside(checkpoints: Path | None, results: Path, loaded: str) -> None:
    """Move the checkpoints and results of an earlier training to a new folder earlier-N beside them, and say so.

    A forgotten --resume would otherwise replace the best weights of days by those of the first epoch, and a later
    --resume would take the best.ckpt of another training for its own.

    Args:
        checkpoints: folder of the checkpoints; None: this training writes none.
        results: folder of log and metrics.
        loaded: checkpoint that the training starts from. It stays, because other ranks may still read it.

    Raises:
        UserError: a file cannot be moved.
    """
    files = {results: _files(results, RESULTS, loaded)}
    if checkpoints:
        own = next((folder for folder in files if folder.samefile(checkpoints)), checkpoints)
        files[own] = files.get(own, []) + _files(checkpoints, CHECKPOINTS, loaded)
    number = 1
    while any((folder / f"earlier-{number}").exists() for folder in files):
        number += 1
    for folder, paths in files.items():
        if paths:
            _move(paths, target := folder / f"earlier-{number}")
            LOG.warning("note: %s has the files of an earlier training. They are now in %s, because this is a new "
                        "training. To continue the earlier one, stop this one and give --resume %s", folder, target,
                        target)


def _files(folder: Path, patterns: tuple[str, ...], loaded: str) -> list[Path]:
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))
            if path.is_file() and os.path.realpath(path) != os.path.realpath(loaded)]


def _move(files: list[Path], target: Path) -> None:
    with user_errors(f"cannot move the files of an earlier training to {target}"):
        target.mkdir()
        for path in files:
            path.rename(target / path.name)
