"""Trainings on a disk that is full: checkpoints, metrics, the plot and the log file."""
import errno
import json
import logging
import os

import pytest

from centernet.cli.console import set_up_log
from centernet.errors import UserError
from centernet.training import checkpoints, loss_plot
from centernet.training.metrics_file import Metrics
from centernet.weights.checkpoint import read_checkpoint, save_checkpoint
from tests.training.tiny_runs import TOTAL, Step, keeper_of, run


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
        monkeypatch.setattr(os, "write", limited)
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
