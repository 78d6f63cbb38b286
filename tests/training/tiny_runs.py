"""Trainings of six steps without a network (`from tests.training.tiny_runs import ...`)."""
import numpy as np
from mindspore import Parameter, Tensor, nn

from centernet.training.checkpoints import CheckpointKeeper
from centernet.training.loop import Evaluated, Plan, train
from centernet.training.train_log import TrainLog
from centernet.weights.checkpoint import model_record, read_checkpoint
from tests.tiny_training import CATEGORIES, settings

SCORES = (0.1, 0.5, 0.3)  # AP after each epoch of two steps
TOTAL = 6


class Batches:
    """Two batches an epoch."""

    def epoch(self, epoch, skip=0):
        return iter([(np.zeros(1, np.float32),)] * (2 - skip))


class Step(nn.Cell):
    """A step that counts itself in its only parameter, and calls a function before."""

    def __init__(self, before=lambda: None):
        super().__init__()
        self.weight = Parameter(Tensor(np.zeros(1, np.float32)), name="weight")
        self.before = before

    def __call__(self, _):
        self.before()
        self.weight.set_data(Tensor(self.weight.asnumpy() + 1))
        return Tensor(np.array([1, 1, 1, 1, 0, 1, 1], np.float32)), None


class Killed(Exception):
    """The process ends here."""


def keeper_of(folder, step, start=0, every=1, keep=100):
    return CheckpointKeeper(folder, step, model_record(settings(), CATEGORIES), every=every, keep=keep,
                            start_step=start, steps_per_epoch=2, total_steps=TOTAL)


def run(folder, evaluate=lambda epoch: SCORES[epoch], before=lambda: None, every=1):
    """Train in a folder, from its last.ckpt if there is one. Return the epochs (from 0) of the evaluations."""
    step, last, progress = Step(before), folder / "last.ckpt", {}
    if last.exists():
        progress = read_checkpoint(last).progress
        step.weight.set_data(Tensor(np.array([progress["step"]], np.float32)))
    start, evaluated = progress.get("step", 0), []
    plan = Plan(start, TOTAL, 2, 1, 20, {"seed": 5}, None, Evaluated(progress.get("evaluated", 0)))

    def evaluation():
        step.set_train(False)
        epoch = int(step.weight.asnumpy()[0]) // 2 - 1
        evaluated.append(epoch)
        return evaluate(epoch)
    log = TrainLog(folder, 2, TOTAL, 1, start, plan.begins_with_evaluation)
    keeper = keeper_of(folder, step, start, every)
    try:
        train(step, Batches(), plan, log, keeper, evaluate=evaluation)
    finally:
        log.close()
    return evaluated
