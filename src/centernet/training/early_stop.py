"""Early end of a training whose AP does not improve any more."""
from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

KEY = "early_stop"


@dataclass
class EarlyStop:
    """Counts evaluations without a higher AP. Checkpoints contain it, so a resumed run stops at the same place.

    Attributes:
        patience: number of evaluations in a row without a higher AP that end the training.
        best: highest AP (0..1); -1 before the first evaluation.
        epoch: its epoch, from 0.
        waited: number of evaluations after it.
        step: number of steps at the last evaluation.
    """

    patience: int
    best: float = -1.0
    epoch: int = -1
    waited: int = 0
    step: int = 0

    @property
    def over(self) -> bool:
        """Return whether the training must end."""
        return self.waited >= self.patience

    def add(self, epoch: int, step: int, average_precision: float) -> None:
        """Count an evaluation after `step` steps, at the end of an epoch (from 0)."""
        self.step, self.waited = step, self.waited + 1
        if average_precision > self.best:
            self.best, self.epoch, self.waited = average_precision, epoch, 0

    def progress(self) -> dict[str, Any]:
        """Return the entry of a checkpoint's progress, as JSON values."""
        return {KEY: {name: value for name, value in asdict(self).items() if name != "patience"}}

    def restore(self, progress: dict[str, Any]) -> None:
        """Continue the count of a checkpoint's progress; without one (the earlier run had no early stop) do nothing."""
        for name, value in progress.get(KEY, {}).items():
            setattr(self, name, value)
