"""Faults in a long training: killed evaluations, signals, full disks, damaged files. What the next run does then."""
import errno
import json
import logging
import os
import signal
import time

import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from centernet.cli.console import set_up_log
from centernet.errors import Interrupted, UserError
from centernet.interrupt import interrupted, signals_set_a_flag, stop_if_interrupted
from centernet.training import checkpoints, folders, loss_plot, train_log
from centernet.training.checkpoints import CheckpointKeeper
from centernet.training.loop import Evaluated, Plan, train
from centernet.training.setup import make_plan, resume
from centernet.training.train_log import Metrics, TrainLog, read_metrics
from centernet.weights.checkpoint import model_record, read_checkpoint, save_checkpoint
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


@pytest.mark.fault("an evaluation that fails in a training, such as a damaged image", "an error in the second one",
                   "a checkpoint of all steps is saved and named, status 2; a resumed run makes that evaluation")
def test_an_evaluation_that_fails_loses_no_steps(whole, tmp_path):
    def damaged(epoch):
        if epoch == 1:
            raise UserError("image 7.jpg is cut off")
        return SCORES[epoch]
    with pytest.raises(UserError, match="the evaluation after step 4 failed: image 7.jpg is cut off. .*--resume true"):
        run(tmp_path, damaged, every=100)
    assert read_checkpoint(tmp_path / "last.ckpt").progress["step"] == 4
    assert run(tmp_path, every=100) == [1, 2] and result(tmp_path) == result(whole)


def signal_comes(number=signal.SIGTERM):
    signal.raise_signal(number)
    deadline = time.monotonic() + 5
    while not interrupted():
        assert time.monotonic() < deadline


def result(folder):
    """What a training leaves: metrics without times, progress of the best and of the newest checkpoint."""
    rows = [{key: value for key, value in row.items() if "second" not in key}
            for row in read_metrics(folder / "metrics.jsonl") if row["kind"] != "epoch"]
    return rows, *(read_checkpoint(folder / f"{name}.ckpt").progress for name in ("best", "last"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder) == [0, 1, 2]
    return folder


@pytest.mark.fault("SIGKILL during the evaluation of an epoch",
                   "an exception that nothing catches ends it in the evaluation, or before the checkpoint with its "
                   "result", "the resumed run evaluates that epoch; metrics and best.ckpt equal those of a whole run")
@pytest.mark.parametrize("epoch", [0, 1, 2])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_evaluation_of_a_killed_run_is_made_by_the_next_one(whole, tmp_path, monkeypatch, epoch, moment):
    """Killed in the evaluation, or after best.ckpt was written and before the checkpoint with the evaluation."""
    def killed(number):
        if number == epoch:
            raise Killed
        return SCORES[number]
    if moment == "after":
        saves = iter([True, True, False] * 3 if epoch == 0 else [True, True, True] * epoch + [True, True, False])
        save = CheckpointKeeper.save

        def save_or_die(keeper, progress):
            if not next(saves):
                raise Killed
            save(keeper, progress)
        with monkeypatch.context() as patch:
            patch.setattr(CheckpointKeeper, "save", save_or_die)
            with pytest.raises(Killed):
                run(tmp_path)
    else:
        with pytest.raises(Killed):
            run(tmp_path, killed)
    assert read_checkpoint(tmp_path / "last.ckpt").progress["evaluated"] == 2 * epoch
    assert run(tmp_path) == list(range(epoch, 3))
    assert result(tmp_path) == result(whole)


@pytest.mark.fault("SIGKILL during the last evaluation", "a checkpoint of the last step without its evaluation",
                   "--resume starts with this evaluation, and takes no step")
def test_a_finished_training_is_resumed_for_its_last_evaluation_only(tmp_path):
    flags = ("--eval_interval", "1", "--epoch_size", "3", "--resume", "true", "--load_checkpoint_path",
             str(tmp_path / "a.ckpt"))
    config = settings(*flags)
    plan = make_plan(config, 2, 7, 1)
    plan.evaluated.step = 4
    save_checkpoint(tmp_path / "a.ckpt", Step(), model_record(config, CATEGORIES), plan.progress(6))
    resumed = resume(config, Step(), CATEGORIES, make_plan(config, 2, 7, 1))
    assert resumed.begins_with_evaluation and resumed.start_step == 6
    plan.evaluated.step = 6
    save_checkpoint(tmp_path / "a.ckpt", Step(), model_record(config, CATEGORIES), plan.progress(6))
    with pytest.raises(UserError, match="was saved after 6 steps, but this training ends after 6"):
        resume(config, Step(), CATEGORIES, make_plan(config, 2, 7, 1))
    old = {key: value for key, value in plan.progress(6).items() if key != "evaluated"}
    save_checkpoint(tmp_path / "a.ckpt", Step(), model_record(config, CATEGORIES), old)
    with pytest.raises(UserError, match="was saved after 6 steps"):  # nobody knows whether it was evaluated
        resume(config, Step(), CATEGORIES, make_plan(config, 2, 7, 1))


@pytest.mark.fault("SIGTERM or Ctrl-C while a training evaluates", "the signal arrives in the evaluation",
                   "a checkpoint is written; the resumed run evaluates again")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_an_evaluation_saves_what_is_pending(whole, tmp_path, number):
    def evaluate(epoch):
        if epoch == 1:
            signal_comes(number)
            stop_if_interrupted()
        return SCORES[epoch]
    with signals_set_a_flag(), pytest.raises(Interrupted, match=f"{number.name}.*--resume true.*last.ckpt") as stop:
        run(tmp_path, evaluate, every=100)
    assert stop.value.status == 128 + number
    progress = read_checkpoint(tmp_path / "last.ckpt").progress
    assert (progress["step"], progress["evaluated"]) == (4, 2)
    assert run(tmp_path) == [1, 2]
    assert result(tmp_path) == result(whole)


@pytest.mark.fault("SIGTERM or SIGHUP during a step", "the signal arrives in the step",
                   "the step is finished and saved; the end says how to resume")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_step_saves_after_it(tmp_path, number):
    calls, before = iter(range(99)), signal.signal(signal.SIGHUP, signal.SIG_DFL)  # pytest may run under nohup
    try:
        with signals_set_a_flag(), pytest.raises(Interrupted, match="--resume true") as stop:
            run(tmp_path, before=lambda: signal_comes(number) if next(calls) == 2 else None, every=100)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert stop.value.status == 128 + number
    assert read_checkpoint(tmp_path / "last.ckpt").progress["step"] == 3
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl") if row["kind"] == "step"] == [1, 2, 3]


@pytest.mark.fault("SIGTERM before the first step", "the signal is there when the loop begins",
                   "the run ends without a compilation")
def test_a_signal_before_the_first_step_starts_no_compilation(tmp_path):
    with signals_set_a_flag():
        signal_comes()
        with pytest.raises(Interrupted, match="has not written a checkpoint"):
            run(tmp_path, before=lambda: pytest.fail("a step started"))


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.fault("the disk is full when a checkpoint is written", "saving fails at chosen tries",
                   "tried twice, then the run goes on; a second failure in a row ends it")
def test_a_checkpoint_is_tried_twice_and_may_be_missing_once(tmp_path, monkeypatch, caplog):
    step, tries = Step(), []
    monkeypatch.setattr(checkpoints, "RETRY_SECONDS", 0.0)
    keeper = keeper_of(tmp_path, step, keep=2)
    outcomes = iter([True, False, True, False, False, True, False, False, False, False])

    def save(path, *rest):
        tries.append(path.name)
        if not next(outcomes):
            raise UserError(f"{path} could not be written.")
        save_checkpoint(path, *rest)
    monkeypatch.setattr(checkpoints, "save_checkpoint", save)
    for number in (1, 2, 3, 4):  # written, written at the second try, missing, written
        keeper.save({"step": number})
    assert len(tries) == 6 and [record.levelname for record in caplog.records].count("WARNING") == 1
    assert keeper.after_evaluation(0.5, {"step": 4})  # it is the best one, although it is not on the disk
    with pytest.raises(UserError, match="3_1.ckpt could not be written. The training ends here, after step 5"):
        keeper.save({"step": 5})
    assert read_checkpoint(tmp_path / "last.ckpt").progress["step"] == 4
    assert not (tmp_path / "best.ckpt").exists()


@pytest.mark.fault("the disk is full at the end of a training", "writing the last checkpoint fails",
                   "status 2 with the place and the reason")
def test_the_checkpoint_of_the_last_step_must_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr("centernet.weights.checkpoint.ms.save_checkpoint", full)
    with pytest.raises(UserError, match="could not be written: .*The training ends here, after step 6"):
        keeper_of(tmp_path, Step()).save({"step": TOTAL})
    assert not list(tmp_path.iterdir())


@pytest.mark.fault("the disk is full when metrics are written", "writing metrics.jsonl fails for some steps",
                   "one warning; the lines are written when there is space")
def test_metrics_wait_until_the_disk_has_space(tmp_path, monkeypatch, caplog):
    metrics, write = Metrics(tmp_path / "metrics.jsonl", [{"step": 0}]), os.write
    for number, end in enumerate((None, 5, 0, 0, None), 1):  # how many bytes the disk takes; None: all

        def limited(file, data, left=[end]):  # noqa: B006 (the state of this disk)
            if left[0] is None:
                return write(file, data)
            if not left[0]:
                full()
            left[0], part = 0, data[:left[0]]
            return write(file, part)
        monkeypatch.setattr(train_log.os, "write", limited)
        metrics.write({"step": number})
    monkeypatch.undo()
    metrics.close()
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").open()] == [0, 1, 2, 3, 4, 5]
    assert [record.getMessage() for record in caplog.records] == [
        f"warning: cannot write {tmp_path / 'metrics.jsonl'}: No space left on device. The training goes on; its lines "
        "wait in memory, and each new line is a new try"]


@pytest.mark.fault("the result folder becomes full or read-only", "the metrics and the plot cannot be written",
                   "one warning each, the training goes on")
def test_a_training_goes_on_without_its_log_and_plot(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Metrics, "_flush", full)
    assert run(tmp_path) == [0, 1, 2]
    monkeypatch.setattr(loss_plot, "plot_losses", full)
    loss_plot.LossPlot(tmp_path, {}).draw()
    assert [record.getMessage().split(":")[1] for record in caplog.records if record.levelname == "WARNING"] == [
        f" cannot write {tmp_path / 'metrics.jsonl'}", f" cannot write {tmp_path / 'loss.png'}"]
    assert read_checkpoint(tmp_path / "last.ckpt").progress["step"] == TOTAL


@pytest.mark.fault("a log file on a full disk", "each line fails",
                   "file and console are told once each, not for each line")
def test_a_log_file_and_a_console_without_space_are_told_once(tmp_path, monkeypatch, capfd):
    root = logging.getLogger()
    before = list(root.handlers)
    set_up_log(str(tmp_path / "run.log"))
    console, file = root.handlers
    try:
        monkeypatch.setattr(file.stream, "write", full, raising=False)
        monkeypatch.setattr("centernet.cli.console.tqdm.write", full)
        for number in range(3):
            logging.getLogger("centernet").warning("line %d", number)
        errors = capfd.readouterr().err
        assert errors.count("warning: ") == 2 and "Traceback" not in errors
        assert "standard output: No space" in errors and "run.log: [Errno 28]" in errors
    finally:
        file.close()
        root.handlers[:] = before


@pytest.mark.fault("a damaged best.ckpt beside a good last.ckpt", "bytes of best.ckpt are cut",
                   "a warning; the run resumes from last.ckpt")
def test_a_damaged_best_checkpoint_does_not_stop_a_good_one(whole, tmp_path, caplog):
    def killed(epoch):
        if epoch == 1:
            raise Killed
        return SCORES[epoch]
    with pytest.raises(Killed):
        run(tmp_path, killed)
    (tmp_path / "best.ckpt").write_bytes((tmp_path / "best.ckpt").read_bytes()[:100])
    assert run(tmp_path) == [1, 2]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 and str(tmp_path / "best.ckpt") in warnings[0]
    assert result(tmp_path) == result(whole)


@pytest.mark.fault("unfinished files of a killed run", "files that were never renamed",
                   "the next run removes them")
def test_what_a_killed_run_left_is_removed(tmp_path):
    for name in (".unfinished.tmp", ".unfinished.centernet-1_1.ckpt", ".unfinished.last.ckpt.tmp"):
        (tmp_path / name).write_bytes(b"half")
    keeper_of(tmp_path, Step())
    assert not list(tmp_path.iterdir())


@pytest.mark.fault("two trainings with one checkpoint folder", "a second training starts",
                   "it ends at its start, with the process that owns the folder")
def test_two_trainings_do_not_write_into_one_folder(tmp_path):
    def owned(checkpoints, results, first=True):
        return folders.owned_folders(settings("--save_checkpoint_path", str(tmp_path / checkpoints),
                                              "--save_result_dir", str(tmp_path / results)), first)
    with owned("a", "b"):
        for others, flag in ((("a", "c"), "checkpoint_path"), (("c", "b"), "result_dir")):
            with pytest.raises(UserError, match=rf"--save_{flag} .*: process {os.getpid()} on"), owned(*others):
                pass
        with owned("a", "b", first=False):  # the other ranks
            pass
    with owned("a", "a"):  # one folder for both
        pass
    assert not list(tmp_path.iterdir())
