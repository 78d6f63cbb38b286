import logging
import re

import numpy as np
import pytest
from mindspore import Tensor

from centernet.errors import UserError
from centernet.training.checkpoints import CheckpointKeeper
from centernet.training.loop import Plan, diagnosis, profiler, train
from centernet.training.metrics_file import read_metrics
from centernet.training.train_log import StepResult, TrainLog
from centernet.weights.checkpoint import load_parameters, model_record, read_checkpoint
from tests.tiny_training import CATEGORIES, changed, settings, tiny_batch, tiny_step, values

NUMBER = r"-?(\d+(\.\d+)?(e[+-]\d+)?|inf|nan)"
LINE = re.compile(rf"epoch: \d+, current epoch percent: \d\.\d{{3}}, step: \d+, outputs are "
                  rf"\(Tensor\(shape=\[\], dtype=Float32, value= {NUMBER}\), "
                  rf"Tensor\(shape=\[\], dtype=Bool, value= (True|False)\), "
                  rf"Tensor\(shape=\[\], dtype=Float32, value= {NUMBER}\)\)")


class Batches:
    """Three steps an epoch; steps named in bad (from 0, over all epochs) hold an inf in the target."""

    def __init__(self, bad=()):
        self.bad = bad

    def epoch(self, epoch, skip=0):
        for index in range(3 * epoch + skip, 3 * epoch + 3):
            image, target = tiny_batch(index)
            if index in self.bad:
                target[0, 0, 0, 0] = np.inf
            yield image, target


def fit(folder, step, total, start=0, bad=(), every=100, keep=10, skips=20, evaluate=None, interval=1):
    """Train in folder; returns the objects of metrics.jsonl."""
    plan = Plan(start, total, 3, interval if evaluate else 0, skips, {"seed": 5})
    log = TrainLog(folder, 3, total, 2, start)
    keeper = CheckpointKeeper(folder, step, model_record(settings(), CATEGORIES), every=every, keep=keep,
                              start_step=start, steps_per_epoch=3)
    try:
        train(step, Batches(bad), plan, log, keeper, evaluate=evaluate)
    finally:
        log.close()
    return read_metrics(folder / "metrics.jsonl")


def names(folder):
    return sorted(path.name for path in folder.glob("*.ckpt"))


@pytest.fixture(scope="module")
def compiled():
    """A step, compiled at its first call, and its first values."""
    step = tiny_step()
    return step, values(step)


@pytest.fixture
def step(compiled):
    """The compiled step as it was before its first call."""
    step, start = compiled
    for parameter in step.get_parameters():
        parameter.set_data(Tensor(start[parameter.name]))
    return step


@pytest.fixture(autouse=True)
def log_level(caplog):
    caplog.set_level(logging.INFO, "centernet")


def test_lines_are_those_that_people_grep(tmp_path, caplog):
    fit(tmp_path, tiny_step("--train_config.loss_scale_value", "512"), 4, bad=[1])
    lines = [record.getMessage() for record in caplog.records]
    steps = [line for line in lines if line.startswith("epoch: ")]
    assert len(steps) == 4 and all(LINE.fullmatch(line) for line in steps)
    assert steps[0].startswith("epoch: 0, current epoch percent: 0.333, step: 1, ")
    assert steps[1].endswith("dtype=Bool, value= True), Tensor(shape=[], dtype=Float32, value= 512))")
    assert steps[2].endswith("dtype=Bool, value= False), Tensor(shape=[], dtype=Float32, value= 256))")
    assert steps[2].startswith("epoch: 0, current epoch percent: 1.000, step: 3, ")
    assert steps[3].startswith("epoch: 1, current epoch percent: 0.333, step: 4, ")
    times = [line for line in lines if line.startswith("epoch time")]
    assert len(times) == 1 and re.fullmatch(r"epoch time: \d+\.\d{3} ms, per step time: \d+\.\d{3} ms", times[0])
    assert sum(bool(re.fullmatch(r"first step \(with compilation\) took \d+\.\d s", line)) for line in lines) == 1


def test_the_time_of_all_first_runs_is_told(tmp_path, caplog):
    log = TrainLog(tmp_path, 3, 3, 2)
    log.step(0, 1, StepResult(2.0, 1.0, 0.5, 0.5, False, 1.0, 0.1))
    log.first_step = 1.52
    log.step(0, 2, StepResult(2.0, 1.0, 0.5, 0.5, False, 1.0, 0.1))
    log.compilation([0.25, 2.0])
    log.close()
    assert caplog.records[-1].getMessage() == ("first runs (with compilation) took 3.8 s in all: first step 1.5 s, "
                                               "2 input sizes of evaluations 2.2 s")


def test_metrics_hold_the_same_numbers(tmp_path):
    rows = fit(tmp_path, tiny_step("--train_config.loss_scale_value", "512", rate=0.25), 4, bad=[1])
    assert [(row["kind"], row["step"]) for row in rows] == [("step", 1), ("step", 2), ("step", 3), ("epoch", 3),
                                                           ("step", 4)]
    first, second, _, epoch, last = rows
    assert first["hm_loss"] == pytest.approx(first["loss"] / 2) and first["off_loss"] == 0 and first["lr"] == 0.25
    assert second["overflow"] and second["loss"] is None and second["scale"] == 512 and not last["overflow"]
    assert first["images_per_second"] is None and last["images_per_second"] > 0
    assert epoch["loss"] == pytest.approx((first["loss"] + rows[2]["loss"]) / 2)
    assert epoch["seconds_per_step"] == pytest.approx(epoch["seconds"] / 2)


def test_two_halves_from_one_start_equal_the_whole(tmp_path):
    whole = tiny_step("--train_config.loss_scale_window", "2", drops=(4,))
    rows = fit(tmp_path / "whole", whole, 8, bad=[3], every=4)
    second = tiny_step("--train_config.loss_scale_window", "2", drops=(4,))
    assert changed(values(second), values(whole))
    path = tmp_path / "whole" / "centernet-2_1.ckpt"
    checkpoint = read_checkpoint(path)
    assert checkpoint.progress == {"seed": 5, "step": 4, "epoch": 1, "steps_per_epoch": 3}
    load_parameters(second, checkpoint.parameters, path)
    resumed = fit(tmp_path / "second", second, 8, start=4, bad=[3])
    assert not changed(values(whole), values(second))

    def losses(found):
        return [row["loss"] for row in found if row["kind"] == "step" and row["step"] > 4]
    assert losses(resumed) == losses(rows) and len(losses(rows)) == 4


def test_a_resumed_run_replaces_the_metrics_of_what_it_repeats(tmp_path, step):
    fit(tmp_path, step, 5)
    (tmp_path / "metrics.jsonl").open("a").write('{"kind": "step", "st')
    rows = fit(tmp_path, step, 6, start=3)
    assert [row["step"] for row in rows if row["kind"] == "step"] == [1, 2, 3, 4, 5, 6]


def test_the_newest_checkpoints_are_kept(tmp_path, step):
    fit(tmp_path, step, 7, every=2, keep=2)
    assert names(tmp_path) == ["centernet-2_3.ckpt", "centernet-3_1.ckpt", "last.ckpt"]
    assert read_checkpoint(tmp_path / "last.ckpt").progress["step"] == 7
    # A resumed run counts them as its own, a new one does not.
    fit(tmp_path, step, 9, start=7, every=2, keep=2)
    assert names(tmp_path) == ["centernet-3_2.ckpt", "centernet-3_3.ckpt", "last.ckpt"]
    fit(tmp_path, step, 2, every=1, keep=1)
    assert names(tmp_path) == ["centernet-1_2.ckpt", "centernet-3_2.ckpt", "centernet-3_3.ckpt", "last.ckpt"]


def test_an_old_checkpoint_stays_if_the_new_one_fails(tmp_path, monkeypatch, step):
    keeper = CheckpointKeeper(tmp_path, step, model_record(settings(), CATEGORIES), every=1, keep=1, start_step=0,
                              steps_per_epoch=3)
    keeper.save({"step": 1})

    def fail(*_):
        raise UserError("disk full")
    monkeypatch.setattr("centernet.training.checkpoints.save_checkpoint", fail)
    monkeypatch.setattr("centernet.training.checkpoints.RETRY_SECONDS", 0.0)
    keeper.save({"step": 2})
    with pytest.raises(UserError, match="after step 3.*--resume true"):
        keeper.save({"step": 3})
    assert names(tmp_path) == ["centernet-1_1.ckpt", "last.ckpt"]


def test_the_best_checkpoint_is_that_of_the_highest_precision(tmp_path, step):
    weights, scores = [], iter([0.1, 0.3, 0.2])

    def evaluate():
        step.set_train(False)
        weights.append(values(step)["backbone.0.weight"])
        return next(scores)
    rows = fit(tmp_path, step, 9, evaluate=evaluate)
    best = read_checkpoint(tmp_path / "best.ckpt")
    assert best.progress["AP"] == 0.3 and best.progress["step"] == 6
    assert np.array_equal(best.parameters["backbone.0.weight"].asnumpy(), weights[1])
    assert [(row["epoch"], row["AP"], row["best"]) for row in rows if row["kind"] == "evaluation"] == [
        (0, 0.1, True), (1, 0.3, True), (2, 0.2, False)]
    assert step.training and step.loss_network.network.training
    resumed = CheckpointKeeper(tmp_path, step, model_record(settings(), CATEGORIES), every=1, keep=1, start_step=9,
                              steps_per_epoch=3)
    assert resumed.best_precision == 0.3


@pytest.mark.parametrize("total, interval, expected", [
    (13, 2, [(1, 6), (3, 12), (4, 13)]), (12, 2, [(1, 6), (3, 12)]), (6, 5, [(1, 6)])])
def test_evaluation_comes_every_n_epochs_and_after_the_last_step(tmp_path, step, total, interval, expected):
    rows = fit(tmp_path, step, total, evaluate=lambda: 0.5, interval=interval)
    assert [(row["epoch"], row["step"]) for row in rows if row["kind"] == "evaluation"] == expected
    assert read_checkpoint(tmp_path / "last.ckpt").progress["evaluated"] == total


def test_skipped_steps_in_a_row_stop_with_a_diagnosis(tmp_path, step):
    with pytest.raises(UserError, match=r"stopped at step 6: 3 steps in a row.*loss of hm, wh, off is not finite.*"
                                        r"hm inf.*loss scale 128, learning rate 0.01.*learning rate"):
        fit(tmp_path, step, 9, bad=[1, 3, 4, 5], skips=3)
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 7  # six steps, and the first epoch's end
    assert all(np.isfinite(value).all() for value in values(step).values())


class Slow:
    """A step of which a test sees when it starts and when its numbers are read."""

    def __init__(self, overflows=()):
        self.events, self.overflows = [], overflows
        self.set_train = lambda mode: None

    def __call__(self, image, target):
        number = sum(event.startswith("start") for event in self.events) + 1
        self.events.append(f"start {number}")
        return self.Numbers(self, number), None

    class Numbers:
        def __init__(self, step, number):
            self.step, self.number = step, number

        def asnumpy(self):
            self.step.events.append(f"read {self.number}")
            return np.array([1, 1, 1, 1, self.number in self.step.overflows, 1, 1], np.float32)


def events(total, skips=20, due=(), **options):
    step, keeper = Slow(**options), CheckpointKeeper(None, None, None, every=1, keep=1, start_step=0,
                                                     steps_per_epoch=3)
    keeper.is_due = lambda number, last: number in due
    keeper.save = lambda progress: step.events.append(f"save {progress['step']}")
    log = TrainLog(None, 6, total, 2)
    log.epoch = lambda epoch, number: step.events.append(f"epoch {number}")
    try:
        train(step, Batches(), Plan(0, total, 3, 0, skips, {}), log, keeper)
    except UserError:
        step.events.append("error")
    return step.events


def test_a_step_is_read_while_the_next_one_runs():
    """But the first one at once, and all before a checkpoint and the end of an epoch."""
    assert events(6, due=(5,)) == ["start 1", "read 1", "start 2", "start 3", "read 2", "read 3", "epoch 3",
                                   "start 4", "start 5", "read 4", "read 5", "save 5", "start 6", "read 6", "epoch 6"]


def test_no_step_starts_after_the_last_one_that_may_be_skipped():
    assert events(3, skips=1, overflows=(2,)) == ["start 1", "read 1", "start 2", "read 2", "error"]
    assert events(9, skips=3, overflows=(5, 6, 7)) == [
        "start 1", "read 1", "start 2", "start 3", "read 2", "read 3", "epoch 3", "start 4", "start 5", "read 4",
        "start 6", "read 5", "read 6", "epoch 6", "start 7", "read 7", "error"]


def test_an_error_of_the_data_does_not_lose_a_line(tmp_path):
    class Broken(Batches):
        def epoch(self, epoch, skip=0):
            yield from list(super().epoch(epoch, skip))[:2]
            raise UserError("a shard is damaged")
    log = TrainLog(tmp_path, 3, 3, 2)
    with pytest.raises(UserError, match="damaged"):
        train(Slow(), Broken(), Plan(0, 3, 3, 0, 20, {}), log, CheckpointKeeper(
            None, None, None, every=1, keep=1, start_step=0, steps_per_epoch=3))
    log.close()
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2]


def test_the_diagnosis_tells_losses_from_gradients():
    text = diagnosis(4, 1, StepResult(2.0, 1.0, 0.5, 0.5, True, 1024.0, 0.1))
    assert "1 step in a row" in text and "the losses are finite, gradients are not" in text and "grad_clip" in text


def test_a_silent_log_writes_nothing(tmp_path, monkeypatch, caplog, step):
    monkeypatch.chdir(tmp_path)
    keeper = CheckpointKeeper(None, step, model_record(settings(), CATEGORIES), every=1, keep=1, start_step=0,
                              steps_per_epoch=3)
    train(step, Batches(), Plan(0, 3, 3, 0, 1, {}), TrainLog(None, 3, 3, 2), keeper)
    assert not list(tmp_path.iterdir()) and not caplog.records


def test_the_profiler_writes_its_folder(tmp_path, step):
    keeper = CheckpointKeeper(None, step, model_record(settings(), CATEGORIES), every=1, keep=1, start_step=0,
                              steps_per_epoch=3)
    with profiler(str(tmp_path / "profile")) as after_step:
        train(step, Batches(), Plan(0, 6, 3, 0, 1, {}), TrainLog(None, 3, 6, 2), keeper, profile=after_step)
    assert list((tmp_path / "profile").rglob("*.csv"))
