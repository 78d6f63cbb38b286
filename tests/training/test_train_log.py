"""Log lines for people, and loss.png: one line for each epoch on a terminal, the documented lines in files."""
import json
import logging

import numpy as np
import pytest

from centernet.cli.console import set_up_log
from centernet.training import loss_plot
from centernet.training.loss_plot import LossPlot, plot_losses, smoothed, smoothing
from centernet.training.train_log import StepResult, TrainLog, duration, has_epoch_lines

WEIGHTS = {"hm": 1.0, "wh": 0.1, "off": 1.0}


def result(total, overflow=False):
    return StepResult(total, total / 2, total * 2, 0.0, overflow, 1.0, 0.25)


def two_epochs(folder, **options):
    """Two epochs of two steps, with an evaluation after the first."""
    log = TrainLog(folder, 2, 4, 8, weights=(1.0, 0.1, 1.0), **options)
    for epoch in range(2):
        log.step(epoch, 2 * epoch + 1, result(float("nan"), True) if epoch else result(4.0))
        log.step(epoch, 2 * epoch + 2, result(2.0))
        log.epoch(epoch, 2 * epoch + 2)
        if epoch == 0:
            log.evaluation(epoch, 2, 0.25, True)
    log.close()


@pytest.fixture
def root():
    logger = logging.getLogger()
    before = list(logger.handlers)
    yield logger
    logger.handlers[:] = before


def lines(folder, capsys, **options):
    """The lines on the console and in --log_file."""
    set_up_log(str(folder / "training_log.txt"))
    capsys.readouterr()
    two_epochs(folder, **options)
    return capsys.readouterr().out.splitlines(), (folder / "training_log.txt").read_text().splitlines()


def test_a_terminal_gets_a_line_for_each_epoch_and_the_file_the_documented_ones(root, tmp_path, capsys):
    console, file = lines(tmp_path, capsys, epoch_lines=True)
    assert [line.startswith("epoch") for line in console] == [False, True, True] and "first step" in console[0]
    parts = console[1].split("  ")
    assert parts[:3] == ["epoch 1/2", "loss 3 (hm 1.5, wh 0.6)", "lr 0.25"] and parts[-1] == "AP 0.2500 (best so far)"
    assert parts[3].endswith(" images/s") and parts[4].endswith(" left")
    assert console[2].startswith("epoch 2/2  loss 2 (hm 1, wh 0.4)  lr 0.25  1 of 2 steps skipped  ")
    assert "left" not in console[2]
    (tmp_path / "training_log.txt").unlink()
    other, same = lines(tmp_path, capsys)
    assert [line[:9] for line in file] == [line[:9] for line in same] and other == same
    assert [line for line in file if "outputs" in line] == [line for line in same if "outputs" in line]
    assert "epoch: 0, AP: 0.2500 (best so far)" in file and not any("images/s" in line for line in file)


def test_the_last_part_of_an_epoch_has_a_line(root, tmp_path, capsys):
    set_up_log("")
    log = TrainLog(tmp_path, 4, 5, 8, weights=(1.0, 0.1, 1.0), epoch_lines=True)
    log.step(0, 1, result(4.0))
    log.close()
    assert capsys.readouterr().out.splitlines()[-1].startswith("epoch 1/2  loss 4 (hm ")


def test_the_means_of_a_resumed_epoch_include_its_earlier_steps(tmp_path):
    log = TrainLog(tmp_path, 2, 4, 8)
    for step, total in ((1, 9.0), (2, 9.0), (3, 4.0)):
        log.step((step - 1) // 2, step, result(total))
    log.close()
    log = TrainLog(tmp_path, 2, 4, 8, start_step=3)
    log.step(1, 4, result(2.0))
    log.epoch(1, 4)
    log.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["loss"] == 3.0


def test_a_resumed_run_without_a_step_has_no_line_of_a_part_of_an_epoch(root, tmp_path, capsys):
    """Only the evaluation after its last step was missing."""
    log = TrainLog(tmp_path, 2, 3, 8)
    for step in (1, 2, 3):
        log.step((step - 1) // 2, step, result(4.0))
    log.close()
    set_up_log("")
    TrainLog(tmp_path, 2, 3, 8, start_step=3, repeats_evaluation=True, epoch_lines=True).close()
    assert "part of the epoch" not in capsys.readouterr().out


@pytest.mark.parametrize("word, terminal, expected", [
    ("auto", True, True), ("auto", False, False), ("modelzoo", True, False), ("epochs", False, True)])
def test_the_form_of_the_lines(monkeypatch, word, terminal, expected):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    assert has_epoch_lines(word) is expected


def test_durations():
    assert [duration(value) for value in (7.2, 725, 10809)] == ["0:07", "12:05", "3:00:09"]


def test_the_plot_is_drawn_from_metrics(tmp_path):
    plot_losses(tmp_path / "metrics.jsonl", tmp_path / "none.png", WEIGHTS)
    assert not (tmp_path / "none.png").exists()
    row = {"kind": "step", "epoch": 0, "loss": 2.0, "hm_loss": 1.0, "wh_loss": 0.5, "off_loss": 0.0, "lr": 0.1}
    rows = [{**row, "step": 1}, {**row, "step": 2, "loss": None}, {"kind": "epoch", "epoch": 0, "step": 2},
            {"kind": "evaluation", "epoch": 0, "step": 2, "AP": 0.1, "best": True}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    plot_losses(tmp_path / "metrics.jsonl", tmp_path / "loss.png", WEIGHTS)
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "loss.png"}


def test_smoothing_leaves_out_what_is_not_finite():
    assert [smoothing(steps) for steps in (1, 49, 50, 100, 500, 5000)] == [1, 1, 1, 3, 11, 101]
    values = np.array([1.0, np.nan, 3.0, 5.0])
    np.testing.assert_allclose(smoothed(values, 3), [1.0, 2.0, 4.0, 4.0])
    np.testing.assert_array_equal(smoothed(values, 1), values)


def test_the_plot_is_updated_at_ends_of_epochs_and_not_too_often(tmp_path, monkeypatch):
    clock, drawn = [0.0], []

    def draw(metrics, picture, weights):
        drawn.append(clock[0])
        clock[0] += 4.0  # seconds of drawing
    monkeypatch.setattr(loss_plot.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(loss_plot, "plot_losses", draw)
    plot = LossPlot(tmp_path, WEIGHTS)
    for clock[0], kind in ((10.0, "epoch"), (40.0, "step"), (41.0, "epoch"), (60.0, "epoch"), (130.0, "evaluation")):
        plot.add({"kind": kind})
    assert drawn == [41.0, 130.0]
    plot.close()
    assert len(drawn) == 3
