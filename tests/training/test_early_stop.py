"""Early stop: when a training ends, what it leaves behind, and how a resumed run counts."""
import logging

import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from centernet.errors import UserError
from centernet.group import from_first
from centernet.training.checkpoints import CheckpointKeeper
from centernet.training.early_stop import EarlyStop
from centernet.training.loop import Plan, train
from centernet.training.metrics_file import read_metrics
from centernet.training.setup import make_plan, resume
from centernet.training.train_log import TrainLog
from centernet.weights.checkpoint import model_record, read_checkpoint, save_checkpoint
from tests.threads_as_ranks import together
from tests.tiny_training import CATEGORIES, settings

# AP after each epoch. The highest one so far is that of epoch 0, 1, 4; the second 0.3 is no improvement.
SCORES = (0.1, 0.3, 0.3, 0.2, 0.4, 0.3, 0.39, 0.4, 0.5)


class Batches:
    """Two batches an epoch."""

    def epoch(self, epoch, skip=0):
        return iter([(np.zeros(1, np.float32),)] * (2 - skip))


class Step(nn.Cell):
    """A step that counts itself in its only parameter."""

    def __init__(self):
        super().__init__()
        self.weight = Parameter(Tensor(np.zeros(1, np.float32)), name="weight")

    def __call__(self, _):
        self.weight.set_data(Tensor(self.weight.asnumpy() + 1))
        return Tensor(np.array([1, 1, 1, 1, 0, 1, 1], np.float32)), None


def fit(folder, patience, start=0, every=1, stop=None):
    """Train in a folder and evaluate after each epoch. Return the epochs (from 0) of the evaluations."""
    evaluated = []

    def evaluate():
        evaluated.append(int(step.weight.asnumpy()[0]) // 2 - 1)
        return SCORES[evaluated[-1]]
    step = Step()
    step.weight.set_data(Tensor(np.array([start], np.float32)))
    plan = Plan(start, 18, 2, 1, 20, {"seed": 5}, stop or (EarlyStop(patience) if patience else None))
    log = TrainLog(folder, 2, 18, 1, start)
    keeper = CheckpointKeeper(folder, step, model_record(settings(), CATEGORIES), every=every, keep=100,
                              start_step=start, steps_per_epoch=2)
    try:
        train(step, Batches(), plan, log, keeper, evaluate=evaluate)
    finally:
        log.close()
    return evaluated


def last(folder):
    return read_checkpoint(folder / "last.ckpt").progress


@pytest.mark.parametrize(("patience", "epoch", "best"), [(1, 2, 1), (2, 3, 1), (3, 7, 4), (4, 8, 8), (0, 8, 8)])
def test_it_ends_after_so_many_evaluations_without_a_higher_ap(tmp_path, caplog, patience, epoch, best):
    caplog.set_level(logging.INFO, "centernet")
    assert fit(tmp_path, patience, every=100) == list(range(epoch + 1))
    assert last(tmp_path)["step"] == 2 * (epoch + 1)
    assert read_checkpoint(tmp_path / "best.ckpt").progress["step"] == 2 * (best + 1)
    lines = [record.getMessage() for record in caplog.records if "ends early" in record.getMessage()]
    assert lines == ([] if epoch == 8 else [
        f"epoch: {epoch}, the training ends early: the AP has not improved in {patience} evaluations "
        f"(train_config.early_stop); best.ckpt is from epoch: {best}, AP: {SCORES[best]:.4f}"])
    assert ("early_stop" in last(tmp_path)) == (patience > 0)


def test_the_message_of_a_run_without_checkpoints_and_with_plain_epochs(tmp_path, caplog):
    caplog.set_level(logging.INFO, "centernet")
    plan, step = Plan(0, 18, 2, 1, 20, {"plain_from": 7}, EarlyStop(1)), Step()
    keeper = CheckpointKeeper(None, step, model_record(settings(), CATEGORIES), every=1, keep=1, start_step=0,
                              steps_per_epoch=2)
    train(step, Batches(), plan, TrainLog(tmp_path, 2, 18, 1), keeper, evaluate=iter([0.25, 0.2]).__next__)
    assert "(train_config.early_stop); the highest AP is from epoch: 0, AP: 0.2500" in caplog.text
    assert "(dataset_config.plain_epochs), from epoch 7 on, were not reached" in caplog.text


def test_a_resumed_run_ends_where_the_whole_one_does(tmp_path):
    """From the checkpoints before, at and after evaluations; that of an evaluation has its result."""
    fit(tmp_path / "whole", 3)
    for step in (1, 2, 11, 14, 15):
        path = tmp_path / "whole" / f"centernet-{(step + 1) // 2}_{2 - step % 2}.ckpt"
        progress = read_checkpoint(path).progress
        assert progress["early_stop"]["step"] == step // 2 * 2
        stop = EarlyStop(3)
        stop.restore(progress)
        folder = tmp_path / str(step)
        assert fit(folder, 3, start=step, stop=stop) == list(range(step // 2, 8)), step
        assert last(folder) == last(tmp_path / "whole")


def test_the_evaluation_of_a_killed_run_is_made_first(tmp_path):
    """The checkpoint of step 16 is written before its evaluation, which ends the training."""
    stop = EarlyStop(3, best=0.4, epoch=4, waited=2, step=14)
    assert fit(tmp_path, 3, start=16, stop=stop) == [7]
    assert last(tmp_path)["early_stop"]["waited"] == 3 and last(tmp_path)["step"] == 16
    assert [row["kind"] for row in read_metrics(tmp_path / "metrics.jsonl")] == ["evaluation"]


def test_a_run_that_has_ended_early_is_not_resumed(tmp_path):
    config = settings("--train_config.early_stop", "2", "--eval_interval", "1", "--resume", "true", "--epoch_size", "9",
                      "--load_checkpoint_path", str(tmp_path / "a.ckpt"))
    plan = make_plan(config, 2, 7, 1)
    plan.early_stop.waited = 2
    save_checkpoint(tmp_path / "a.ckpt", Step(), model_record(config, CATEGORIES), plan.progress(6))
    with pytest.raises(UserError, match="ended early, after 2 evaluations.*increase --train_config.early_stop"):
        resume(config, Step(), CATEGORIES, make_plan(config, 2, 7, 1))
    plan.early_stop.waited = 1
    save_checkpoint(tmp_path / "a.ckpt", Step(), model_record(config, CATEGORIES), plan.progress(6))
    resumed = resume(config, Step(), CATEGORIES, make_plan(config, 2, 7, 1))
    assert resumed.early_stop.waited == 1 and resumed.start_step == 6


def test_all_ranks_learn_the_first_rank_s_value(monkeypatch):
    found, _ = together(monkeypatch, 3, lambda group: from_first([0.123456789012345, None, 7][group.rank], group))
    assert found == [0.123456789012345] * 3
