"""The soak: its verdict, its plot, and short ones of a real training."""
import json
import re
import sys
from types import SimpleNamespace

import cv2
import pytest

from centernet.config.load import load_config
from centernet.errors import UserError
from centernet.files import read_json_lines
from tools import soak
from tools.soak_report import Limits, Window, draw, judge, report


def windows(count=10, **last_third):
    """Equal windows; `last_third` replaces values of the last third."""
    usual = {"process": 1, "seconds": 5.0, "rss_mib": 850.0, "peak_mib": 800.0, "threads": 12, "handles": 11,
             "cpu_seconds_per_step": 0.05, "steps_per_second": 20.0}
    return [Window(step=100 * number, **{**usual, **(last_third if number > count - (count - 1) // 3 else {})})
            for number in range(1, count + 1)]


def exceeded(rows, **limits):
    """Names of the exceeded limits."""
    return [check.name.split(",")[0] for check in judge(rows, Limits(**limits)) if not check.met]


@pytest.mark.parametrize("name, value, limits, found", [
    ("peak_mib", 816.0, {}, []),
    ("peak_mib", 816.1, {}, ["largest memory"]),
    ("peak_mib", 700.0, {}, []),
    ("peak_mib", 816.1, {"max_memory": 20.0}, []),
    ("threads", 13, {}, ["threads"]),
    ("threads", 13, {"max_threads": 1}, []),
    ("handles", 12, {}, ["open file handles"]),
    ("cpu_seconds_per_step", 0.061, {}, ["CPU seconds per step"]),
    ("cpu_seconds_per_step", 0.04, {}, []),
    ("steps_per_second", 9.9, {}, ["steps per second"]),
    ("steps_per_second", 30.0, {}, []),
    ("steps_per_second", 17.0, {"max_slowdown": 0.1}, ["steps per second"])])
def test_each_limit_is_judged(name, value, limits, found):
    assert exceeded(windows(**{name: value}), **limits) == found


def test_one_window_with_a_disturbance_does_not_decide():
    rows = windows()
    rows[0] = windows(10, peak_mib=100.0, threads=2)[-1]  # the first one compiles
    rows[-1] = windows(peak_mib=1500.0, threads=40, steps_per_second=1.0)[-1]
    assert exceeded(rows) == []


def test_the_verdict_names_what_grew_and_how_much_an_evaluation_takes():
    rows = [Window(**{**vars(row), "peak_mib": 800.0 + index}) for index, row in enumerate(windows(31))]
    checks = judge(rows, Limits())
    text = report(rows, checks)
    assert "memory per evaluation: +1.000 MiB" in text and text.endswith("verdict: NOT flat\n")
    assert re.search(r"^largest memory, MiB .* 20 MiB +16 MiB  EXCEEDED$", text, re.MULTILINE)
    assert report(windows(), judge(windows(), Limits())).endswith("verdict: flat\n")


def test_the_plot_is_a_small_picture(tmp_path):
    draw(windows(50), tmp_path / "soak.png")
    assert (tmp_path / "soak.png").stat().st_size < 60_000
    assert cv2.imread(str(tmp_path / "soak.png")).shape == (440, 560, 3)


def test_the_evaluations_of_a_resumed_run_are_read_once(tmp_path):
    path, tail = tmp_path / "metrics.jsonl", soak.Tail(tmp_path / "metrics.jsonl")
    assert list(tail.evaluations()) == []
    lines = [json.dumps({"kind": kind, "step": step, "seconds_per_step": step / 100, "AP": 0.1}) + "\n"
             for step in (10, 20, 30) for kind in ("epoch", "evaluation")]
    path.write_text("".join(lines[:2]) + lines[2][:9])
    assert list(tail.evaluations()) == [(10, 0.1)]
    path.write_text("".join(lines[:4]))
    assert list(tail.evaluations()) == [(20, 0.2)]
    path.write_text("".join(lines[:2]))  # the start of a resumed run
    assert list(tail.evaluations()) == []
    path.write_text("".join(lines))
    assert list(tail.evaluations()) == [(30, 0.3)]


@pytest.mark.parametrize("words, message", [(["--windows", "3"], "at least 4"), (["--steps", "0"], "at least 1"),
                                            (["--minutes", "-1"], "at least 0")])
def test_flags_that_cannot_be_judged(tmp_path, capsys, words, message):
    assert soak.main([str(tmp_path / "work"), *words]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "work").exists()


def test_a_folder_with_files_is_refused(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert soak.main([str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err and [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def program(path, status):
    """A command that writes the metrics of two epochs, as train.py does, and ends."""
    lines = [{"kind": kind, "step": step, "seconds_per_step": 0.5, "AP": 0.1}
             for step in (10, 20) for kind in ("epoch", "evaluation")]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return [sys.executable, "-c", f"import time; time.sleep(0.5); open({str(path)!r}, 'w').write({text!r}); "
                                  f"time.sleep(0.5); raise SystemExit({status})"]


def test_a_process_is_watched_from_outside(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = list(soak.watch(program(path, 0), soak.Tail(path), tmp_path / "log", 3))
    assert [(row.step, row.process, row.steps_per_second) for row in rows] == [(10, 3, 2.0), (20, 3, 2.0)]
    assert rows[0].peak_mib >= rows[0].rss_mib > 1 and rows[0].threads == 1 and rows[0].handles >= 3


def test_a_process_that_fails_is_an_error(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(UserError, match=r"train\.py ended with status 3 .* see the end of .*log"):
        list(soak.watch(program(path, 3), soak.Tail(path), tmp_path / "log", 1))


@pytest.mark.parametrize("one_process, steps", [(False, ["4", "8", "12"]), (True, ["12"])])
def test_each_process_but_the_first_resumes(tmp_path, monkeypatch, one_process, steps):
    commands = []
    monkeypatch.setattr(soak, "make_dataset", lambda *_: None)
    monkeypatch.setattr(soak.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0))
    monkeypatch.setattr(soak, "watch", lambda command, *_: commands.append(command) or iter(()))
    assert list(soak.soak(tmp_path, 3, 4, one_process, ["--seed", "5"])) == []
    assert [command[command.index("--train_steps") + 1] for command in commands] == steps
    assert ["--resume" in command for command in commands] == [False, True, True][:len(steps)]
    configs = [load_config("train", command[2:], "") for command in commands]  # train.py takes all these flags
    assert all(config.seed == 5 and config.save_checkpoint_steps == 4 for config in configs)


LONG = ["--max_memory", "500", "--max_threads", "9", "--max_handles", "9", "--max_cpu", "9", "--max_slowdown", "1"]


@pytest.mark.fault("memory, threads or file handles that grow in a long run",
                   "a training with an evaluation, and a resume or not, after every few steps",
                   "the soak compares the beginning with the end; status 1 if they differ")
@pytest.mark.slow
@pytest.mark.parametrize("mode, processes", [([], [1, 2, 3, 4]), (["--one_process"], [1] * 4)])
def test_a_short_soak(tmp_path, capsys, mode, processes):
    status = soak.main([str(tmp_path), "--windows", "4", "--steps", "4", *mode, *LONG])
    assert status == 0, capsys.readouterr()
    rows = read_json_lines(tmp_path / "soak.jsonl")[0]
    assert [(row["step"], row["process"]) for row in rows] == list(zip((4, 8, 12, 16), processes))
    assert all(row["rss_mib"] > 100 and row["threads"] > 1 and row["handles"] > 3 for row in rows)
    assert "verdict: flat" in (tmp_path / "soak.txt").read_text() and (tmp_path / "soak.png").exists()


@pytest.mark.slow
def test_a_training_that_fails_is_an_error(tmp_path, capsys):
    assert soak.main([str(tmp_path), "--flags", "--train_config.batch_size", "999"]) == 2
    assert "train.py ended with status 2" in capsys.readouterr().err
