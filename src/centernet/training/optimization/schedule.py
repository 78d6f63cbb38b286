"""Learning rate schedules. They run in the training graph and use the optimizer's step counter.

The optimizer counts updates. So a step that is skipped because of an overflow does not advance the schedule.
"""
from __future__ import annotations

import dataclasses

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from mindspore.nn.learning_rate_schedule import LearningRateSchedule

from centernet.config.recipe import drops
from centernet.config.schema import TrainConfig


class MultiDecay(LearningRateSchedule):
    """Linear warm-up and step decay: the learning rate is divided by a factor after given numbers of updates.

    Args:
        learning_rate: learning rate after the warm-up.
        warmup_steps: update s (from 0) of the warm-up uses (s + 1) / warmup_steps of the learning rate; 0: no warm-up.
        drop_steps: numbers of updates after which the learning rate is divided.
        factor: divisor.
    """

    def __init__(self, learning_rate: float, warmup_steps: int, drop_steps: tuple[int, ...], factor: float):
        super().__init__()
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.drop_steps = tuple(drop_steps)
        self.factor = factor

    def construct(self, global_step: Tensor) -> Tensor:
        """Return the learning rate, float32 scalar, of update number global_step (int32, from 0)."""
        rate = self.learning_rate * _warm_up(global_step, self.warmup_steps)
        for drop in self.drop_steps:
            rate = ops.select(global_step >= drop, rate / self.factor, rate)
        return rate


class PolyDecay(LearningRateSchedule):
    """Polynomial decay: (learning_rate - end) * (1 - step / total_steps) ** power + end, times a linear warm-up.

    Args:
        learning_rate: learning rate at the start of the polynomial.
        end_learning_rate: learning rate `end`, also after total_steps.
        power: exponent of the polynomial.
        warmup_steps: as for MultiDecay. The polynomial also counts the steps of the warm-up.
        total_steps: length of the training in updates.
    """

    def __init__(self, learning_rate: float, end_learning_rate: float, power: float, warmup_steps: int,
                 total_steps: int):
        super().__init__()
        self.span = learning_rate - end_learning_rate
        self.end = end_learning_rate
        self.power = power
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def construct(self, global_step: Tensor) -> Tensor:
        """Return the learning rate, float32 scalar, of update number global_step (int32, from 0)."""
        done = ops.minimum(global_step.astype(ms.float32) / self.total_steps, 1.0)
        return (self.span * ops.pow(1.0 - done, self.power) + self.end) * _warm_up(global_step, self.warmup_steps)


class CosineDecay(LearningRateSchedule):
    """Half a period of a cosine (Loshchilov and Hutter 2017), after a linear warm-up.

    (learning_rate - end) * (1 + cos(pi * t)) / 2 + end, where t goes from 0 at the end of the warm-up to 1 at the end
    of the training.

    Args:
        learning_rate: learning rate after the warm-up.
        end_learning_rate: learning rate `end`, also after total_steps.
        warmup_steps: as for MultiDecay.
        total_steps: length of the training in updates.
    """

    def __init__(self, learning_rate: float, end_learning_rate: float, warmup_steps: int, total_steps: int):
        super().__init__()
        self.span = learning_rate - end_learning_rate
        self.end = end_learning_rate
        self.warmup_steps = warmup_steps
        self.length = max(total_steps - warmup_steps, 1)

    def construct(self, global_step: Tensor) -> Tensor:
        """Return the learning rate, float32 scalar, of update number global_step (int32, from 0)."""
        after = ops.maximum(global_step.astype(ms.float32) - self.warmup_steps, 0.0)
        done = ops.minimum(after / self.length, 1.0)
        rate = self.span * 0.5 * (1.0 + ops.cos(np.pi * done)) + self.end
        return rate * _warm_up(global_step, self.warmup_steps)


def _warm_up(global_step: Tensor, warmup_steps: int) -> Tensor:
    return ops.minimum((global_step.astype(ms.float32) + 1.0) / max(warmup_steps, 1), 1.0)


def rate_factor(train: TrainConfig, images: int) -> float:
    """Return the factor of lr_scale for the learning rate; images is the global batch size.

    linear (Goyal et al. 2017) is usual for SGD; sqrt (Krizhevsky 2014) is often safer with Adam.
    """
    power = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[train.lr_scale]
    return (images / train.reference_batch) ** power if power else 1.0


def warmup_factor(train: TrainConfig, images: int) -> float:
    """Return the factor of warmup_scale for the warm-up; images is the global batch size."""
    return train.reference_batch / images if train.warmup_scale else 1.0


def scale_schedule(train: TrainConfig, images: int) -> TrainConfig:
    """Return the settings with the schedule's learning rates and warm-up scaled to a global batch size of `images`.

    A warm-up is never scaled to less than one step.
    """
    section = getattr(train, train.lr_schedule)
    changes = {name: getattr(section, name) * rate_factor(train, images)
               for name in ("learning_rate", "end_learning_rate") if hasattr(section, name)}
    if section.warmup_steps:
        changes["warmup_steps"] = max(1, round(section.warmup_steps * warmup_factor(train, images)))
    return dataclasses.replace(train, **{train.lr_schedule: dataclasses.replace(section, **changes)})


def describe_schedule(train: TrainConfig, images: int, total_steps: int = 0, steps_per_epoch: int = 0) -> str:
    """Return log lines with the configured and the used learning rate and warm-up.

    Args:
        train: the configuration.
        images: the global batch size.
        total_steps: number of steps of the training; 0: unknown.
        steps_per_epoch: steps of an epoch; 0: unknown.
    """
    given = getattr(train, train.lr_schedule)
    used = getattr(scale_schedule(train, images), train.lr_schedule)
    of = f"global batch size {images}, reference_batch {train.reference_batch}"
    rate, warm_up = f"{given.learning_rate:g}", f"{given.warmup_steps} steps"
    if train.lr_scale != "none":
        rate += f" x {rate_factor(train, images):.4g} = {used.learning_rate:.4g} (lr_scale {train.lr_scale}: {of})"
    if train.warmup_scale:
        warm_up += f" -> {used.warmup_steps} steps (warmup_scale: {of})"
    lines = [f"learning rate: {rate}, {train.lr_schedule}", f"warm-up: {warm_up}"]
    if used.warmup_steps > total_steps > 0:
        lines.append(f"note: the warm-up of {used.warmup_steps} steps is longer than this training of {total_steps} "
                     f"steps, which ends at {100 * total_steps / used.warmup_steps:.2g} % of the learning rate: set "
                     f"--train_config.{train.lr_schedule}.warmup_steps to about {max(1, total_steps // 20)}")
    if steps_per_epoch and (note := _without_drop(train, total_steps, steps_per_epoch)):
        lines.append(note)
    if train.lr_scale == "none" and train.reference_batch not in (0, images):
        linear, root = (given.learning_rate * rate_factor(dataclasses.replace(train, lr_scale=rule), images)
                        for rule in ("linear", "sqrt"))
        lines.append(f"note: this learning rate was chosen for a global batch size of {train.reference_batch}, but it "
                     f"is {images}: --train_config.lr_scale linear would change it to {linear:.4g}, sqrt to {root:.4g}")
    return "\n".join(lines)


def _without_drop(train: TrainConfig, total_steps: int, steps_per_epoch: int) -> str:
    """Return a note if MultiDecay is to drop the learning rate, but the training ends before; else ""."""
    epochs, planned = -(-total_steps // steps_per_epoch), train.MultiDecay.multi_epochs
    if train.lr_schedule != "MultiDecay" or not planned or planned[0] * steps_per_epoch < total_steps:
        return ""
    better = drops(epochs)
    shown = f"to {' '.join(map(str, better))} or " if better else "to [] (no drop), or "
    return (f"note: the learning rate never drops: train_config.MultiDecay.multi_epochs begins with {planned[0]}, but "
            f"this training has {epochs} epoch{'s' * (epochs > 1)}. Set it {shown}let --recipe scratch (or finetune) "
            "decide epochs, warm-up and drops")


def build_schedule(train: TrainConfig, steps_per_epoch: int, total_steps: int) -> LearningRateSchedule:
    """Build the configured schedule (train.lr_schedule)."""
    if train.lr_schedule == "CosineDecay":
        cosine = train.CosineDecay
        return CosineDecay(cosine.learning_rate, cosine.end_learning_rate, cosine.warmup_steps, total_steps)
    if train.lr_schedule == "PolyDecay":
        poly = train.PolyDecay
        return PolyDecay(poly.learning_rate, poly.end_learning_rate, poly.power, poly.warmup_steps, total_steps)
    multi = train.MultiDecay
    return MultiDecay(multi.learning_rate, multi.warmup_steps,
                      tuple(epoch * steps_per_epoch for epoch in multi.multi_epochs), multi.factor)
