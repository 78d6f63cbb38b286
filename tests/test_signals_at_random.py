"""SIGTERM at random moments of a training with evaluations, a conversion and an export: each an orderly end.

MOMENTS=200 pytest -m slow tests/test_signals_at_random.py sends 200 signals; the default is 10.
"""
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from centernet.weights.checkpoint import read_checkpoint
from tests.tiny_group import ROOT
from tests.tiny_model import tiny_work
from tests.tiny_training import TINY

MOMENTS = int(os.environ.get("MOMENTS", "10"))
LIMIT = 30  # seconds from the signal to the end
LONGEST = 300
TRAIN = (*TINY, "--train_config.batch_size", "2", "--num_workers", "1", "--epoch_size", "4", "--eval_interval", "1",
         "--eval_config.pad", "31", "--eval_config.K", "20", "--save_checkpoint_steps", "2")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tiny_work(tmp_path_factory.mktemp("work"))


def command(work, name, out):
    """The words of a command, whose output is in the folder out."""
    data, device = str(work), ("--device_target", "CPU")
    return {"train": ("train.py", *TRAIN, "--mindrecord_dir", f"{data}/shards", "--data_dir", data,
                      "--save_checkpoint_path", str(out)),
            "convert": ("src/dataset.py", *device, "--coco_data_dir", data, "--mindrecord_dir", str(out)),
            "export": ("export.py", "--config_path", f"{data}/tiny.yaml", "--export_load_ckpt", f"{data}/model.ckpt",
                       "--export_name", f"{out}/model", "--input_res", "64", "64"),
            "eval": ("eval.py", "--config_path", f"{data}/tiny.yaml", "--load_checkpoint_path", f"{data}/model.ckpt",
                     "--data_dir", data, "--save_result_dir", str(out), "--backend", "mindspore")}[name]


def start(words, current):
    """Start a command in an empty folder, with the environment of a user."""
    current.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name != "MS_OM_PATH"}
    return subprocess.Popen([sys.executable, str(ROOT / words[0]), *words[1:]], cwd=current, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def duration(work, name, folder):
    """Seconds of an undisturbed run."""
    begin = time.monotonic()
    process = start(command(work, name, folder / "out"), folder / "current")
    assert process.wait(LONGEST) == 0, process.stderr.read()
    return time.monotonic() - begin


def stop_at(work, name, folder, moment, number):
    """Send a signal after some seconds. Return status, errors and the seconds until the end; None: it ended before."""
    process = start(command(work, name, folder / "out"), folder / "current")
    try:
        try:
            assert process.wait(moment) == 0, process.stderr.read()
            return None
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        begin = time.monotonic()
        errors = process.communicate(timeout=LONGEST)[1]
        return process.returncode, errors, time.monotonic() - begin
    finally:
        process.kill()


@pytest.mark.fault("signals at any moment of training, evaluation, conversion, export",
                   "SIGTERM and SIGINT at shares of the run's time, compilation included",
                   "143 or 130 (or 0, if it was done) within 30 s, nothing half-written, nothing in the current folder")
@pytest.mark.slow
@pytest.mark.parametrize("name, share", [("train", 0.7), ("eval", 0.1), ("convert", 0.1), ("export", 0.1)])
def test_every_signal_ends_a_command_in_order(work, tmp_path, name, share):
    """Status 143 or 130, or that of a command which was done; nothing half-written, nothing in the current folder."""
    whole, rng, sent = duration(work, name, tmp_path / "whole"), random.Random(os.environ.get("SEED", name)), 0
    for index in itertools.count():
        if sent == max(1, round(MOMENTS * share)):
            break
        folder, number = tmp_path / str(index), rng.choice((signal.SIGTERM, signal.SIGTERM, signal.SIGINT))
        moment = rng.uniform(1.0, whole)
        ended = stop_at(work, name, folder, moment, number)
        if ended is None:  # other programs of this machine have ended, so the command is faster now
            whole = moment
            continue
        status, errors, seconds = ended
        sent += 1
        report = (f"{name} {index}: {number.name} after {moment:.1f} of {whole:.1f} s: {status}, {seconds:.1f} s\n"
                  f"{errors}")
        print(report)
        # Until interrupt.py restores the handler, MindSpore's compiler turns a Ctrl-C into a SIGTERM.
        assert status in (0, 128 + number, -number, 143) and seconds < LIMIT and "Traceback" not in errors, report
        assert not list((folder / "current").iterdir()), report
        out = [path for path in (folder / "out").rglob("*") if path.is_file()] if (folder / "out").exists() else []
        if status != -number:  # so early that Python itself has not loaded this program
            assert not [path for path in out if path.name.startswith(".")], report
        for path in out:
            if path.suffix == ".ckpt":
                read_checkpoint(path)
        if name == "train" and status and (folder / "out" / "last.ckpt").exists():
            assert "--resume true --load_checkpoint_path" in errors, report


def rows(folder):
    """The metrics without times."""
    return [{key: value for key, value in json.loads(line).items() if "second" not in key}
            for line in (folder / "metrics.jsonl").open()]


def parameters(path):
    return {name: value.asnumpy().tobytes() for name, value in read_checkpoint(path).parameters.items()}


@pytest.mark.fault("SIGKILL at any moment, again and again", "SIGKILL and SIGTERM at random moments, then --resume",
                   "metrics and checkpoints equal those of an undisturbed run")
@pytest.mark.slow
def test_killed_runs_end_as_the_whole_one_does(work, tmp_path):
    """SIGKILL at random moments, and resume, until the end; half of the signals are SIGTERM."""
    whole = tmp_path / "whole"
    seconds, rng = duration(work, "train", whole), random.Random(0)
    for index in range(max(1, MOMENTS // 4)):
        out, last, kills = tmp_path / f"{index}/out", tmp_path / f"{index}/out/last.ckpt", 0
        while True:
            resumed = ("--resume", "true", "--load_checkpoint_path", str(last)) if last.exists() else ()
            process = start((*command(work, "train", out), *resumed), tmp_path / str(index) / f"current{kills}")
            try:
                process.wait(rng.uniform(0.3, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(rng.choice((signal.SIGKILL, signal.SIGTERM)))
            errors = process.communicate(timeout=LONGEST)[1]
            finished = process.returncode == 0 or "but this training ends after" in errors
            assert finished or process.returncode in (-9, 143), errors
            if finished:
                break
            kills += 1
        for name in ("last", "best"):
            assert parameters(out / f"{name}.ckpt") == parameters(whole / "out" / f"{name}.ckpt")
            assert read_checkpoint(out / f"{name}.ckpt").progress == read_checkpoint(
                whole / "out" / f"{name}.ckpt").progress
        ours, theirs = ([row for row in rows(folder) if row["kind"] != "epoch"] for folder in (out, whole / "out"))
        assert ours == theirs, (index, kills)
