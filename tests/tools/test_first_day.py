"""The first day on a card: its parts, their time, and its command line. test_first_day_run.py runs it."""
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools.first_day.parts import PARTS, Day, chain_reason, group_tasks, read_evaluation, seconds_of
from tools.first_day.run import chosen_parts, main, make_day, run_part
from tools.first_day.run import parse as parse_words
from tools.first_day.signals import interruptible
from tools.first_day.task import FAILED, PASSED, SKIPPED, TIMED_OUT, Outcome, Task

SCRIPT = Path(__file__).parents[2] / "scripts" / "first_day_ascend.sh"


# Time and commands

def test_shares_of_the_time_roll_over():
    assert sum(part.share for part in PARTS) == 100
    golden = next(part for part in PARTS if part.name == "golden")
    later = PARTS[PARTS.index(golden) + 1:]
    assert seconds_of(golden, later, 900) > 0.25 * 900, "the parts before have left their rest"
    assert seconds_of(PARTS[-1], (), 60) == 60 and seconds_of(golden, later, -5) == 0


@pytest.fixture
def day(tmp_path):
    return Day("CPU", 0, 0, "small", "", False, tmp_path / "out")


def run_apart(words, folder, seconds=5.0):
    """The outcome of a command that run_task runs, and what still ran afterwards.

    In a process of its own, because run_task ends all descendants of the process that calls it.
    """
    code = ("import dataclasses, json, os, sys; from pathlib import Path; "
            "from tools.first_day.task import Task, run_task; "
            "from centernet.jobs.launch.processes import adopt_orphans, descendants; "
            "adopt_orphans(); words, folder, seconds = json.loads(sys.argv[1]); "
            "read = lambda folder, log: {'log': float(log) if log.startswith('number') else log.strip()}; "
            "one = run_task(Task('a', 'b', tuple(words), read=read), Path(folder), os.environ, seconds); "
            "print(json.dumps([dataclasses.asdict(one), descendants(os.getpid())]))")
    done = subprocess.run([sys.executable, "-c", code, json.dumps([words, str(folder), seconds])], check=True,
                          capture_output=True, text=True)
    outcome, running = json.loads(done.stdout)
    return Outcome(**outcome), running


@pytest.mark.parametrize("code, status, reason", [
    ("print('fine')", PASSED, ""), ("print('number?')", FAILED, "its results cannot be read: could not convert"),
    ("import sys; print('error: no card'); sys.exit(3)", FAILED, "status 3: error: no card"),
    ("import os; os.abort()", FAILED, "ended by signal 6"), ("import time; time.sleep(60)", TIMED_OUT, "its share"),
    ("import subprocess as s; s.run(['sleep', '60'], start_new_session=True)", TIMED_OUT, "its share")])
def test_a_command_that_ends_in_any_way(tmp_path, code, status, reason):
    outcome, running = run_apart([sys.executable, "-S", "-c", code], tmp_path / "a", 0.5 if status == TIMED_OUT else 5)
    assert (outcome.status, running) == (status, []) and reason in outcome.reason, outcome
    assert outcome.command.startswith(f"cd {tmp_path}/a && ") and code[:6] in outcome.command
    assert (tmp_path / "a" / "log.txt").exists() and outcome.seconds < 5
    assert outcome.values == ({"log": "fine"} if status == PASSED else outcome.values)


def test_a_program_that_is_missing(tmp_path):
    assert "could not be started" in run_apart(["/no/such"], tmp_path)[0].reason


def test_a_part_goes_on_after_a_failure_and_ends_with_its_time(day, monkeypatch):
    clock, limits, took = [0.0], [], iter([(FAILED, 1.0), (PASSED, 10.0), (TIMED_OUT, 80.0)])

    def run_one(day, environments, task, seconds):
        status, spent = next(took)
        limits.append(seconds)
        clock[0] += spent
        return Outcome(task.part, task.name, status, seconds=spent, command="x")
    monkeypatch.setattr("tools.first_day.run.run_one", run_one)
    monkeypatch.setattr("tools.first_day.run.time", SimpleNamespace(monotonic=lambda: clock[0]))
    tasks = [Task("golden", name, ("x",)) for name in "abcde"]
    run_part(day, None, PARTS[2]._replace(tasks=lambda _: iter(tasks), each=0.8), 98.0)
    assert [one.status for one in day.outcomes] == [FAILED, PASSED, TIMED_OUT, SKIPPED]
    assert day.outcomes[3].name == "d, and what follows" and day.outcomes[3].reason == "the part's time was over"
    assert limits == [pytest.approx(78.4), pytest.approx(78.4), pytest.approx(78.4)]


def test_ctrl_c_ends_the_command_and_the_report_is_written(tmp_path):
    process = subprocess.Popen(["bash", str(SCRIPT), "--device_target", "CPU", "--only", "environment", "golden",
                                "--out", str(tmp_path / "out")], stdout=subprocess.PIPE, text=True, cwd=tmp_path,
                               env={**os.environ, "PYTHON": sys.executable}, start_new_session=True)
    while "Environment" not in process.stdout.readline():
        pass
    while not (tmp_path / "out" / "environment" / "versions" / "log.txt").exists():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in printed and "Golden" not in printed
    assert "**interrupted**" in (tmp_path / "out" / "first_day.md").read_text()


@pytest.mark.fault("the terminal is closed while the first day is measured", "the other end of its pseudo-terminal is "
                   "closed", "the command ends, the report is written, status 130")
def test_a_lost_terminal_ends_the_command_and_the_report_is_written(tmp_path):
    ours, theirs = pty.openpty()

    def take_terminal():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # pytest may run under nohup
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(["bash", str(SCRIPT), "--device_target", "CPU", "--only", "environment", "golden",
                                "--out", str(tmp_path / "out")], stdin=theirs, stdout=theirs, stderr=theirs,
                               cwd=tmp_path, env={**os.environ, "PYTHON": sys.executable}, start_new_session=True,
                               preexec_fn=take_terminal)
    try:
        os.close(theirs)
        while not (tmp_path / "out" / "environment" / "versions" / "log.txt").exists():
            time.sleep(0.02)
        os.close(ours)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
    assert "**interrupted**" in (tmp_path / "out" / "first_day.md").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_second_signal_does_not_interrupt_the_end(number):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # pytest may run under nohup
    try:
        with interruptible():
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(number)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_first_day_under_nohup_ignores_a_hangup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_needs_several_devices_or_lite_is_skipped_with_a_reason(day):
    assert [task.skip for task in group_tasks(day)] == ["a CPU has no group of devices"]
    day.device_target, day.devices = "Ascend", 1
    assert [task.skip for task in group_tasks(day)] == ["this process sees 1 device"]
    day.devices = 8
    day.outcomes.append(Outcome("prepare", "data", PASSED))
    assert [(task.name, task.skip) for task in group_tasks(day)] == [("2 devices", ""), ("8 devices", "")]
    assert "MS_LITE_HOME" in chain_reason(day, {}) and "export" in chain_reason(day, {"MS_LITE_HOME": "x"})
    day.device_target = "CPU"
    assert "CENTERNET_LITE" in chain_reason(day, {"MS_LITE_HOME": "x"})
    assert chain_reason(day, {"MS_LITE_HOME": "x", "CENTERNET_LITE": "y"}) == ""


def test_log_of_an_evaluation():
    log = ("processed 6 of 64 images, 3.0 images/s\nprocessed 64 of 64 images, 12.5 images/s\n"
           "input sizes compiled: 3, with their first runs 40.2 s; compiled before: 0\n")
    assert read_evaluation(None, log) == {"speed": 12.5, "sizes": 3, "first_runs": 40.2}


# Command line

@pytest.mark.parametrize("words, message", [
    (["--minutes", "0"], "--minutes 0"), (["--data", ""], "--data is empty: name a data set, or"),
    (["--out", "''"], "--out is empty: give a value, or leave the flag out"), (["--device_id", "-1"], "--device_id -1"),
    (["--device_target", "Ascend", "--device_id", "99"], "sees 0 Ascend devices"),
    (["--device_target", "CPU", "--dry_run"], "leave out --device_target CPU"),
    (["--device_target", "CPU", "--data", "/no/such/coco"], "/no/such/coco"),
    (["--device_target", "CPU", "--out", "."], "is not empty")])
def test_wrong_flags(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tools.first_day.run.seen_devices", lambda: ())
    (tmp_path / "file").touch()
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and message in captured.err and not captured.out
    assert captured.err.count("\n") == 1


def test_defaults_depend_on_the_device(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tools.first_day.run.seen_devices", lambda: (4, 5))
    monkeypatch.delenv("DEVICE_TARGET", raising=False)
    day = make_day(parse_words(["--out", "a"]))
    assert (day.device_target, day.devices, day.size) == ("Ascend", 2, "full")
    monkeypatch.setenv("DEVICE_TARGET", "CPU")
    assert (make_day(parse_words(["--out", "b"])).device_target, day.dry_run) == ("CPU", False)
    monkeypatch.setenv("MS_SIMULATION_LEVEL", "1")
    day = make_day(parse_words(["--out", "c"]))
    assert (day.device_target, day.dry_run, day.size) == ("Ascend", True, "small")


def test_parts_that_need_data_bring_its_preparation():
    assert [part.name for part in chosen_parts(["evaluation"])] == ["prepare", "evaluation"]
    assert [part.name for part in chosen_parts(["golden"])] == ["golden"] and chosen_parts(None) == list(PARTS)
