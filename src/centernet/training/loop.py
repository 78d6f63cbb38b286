"""Training loop over epochs and steps."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import mindspore as ms
import numpy as np

from centernet.errors import UserError
from centernet.training.checkpoints import CheckpointKeeper
from centernet.training.step import TrainStep
from centernet.training.train_log import StepResult, TrainLog


class Batches(Protocol):
    """Source of batches, such as data.pipeline.TrainingData."""

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[tuple[np.ndarray, ...]]:
        """Return the batches of an epoch (from 0) without the first `skip` batches."""
        ...


@dataclass(frozen=True)
class Plan:
    """First and last step of a training, and its conditions.

    Args:
        start_step: number of steps done before.
        total_steps: number of steps at the end of the training, including those before start_step.
        steps_per_epoch: steps of an epoch.
        eval_interval: evaluate after this number of epochs, again and again; 0: never.
        max_skipped_steps: stop after this number of skipped steps in a row.
        conditions: settings that must be the same in a resumed run; every checkpoint contains them.
    """

    start_step: int
    total_steps: int
    steps_per_epoch: int
    eval_interval: int
    max_skipped_steps: int
    conditions: dict[str, Any]

    def progress(self, step: int) -> dict[str, Any]:
        """Return the information that a checkpoint stores about the training after `step` steps."""
        return {**self.conditions, "step": step, "epoch": step // self.steps_per_epoch,
                "steps_per_epoch": self.steps_per_epoch}


def train(step_cell: TrainStep, data: Batches, plan: Plan, log: TrainLog, keeper: CheckpointKeeper, *,
          evaluate: Callable[[], float | None] | None = None, profile: Callable[[], None] | None = None) -> None:
    """Train from plan.start_step to plan.total_steps.

    Args:
        step_cell: the training step.
        data: source of batches.
        plan: first and last step.
        log: gets each step, epoch and evaluation.
        keeper: writes the checkpoints.
        evaluate: returns the AP (0..1) of the current weights, or None if it is unknown (all ranks but the first);
            called every plan.eval_interval epochs.
        profile: called after each step.

    Raises:
        UserError: too many steps in a row were skipped; the message contains the losses.
    """
    step, skipped = plan.start_step, 0
    log.start_clock()
    while step < plan.total_steps:
        epoch, done = divmod(step, plan.steps_per_epoch)
        for batch in data.epoch(epoch, done):
            result = run_step(step_cell, batch)
            step += 1
            log.step(epoch, step, result)
            if profile:
                profile()
            skipped = skipped + 1 if result.overflow else 0
            if skipped >= plan.max_skipped_steps:
                raise UserError(diagnosis(step, skipped, result))
            keeper.after_step(plan.progress(step), last=step == plan.total_steps)
            if step == plan.total_steps:
                break
        if step % plan.steps_per_epoch == 0:
            log.epoch(epoch, step)
            if evaluate and plan.eval_interval and (epoch + 1) % plan.eval_interval == 0:
                precision = evaluate()
                # Evaluation sets batch norm to use its statistics. A graph compiled in this mode would keep doing so.
                step_cell.set_train(True)
                if precision is not None:
                    best = keeper.after_evaluation(precision, plan.progress(step))
                    log.evaluation(epoch, step, precision, best)


def run_step(step_cell: TrainStep, batch: tuple[np.ndarray, ...]) -> StepResult:
    """Run one step on a batch of arrays. Tensor.from_numpy shares their memory; ms.Tensor would copy it."""
    loss, hm, wh, off, overflow, scale, rate = (output.asnumpy().item() for output in
                                                step_cell(*(ms.Tensor.from_numpy(array) for array in batch)))
    return StepResult(loss, hm, wh, off, bool(overflow), scale, rate)


def diagnosis(step: int, skipped: int, last: StepResult) -> str:
    """Return a message: why the training stopped, and what the user can try."""
    parts = {"hm": last.hm, "wh": last.wh, "off": last.off}
    broken = [name for name, value in parts.items() if not np.isfinite(value)]
    where = f"the loss of {', '.join(broken)} is not finite" if broken else "the losses are finite, gradients are not"
    advice = ("check the boxes of the training data (python src/dataset.py --strict true), and lower the learning rate"
              if broken else
              "lower the learning rate or clip gradients (--train_config.grad_clip 35); with "
              "train_config.loss_scale_mode static, lower train_config.loss_scale_value")
    return (f"training stopped at step {step}: {skipped} step{'s' * (skipped > 1)} in a row had non-finite gradients "
            f"or losses and {'were' if skipped > 1 else 'was'} skipped; {where}. Last losses: total {last.total:.6g}, "
            f"hm {last.hm:.6g}, wh {last.wh:.6g}, off {last.off:.6g}; loss scale {last.scale:.6g}, learning rate "
            f"{last.rate:.6g}. The weights are those of the last step that was not skipped. What to do: {advice}. To "
            "resume from the last checkpoint, use --load_checkpoint_path and --resume true.")


@contextmanager
def profiler(folder: str) -> Iterator[Callable[[], None] | None]:
    """Write a profile of two steps, after the compilation, into folder.

    It gives the function to call after each step. With folder "" there is no profile, and it gives None.
    """
    if not folder:
        yield None
        return
    from mindspore.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

    on_cpu = ms.get_context("device_target") == "CPU"
    recorder = profile(activities=[ProfilerActivity.CPU, *([] if on_cpu else [ProfilerActivity.NPU])],
                       schedule=schedule(wait=0, warmup=1, active=2, repeat=1, skip_first=1),
                       on_trace_ready=tensorboard_trace_handler(folder))
    recorder.start()
    try:
        yield recorder.step
    finally:
        recorder.stop()
