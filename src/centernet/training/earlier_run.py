"""A training in the folder of an earlier one: files that are not its own are moved, not replaced."""
from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from centernet.config.shorthands import last_checkpoint
from centernet.errors import UserError
from centernet.files import user_errors
from centernet.run_files import METRICS, PLOT, RECORD
from centernet.training.checkpoints import BEST, NAME, give_second_name, step_of
from centernet.training.conditions import EARLIER
from centernet.training.loop import Plan
from centernet.weights.checkpoint import read_checkpoint

LOG = logging.getLogger("centernet")

CHECKPOINTS = ("last.ckpt", BEST, "centernet-*_*.ckpt")
RESULTS = (RECORD, METRICS, "config.yaml", PLOT, "tensorboard", "profile")


def set_aside(checkpoints: Path | None, results: Path, loaded: str) -> None:
    """Move the checkpoints and results of an earlier training to a new folder earlier-N beside them, and say so.

    A forgotten --resume would otherwise replace the best weights of days by those of the first epoch, and a later
    --resume would take the best.ckpt of another training for its own.

    Args:
        checkpoints: folder of the checkpoints; None: this training writes none.
        results: folder of log and metrics.
        loaded: checkpoint that the training starts from. It stays, because the same command may be started again, and
            gets a second name in earlier-N, because this training may replace it.

    Raises:
        UserError: a file cannot be moved.
    """
    files = {results: _files(results, RESULTS)}
    if checkpoints:
        own = next((folder for folder in files if folder.samefile(checkpoints)), checkpoints)
        files[own] = files.get(own, []) + _files(checkpoints, CHECKPOINTS)
    name = _unused_name(files)
    for folder, paths in files.items():
        if paths:
            _move(paths, target := folder / name, loaded)
            resume = (f". To continue the earlier one, stop this one and give --resume {target}"
                      if last_checkpoint(target) else "")
            LOG.warning("note: %s has the files of an earlier training. They are now in %s, because this is a new "
                        "training%s", folder, target, resume)


def set_aside_branch(checkpoints: Path, plan: Plan, loaded: str) -> None:
    """Move the checkpoints of other trainings to a new folder earlier-N before a training is resumed.

    They are from later steps of a training that went on from the same step with other settings, or from a training
    that began with other weights. Their best.ckpt could otherwise pass for the best one of this training. With equal
    settings the later steps are repeated, and their files stay.

    Args:
        checkpoints: folder of the checkpoints.
        plan: plan of the resumed training.
        loaded: checkpoint that it resumes from.

    Raises:
        UserError: a file cannot be moved.
    """
    found = [path for path in _files(checkpoints, CHECKPOINTS) if not _same(path, loaded) and _is_of_branch(path, plan)]
    if found:
        _move(found, target := checkpoints / _unused_name([checkpoints]))
        LOG.warning("note: %s are from another training, or from later steps with other settings, so they are now in "
                    "%s", ", ".join(str(path) for path in found), target)


def bring_best(checkpoints: Path, plan: Plan, loaded: str) -> None:
    """Give best.ckpt beside the loaded checkpoint a second name in the folder of a training that is resumed into it.

    Otherwise the training would take the next AP for its highest one. The arguments are those of set_aside_branch.

    Raises:
        UserError: the file cannot be written.
    """
    best, own = Path(loaded).parent / BEST, checkpoints / BEST
    if best.is_file() and not own.exists() and not _is_of_branch(best, plan):
        with user_errors(f"cannot write {own}"):
            give_second_name(best, own)
        LOG.info("%s is that of the earlier run, until an AP is higher: %s", own, best)


def _is_of_branch(path: Path, plan: Plan) -> bool:
    """Return whether a checkpoint is of another training than the resumed one, see set_aside_branch.

    A damaged one is not: it may be any.
    """
    match = NAME.fullmatch(path.name)
    if match and step_of(match, plan.steps_per_epoch) <= plan.start_step:
        return False
    try:
        progress = read_checkpoint(path).progress
    except UserError:
        return False
    then = {**EARLIER, **progress}
    if plan.initial and then.get("initial", plan.initial) != plan.initial:
        return True
    return then.get("step", 0) > plan.start_step and any(then.get(key, value) != value
                                                         for key, value in plan.conditions.items())


def _unused_name(folders: Iterable[Path]) -> str:
    number = 1
    while any((folder / f"earlier-{number}").exists() for folder in folders):
        number += 1
    return f"earlier-{number}"


def _files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(folder.glob(pattern)) if path.exists()]


def _same(path: Path, loaded: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(loaded)


def _move(files: list[Path], target: Path, loaded: str = "") -> None:
    """Move files to a new folder. The loaded checkpoint only gets a second name there."""
    with user_errors(f"cannot move the files of an earlier training to {target}"):
        target.mkdir()
        for path in files:
            if loaded and _same(path, loaded):
                give_second_name(path, target / path.name)
            else:
                path.rename(target / path.name)
