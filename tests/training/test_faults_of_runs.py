"""Faults of a training: it is killed or stopped, an evaluation fails, files are damaged."""
import os
import signal
import time

import pytest

from centernet.errors import Interrupted, UserError
from centernet.interrupt import interrupted, signals_set_a_flag, stop_if_interrupted
from centernet.training import folders
from centernet.training.checkpoints import CheckpointKeeper
from centernet.training.metrics_file import read_metrics
from centernet.training.setup import make_plan, resume
from centernet.weights.checkpoint import model_record, read_checkpoint, save_checkpoint
from tests.tiny_training import CATEGORIES, settings
from tests.training.tiny_runs import SCORES, Killed, Step, keeper_of, run


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
