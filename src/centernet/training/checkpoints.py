"""Checkpoints during training: write them at intervals, and keep a limited number."""
from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from mindspore import nn

from centernet.errors import UserError
from centernet.files import user_errors
from centernet.training.command import how_to_go_on
from centernet.weights.checkpoint import ModelRecord, read_checkpoint, remove_unfinished, save_checkpoint

LOG = logging.getLogger("centernet")
RETRY_SECONDS = 1.0  # before the second try to write a checkpoint
BEST = "best.ckpt"
NAME = re.compile(r"centernet-(\d+)_(\d+)\.ckpt")


class CheckpointKeeper:
    """Writes centernet-EPOCH_STEP.ckpt (both from 1, STEP within its epoch) and keeps the newest files.

    last.ckpt is always the newest checkpoint. best.ckpt has the highest AP, if the training evaluates. A checkpoint
    that cannot be written is tried again; then the training goes on without it. It ends if the next one cannot be
    written either, or if it is that of the last step. Earlier checkpoints stay.

    Args:
        folder: folder of the checkpoints; None: write no checkpoints.
        step_cell: the training step (nn.Cell) whose parameters are saved.
        record: description of the network.
        every: save after this number of steps, again and again.
        keep: number of files to keep, without last.ckpt and best.ckpt.
        start_step: number of steps before a resumed training. Checkpoints in folder up to this step count as those of
            this training. 0 for a new training: it does not delete existing files.
        steps_per_epoch: steps of an epoch.
        total_steps: last step of the training; 0: unknown.
        leads: whether this process decides that an interrupted training ends: it is the first rank.
    """

    def __init__(self, folder: Path | None, step_cell: nn.Cell, record: ModelRecord, *, every: int,
                 keep: int, start_step: int, steps_per_epoch: int, total_steps: int = 0, leads: bool = True):
        self.folder = folder
        self.step_cell = step_cell
        self.record = record
        self.every = every
        self.keep = keep
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = total_steps
        self.leads = leads
        self.failures = 0  # checkpoints in a row that could not be written
        self.written, self.newest, self.best_precision, self.best_step = [], 0, -1.0, 0
        if folder:
            remove_unfinished(folder)
        if folder and start_step:
            self.written = _earlier(folder, start_step, steps_per_epoch)
            self._restore_best(folder / BEST)

    def _restore_best(self, path: Path) -> None:
        """Read the highest AP so far. A damaged best.ckpt does not stop a training: the next evaluation replaces it."""
        if not path.is_file():
            return
        try:
            progress = read_checkpoint(path).progress
        except UserError as error:
            LOG.warning("warning: the training goes on without its best checkpoint, and the next evaluation writes a "
                        "new one: %s", error)
            return
        self.best_precision, self.best_step = progress.get("AP", -1.0), progress.get("step", 0)

    def is_due(self, step: int, last: bool) -> bool:
        """Return whether a checkpoint is due after a step (from 1); always after the last step."""
        return self.folder is not None and (last or step % self.every == 0)

    def save(self, progress: dict[str, Any]) -> None:
        """Save a checkpoint. progress is saved with the weights; its "step" is the number of all steps done.

        Raises:
            UserError: it cannot be written, and so was the one before, or it is that of the last step.
        """
        if self.folder is None:
            return
        epoch, position = divmod(progress["step"] - 1, self.steps_per_epoch)
        path = self.folder / f"centernet-{epoch + 1}_{position + 1}.ckpt"
        if not self._write(path, progress, self.folder / "last.ckpt"):
            return
        LOG.info("saved %s", path)
        self.newest = progress["step"]
        self.written = [other for other in self.written if other != path] + [path]
        # Old files are deleted only now, because the new file is complete.
        for old in self.written[:-self.keep]:
            with suppress(OSError):
                old.unlink(missing_ok=True)
        self.written = self.written[-self.keep:]

    def save_interrupted(self, progress: dict[str, Any]) -> None:
        """Save a checkpoint of a training that a signal or a failed evaluation ends. If that fails, only warn."""
        if self.newest == progress["step"]:
            return
        try:
            self.save(progress)
        except UserError as error:
            LOG.warning("warning: %s", error)

    def advice(self) -> str:
        """Return a sentence: how to go on after this process has ended."""
        if not self.leads:
            return "The first rank writes the checkpoints."
        if self.folder is None or not self.written:
            return "This run has not written a checkpoint."
        return how_to_go_on(sys.argv, os.environ, self.folder / "last.ckpt")

    def after_evaluation(self, average_precision: float, progress: dict[str, Any]) -> bool:
        """Save best.ckpt if the AP (0..1) is higher than all before. Return whether it is.

        A resumed run may repeat the evaluation that was the best one.
        """
        repeated = average_precision == self.best_precision and progress["step"] == self.best_step
        if average_precision <= self.best_precision and not repeated:
            return False
        if self.folder is not None and not repeated and not self._write(
                self.folder / BEST, {**progress, "AP": average_precision}):
            return True
        self.best_precision, self.best_step = average_precision, progress["step"]
        return True

    def describe_best(self) -> str:
        """Return which epoch (from 0) had the highest AP of those that this run and its best.ckpt know."""
        epoch = (self.best_step - 1) // self.steps_per_epoch
        return f"{BEST if self.folder else 'the highest AP'} is from epoch: {epoch}, AP: {self.best_precision:.4f}"

    def _write(self, path: Path, progress: dict[str, Any], second_name: Path | None = None) -> bool:
        """Write a checkpoint, after a failure once more. Return whether it is there; see save() for errors."""
        failure = None
        for pause in (0.0, RETRY_SECONDS):
            time.sleep(pause)
            try:
                save_checkpoint(path, self.step_cell, self.record, progress)
                if second_name:
                    with user_errors(f"cannot write {second_name}"):
                        give_second_name(path, second_name)
            except UserError as error:
                failure = error
            else:
                self.failures = 0
                return True
        self.failures += 1
        if self.failures > 1 or progress["step"] == self.total_steps:
            raise UserError(f"{failure} The training ends here, after step {progress['step']}. Free space or repair "
                            f"the folder first. {self.advice()}")
        LOG.warning("warning: %s The training goes on; it ends if the next checkpoint cannot be written either.",
                    failure)
        return False


def give_second_name(path: Path, name: Path) -> None:
    """Make name the same file as path: a hard link, or a copy if the file system has no links."""
    unfinished = name.with_name(".unfinished.ckpt")
    unfinished.unlink(missing_ok=True)
    try:
        os.link(path, unfinished)
    except OSError:
        shutil.copyfile(path, unfinished)
    os.replace(unfinished, name)


def step_of(name: re.Match[str], steps_per_epoch: int) -> int:
    """Return the number of all steps that the name of a checkpoint states, see NAME."""
    return (int(name[1]) - 1) * steps_per_epoch + int(name[2])


def _earlier(folder: Path, last_step: int, steps_per_epoch: int) -> list[Path]:
    """Return the checkpoints in folder up to a step, oldest first."""
    found = []
    for path in folder.glob("centernet-*.ckpt"):
        match = NAME.fullmatch(path.name)
        if match and (step := step_of(match, steps_per_epoch)) <= last_step:
            found.append((step, path))
    return [path for _, path in sorted(found)]
