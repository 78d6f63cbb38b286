"""Checkpoints during training: write them at intervals, and keep a limited number."""
from __future__ import annotations

import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

from mindspore import nn

from centernet.weights.checkpoint import ModelRecord, read_checkpoint, save_checkpoint

LOG = logging.getLogger("centernet")
NAME = re.compile(r"centernet-(\d+)_(\d+)\.ckpt")


class CheckpointKeeper:
    """Writes centernet-EPOCH_STEP.ckpt (both from 1, STEP within its epoch) and keeps the newest files.

    last.ckpt is always the newest checkpoint. best.ckpt has the highest AP, if the training evaluates.

    Args:
        folder: folder of the checkpoints; None: write no checkpoints.
        step_cell: the training step (nn.Cell) whose parameters are saved.
        record: description of the network.
        every: save after this number of steps, again and again.
        keep: number of files to keep, without last.ckpt and best.ckpt.
        start_step: number of steps before a resumed training. Checkpoints in folder up to this step count as those of
            this training. 0 for a new training: it does not delete existing files.
        steps_per_epoch: steps of an epoch.
    """

    def __init__(self, folder: Path | None, step_cell: nn.Cell, record: ModelRecord, *, every: int,
                 keep: int, start_step: int, steps_per_epoch: int):
        self.folder = folder
        self.step_cell = step_cell
        self.record = record
        self.every = every
        self.keep = keep
        self.steps_per_epoch = steps_per_epoch
        self.written, self.best_precision = [], -1.0
        if folder and start_step:
            self.written = _earlier(folder, start_step, steps_per_epoch)
            if (folder / "best.ckpt").is_file():
                self.best_precision = read_checkpoint(folder / "best.ckpt").progress.get("AP", -1.0)

    def is_due(self, step: int, last: bool) -> bool:
        """Return whether a checkpoint is due after a step (from 1); always after the last step."""
        return self.folder is not None and (last or step % self.every == 0)

    def save(self, progress: dict[str, Any]) -> None:
        """Save a checkpoint. progress is saved with the weights; its "step" is the number of all steps done."""
        if self.folder is None:
            return
        epoch, position = divmod(progress["step"] - 1, self.steps_per_epoch)
        path = self.folder / f"centernet-{epoch + 1}_{position + 1}.ckpt"
        save_checkpoint(path, self.step_cell, self.record, progress)
        LOG.info("saved %s", path)
        _give_second_name(path, self.folder / "last.ckpt")
        self.written = [other for other in self.written if other != path] + [path]
        # Old files are deleted only now, because the new file is complete.
        for old in self.written[:-self.keep]:
            old.unlink(missing_ok=True)
        self.written = self.written[-self.keep:]

    def after_evaluation(self, average_precision: float, progress: dict[str, Any]) -> bool:
        """Save best.ckpt if the AP (0..1) is higher than all before. Return whether it is."""
        if average_precision <= self.best_precision:
            return False
        self.best_precision = average_precision
        if self.folder is not None:
            save_checkpoint(self.folder / "best.ckpt", self.step_cell, self.record,
                            {**progress, "AP": average_precision})
        return True


def _give_second_name(path: Path, name: Path) -> None:
    """Make name the same file as path: a hard link, or a copy if the file system has no links."""
    unfinished = name.with_name(".unfinished.ckpt")
    unfinished.unlink(missing_ok=True)
    try:
        os.link(path, unfinished)
    except OSError:
        shutil.copyfile(path, unfinished)
    os.replace(unfinished, name)


def _earlier(folder: Path, last_step: int, steps_per_epoch: int) -> list[Path]:
    """Return the checkpoints in folder up to a step, oldest first."""
    found = []
    for path in folder.glob("centernet-*.ckpt"):
        match = NAME.fullmatch(path.name)
        step = (int(match[1]) - 1) * steps_per_epoch + int(match[2]) if match else last_step + 1
        if step <= last_step:
            found.append((step, path))
    return [path for _, path in sorted(found)]
