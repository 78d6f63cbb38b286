"""Training loop over epochs and steps."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import mindspore as ms
import numpy as np

from centernet.errors import Interrupted, UserError
from centernet.interrupt import before_forced_end, interrupted, say
from centernet.program import command
from centernet.training.checkpoints import CheckpointKeeper
from centernet.training.data_sink import DataSink, Numbers
from centernet.training.early_stop import EarlyStop
from centernet.training.optimization.step import TrainStep
from centernet.training.train_log import StepResult, TrainLog

# (epoch, skipped steps) -> numbers of each further step of the epoch, which runs when they are asked for.
Steps = Callable[[int, int], Iterator[ms.Tensor | Numbers]]


class Batches(Protocol):
    """Source of batches, such as data.pipeline.TrainingData."""

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[tuple[np.ndarray, ...]]:
        """Return the batches of an epoch (from 0) without the first `skip` batches."""
        ...


@dataclass
class Evaluated:
    """The state of the evaluations: `step` is the number of steps at the last one; 0: none yet."""

    step: int = 0


@dataclass(frozen=True)
class Plan:
    """First and last step of a training, and its conditions.

    Args:
        start_step: number of steps done before.
        total_steps: number of steps at the end of the training, including those before start_step.
        steps_per_epoch: steps of an epoch.
        eval_interval: evaluate after this number of epochs, again and again, and after the last step; 0: never.
        max_skipped_steps: stop after this number of skipped steps in a row.
        conditions: settings that must be the same in a resumed run; every checkpoint contains them.
        early_stop: counts evaluations and may end the training before total_steps; None: nothing does.
        evaluated: the last evaluation. Checkpoints contain it, so a resumed run makes the one that is missing.
        initial: checksum of the weights at the first step of the training. Checkpoints contain it, so that those of
            another training are known; 0: unknown.
    """

    start_step: int
    total_steps: int
    steps_per_epoch: int
    eval_interval: int
    max_skipped_steps: int
    conditions: dict[str, Any]
    early_stop: EarlyStop | None = None
    evaluated: Evaluated = field(default_factory=Evaluated)
    initial: int = 0

    @property
    def epochs(self) -> int:
        """Return the number of epochs of the training; the last one may be incomplete."""
        return -(-self.total_steps // self.steps_per_epoch)

    def progress(self, step: int) -> dict[str, Any]:
        """Return the information that a checkpoint stores about the training after `step` steps."""
        return {**self.conditions, "step": step, "epoch": step // self.steps_per_epoch,
                "steps_per_epoch": self.steps_per_epoch, **({"evaluated": self.evaluated.step} if self.eval_interval
                                                            else {}),
                **({"initial": self.initial} if self.initial else {}),
                **(self.early_stop.progress() if self.early_stop else {})}

    @property
    def begins_with_evaluation(self) -> bool:
        """Return whether the resumed run ended before or in the evaluation after its last step."""
        last = max(self.evaluated.step, self.early_stop.step if self.early_stop else 0)
        return self.start_step > last and self.evaluates_after(self.start_step)

    def evaluates_after(self, step: int) -> bool:
        """Return whether an evaluation is due after `step` steps: every eval_interval epochs, and at the end."""
        if self.eval_interval == 0 or step == 0:
            return False
        epoch, rest = divmod(step, self.steps_per_epoch)
        return step == self.total_steps or (rest == 0 and epoch % self.eval_interval == 0)


def train(step_cell: TrainStep, data: Batches, plan: Plan, log: TrainLog, keeper: CheckpointKeeper, *,
          evaluate: Callable[[], float | None] | None = None, profile: Callable[[], None] | None = None,
          sink_level: str | None = None) -> None:
    """Train from plan.start_step to plan.total_steps.

    Args:
        step_cell: the training step.
        data: source of batches.
        plan: first and last step.
        log: gets each step, epoch and evaluation.
        keeper: writes the checkpoints.
        evaluate: returns the AP (0..1) of the current weights, or None if it is unknown (all ranks but the first; with
            plan.early_stop all ranks must know it); called when plan.evaluates_after says so.
        profile: called after each step.
        sink_level: send the batches through MindSpore's queue on the device, see DataSink; this is its jit_level.

    Raises:
        UserError: too many steps in a row were skipped; the message contains the losses. Or a batch cannot be read.
    """
    reader = _Reader(log, plan.max_skipped_steps)
    log.start_clock()
    ends_after = _ends_after(step_cell, plan, log, keeper, evaluate)
    with before_forced_end(lambda: say(keeper.advice())):
        if evaluate and plan.begins_with_evaluation and ends_after(plan.start_step):
            return
        if plan.start_step == plan.total_steps:
            return  # only the evaluation was missing
        with _steps(step_cell, data, plan, sink_level) as steps:
            _train(steps, plan, reader, keeper, ends_after, profile)


def _train(steps: Steps, plan: Plan, reader: _Reader, keeper: CheckpointKeeper, ends_after: Callable[[int], bool],
           profile: Callable[[], None] | None) -> None:
    if keeper.leads and (number := interrupted()):
        raise Interrupted(number, keeper.advice())
    try:
        for epoch in range(plan.start_step // plan.steps_per_epoch, plan.epochs):
            step = _train_epoch(epoch, steps, plan, reader, keeper, profile)
            if step % plan.steps_per_epoch == 0:  # the last epoch may be incomplete
                reader.log.epoch(epoch, step)
            if ends_after(step):
                break
    except UserError:
        reader.read()
        raise


def _ends_after(step_cell: TrainStep, plan: Plan, log: TrainLog, keeper: CheckpointKeeper,
                evaluate: Callable[[], float | None] | None) -> Callable[[int], bool]:
    """Return a function that makes the evaluation that is due after a step, and returns whether the training ends."""
    def ends_after(step: int) -> bool:
        if evaluate is None or not plan.evaluates_after(step):
            return False
        try:
            return _evaluate(step_cell, step, plan, log, keeper, evaluate)
        except (Interrupted, UserError) as error:  # a signal, or such as an image that cannot be read
            step_cell.set_train(True)
            keeper.save_interrupted(plan.progress(step))
            if isinstance(error, Interrupted):
                raise Interrupted(error.number, keeper.advice()) from error
            failed = f"the evaluation after step {step} failed: {str(error).rstrip('.')}"
            raise UserError(f"{failed}. {keeper.advice()}") from error
    return ends_after


def _evaluate(step_cell: TrainStep, step: int, plan: Plan, log: TrainLog, keeper: CheckpointKeeper,
              evaluate: Callable[[], float | None]) -> bool:
    """Evaluate after `step` steps. Return whether the training ends early."""
    epoch, stop = (step - 1) // plan.steps_per_epoch, plan.early_stop
    precision = evaluate()
    # Evaluation sets batch norm to use its statistics. A graph compiled in this mode would keep doing so.
    step_cell.set_train(True)
    if precision is None:
        return False
    if stop:
        stop.add(epoch, step, precision)
    plan.evaluated.step = step
    best = keeper.after_evaluation(precision, plan.progress(step))
    log.evaluation(epoch, step, precision, best)
    over = stop is not None and stop.over
    if over or step == plan.start_step or keeper.is_due(step, step == plan.total_steps):
        keeper.save(plan.progress(step))  # once more, with the result of the evaluation
    if stop is not None and over and step < plan.total_steps:
        log.stopped_early(epoch, stop.waited, keeper.describe_best(), plan.conditions.get("plain_from", -1))
    return over


@contextmanager
def _steps(step_cell: TrainStep, data: Batches, plan: Plan, sink_level: str | None) -> Iterator[Steps]:
    if sink_level is None:
        yield lambda epoch, skip: (run_step(step_cell, batch) for batch in data.epoch(epoch, skip))
        return
    sink = DataSink(step_cell, data.epoch, plan.start_step, plan.total_steps, plan.steps_per_epoch, sink_level)
    try:
        yield sink.epoch
    finally:
        sink.close()


def _train_epoch(epoch: int, steps: Steps, plan: Plan, reader: _Reader, keeper: CheckpointKeeper,
                 profile: Callable[[], None] | None) -> int:
    """Run the steps of one epoch that are in the plan. Return the number of all steps done."""
    first = epoch * plan.steps_per_epoch
    step = max(first, plan.start_step)
    for numbers in steps(epoch, step - first):
        step += 1
        reader.add(epoch, step, numbers)
        if profile:
            profile()
        last = step == plan.total_steps
        if keeper.is_due(step, last):
            reader.read()
            keeper.save(plan.progress(step))
        if last:
            break
        if keeper.leads and (number := interrupted()):
            reader.read()
            keeper.save_interrupted(plan.progress(step))
            raise Interrupted(number, keeper.advice())
    reader.read()
    return step


def run_step(step_cell: TrainStep, batch: tuple[np.ndarray, ...]) -> ms.Tensor:
    """Run one step on a batch of arrays and return its numbers, see TrainStep.

    Tensor.from_numpy shares the memory of the arrays; ms.Tensor would copy it.
    """
    return step_cell(*(ms.Tensor.from_numpy(array) for array in batch))[0]


class _Reader:
    """Reads the numbers of a step while the next one runs, so that the device does not wait for the host.

    The first step and those after a skipped step are read at once: the time of the compilation does not include
    another step, and the training stops after exactly `limit` skipped steps in a row.
    """

    def __init__(self, log: TrainLog, limit: int):
        self.log = log
        self.limit = limit
        self.skipped = 0
        self.at_once = True
        self.waiting: tuple[int, int, ms.Tensor | Numbers] | None = None

    def add(self, epoch: int, step: int, numbers: ms.Tensor | Numbers) -> None:
        """Read the step before this one, and this one if it is not to wait."""
        self.read()
        self.waiting = epoch, step, numbers
        if self.at_once:
            self.read()

    def read(self) -> None:
        """Log the waiting step, if there is one. Raise UserError if too many steps in a row were skipped."""
        if self.waiting is None:
            return
        epoch, step, numbers = self.waiting
        self.waiting = None
        result = StepResult.of(numbers.asnumpy().tolist())
        self.log.step(epoch, step, result)
        self.skipped = self.skipped + 1 if result.overflow else 0
        self.at_once = self.skipped > 0 or self.limit == 1
        if self.skipped >= self.limit:
            raise UserError(diagnosis(step, self.skipped, result))


def diagnosis(step: int, skipped: int, last: StepResult) -> str:
    """Return a message: why the training stopped, and what the user can try."""
    parts = {"hm": last.hm, "wh": last.wh, "off": last.off}
    broken = [name for name, value in parts.items() if not np.isfinite(value)]
    where = f"the loss of {', '.join(broken)} is not finite" if broken else "the losses are finite, gradients are not"
    advice = (f"check the boxes of the training data ({command('dataset')} --strict true), and lower the learning rate"
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
