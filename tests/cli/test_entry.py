"""What every entry does around its work."""
import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from centernet.cli.console import set_up_log
from centernet.cli.entry import run_entry
from centernet.cli.process import print_every_text
from centernet.config.load import load_config
from centernet.device import join_group, set_up_group
from centernet.errors import UserError
from centernet.group import Group
from centernet.model_files import require_models
from centernet.program import program

ROOT = Path(__file__).parents[2]


def test_a_user_error_is_one_message_and_status_2(capsys):
    def run(config):
        raise UserError("--image nowhere: no such file")
    assert run_entry("infer", "", run, []) == 2
    assert capsys.readouterr().err == "error: --image nowhere: no such file\n"


@pytest.mark.parametrize("typed, named", [("--out", "--out (save_result_dir)"), ("--out=", "--out (save_result_dir)"),
                                          ("--save_result_dir", "--save_result_dir")])
def test_a_message_names_the_flag_as_it_was_typed(capsys, typed, named):
    def run(config):
        raise UserError("--save_result_dir found: Permission denied")
    assert run_entry("infer", "", run, [f"{typed}found"] if "=" in typed else [typed, "found"]) == 2
    assert capsys.readouterr().err == f"error: {named} found: Permission denied\n"


@pytest.mark.parametrize("entry", ["train", "eval", "export", "infer", "convert_weights", "preprocess", "postprocess",
                                   "src/dataset"])
def test_a_python_without_the_packages_is_told(entry):
    done = subprocess.run([sys.executable, "-S", ROOT / f"{entry}.py"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "does not have the packages cv2, numpy, tqdm, yaml: activate" in done.stderr


def test_an_interrupt_has_its_status():
    def run(config):
        raise KeyboardInterrupt
    assert run_entry("infer", "", run, []) == 130


def test_a_defect_of_ours_is_not_hidden():
    def run(config):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        run_entry("infer", "", run, [])


def test_lines_go_to_the_console_and_the_file(tmp_path, capsys):
    def run(config):
        logging.getLogger("centernet").info("epoch: 0")
        logging.getLogger("matplotlib").info("noise")
    path = tmp_path / "logs" / "train.log"
    assert run_entry("train", "", run, ["--log_file", str(path)]) == 0
    assert capsys.readouterr().out == path.read_text() == "epoch: 0\n"


def test_a_log_file_that_cannot_be_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--log_file"):
        set_up_log(str(tmp_path / "file" / "train.log"))


def test_a_reader_that_leaves_is_no_error(tmp_path):
    code = ("import logging, time\nfrom centernet.cli.entry import set_up_log\n"
            f"set_up_log({str(tmp_path / 'all.log')!r})\n"
            "for number in range(3000):\n    logging.getLogger('centernet').info('line %d', number)\n")
    result = subprocess.run(["bash", "-c", f"{sys.executable} -c \"$CODE\" | head -1; exit ${{PIPESTATUS[0]}}"],
                            capture_output=True, text=True, cwd=ROOT, env={**os.environ, "CODE": code})
    assert (result.stdout, result.stderr, result.returncode) == ("line 0\n", "", 0)
    assert (tmp_path / "all.log").read_text().endswith("line 2999\n")


def test_without_a_launcher_training_is_on_one_device(monkeypatch):
    monkeypatch.delenv("RANK_SIZE", raising=False)
    assert (join_group(True, 1).rank, join_group(True, 1).size) == (0, 1)


@pytest.mark.parametrize("size, device_num, words", [("1", 8, "no launcher started them"),
                                                    ("4", 8, "does not match the launcher's 4 processes"),
                                                    ("all", 8, "RANK_SIZE must be a number from 1 to .*found 'all'")])
def test_a_number_of_devices_that_cannot_be(monkeypatch, size, device_num, words):
    monkeypatch.setenv("RANK_SIZE", size)
    with pytest.raises(UserError, match=words):
        join_group(True, device_num)


@pytest.mark.parametrize("size, distribute, device", [("4", "true", 3), ("4", "false", 1), ("1", "true", 1)])
def test_in_a_group_the_launcher_chooses_the_device(monkeypatch, size, distribute, device):
    chosen = []
    monkeypatch.setenv("RANK_SIZE", size)
    monkeypatch.setenv("DEVICE_ID", "3")
    monkeypatch.setattr("centernet.device.set_up_device", lambda target, number, seed: chosen.append(number))
    monkeypatch.setattr("centernet.device.join_group", lambda *_: Group(3, 4))
    set_up_group(load_config("train", ["--device_id", "1", "--distribute", distribute], ""))
    assert chosen == [device]


@pytest.mark.fault("a console of another encoding", "latin-1 and a category in Chinese",
                   "the letters are escaped, the line is written")
def test_text_that_the_console_cannot_encode_is_escaped(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    print_every_text()
    set_up_log("")
    logging.getLogger("centernet").info("class \u732b, \ud800, \u00e9")
    assert written.getvalue() == b"class \\u732b, \\ud800, \xe9\n"


def test_a_message_with_a_path_that_is_not_utf8_can_be_written():
    assert str(UserError("a\udcff.jpg: no such file")) == "a\\udcff.jpg: no such file"


RUN = ("import sys; from centernet.cli import run_command; status = run_command(sys.argv[1], sys.argv[2:]); "
       "print(status, 'mindspore' in sys.modules)")


@pytest.mark.parametrize("command, words, message", [
    ("train", ["--mindrecord_dir", "s", "--model", "no.ckpt"], "checkpoint no.ckpt: there is no such file; . has a."),
    ("train", ["--mindrecord_dir", "s", "--resume", "--model=no.ckpt"], "checkpoint no.ckpt: there is no such file"),
    ("train", ["--mindrecord_dir", "s", "--backbone_checkpoint", "."], "checkpoint . is a folder: name one file; it"),
    ("eval", ["--data", "coco", "--model", "no/b.ckpt"], "there is no such file; no has no .ckpt or .mindir or .onnx"),
    ("eval", ["--data", "coco", "--model", "no.onnx"], "error: --model (load_checkpoint_path) no.onnx: there is no"),
    ("export", ["--export_load_ckpt", "no.ckpt"], "checkpoint no.ckpt: there is no such file"),
    ("infer", ["--image", "a.jpg", "--model", "no.ckpt"], "checkpoint no.ckpt: there is no such file"),
    ("infer", ["--image", "a.jpg", "--model", "no.mindir"], "error: --model (model_path) no.mindir: there is no such"),
    ("convert-weights", ["--input", "no.pth", "--output", "b.ckpt"], "--input no.pth: there is no such file"),
    ("convert-weights", ["--input", "no.ckpt", "--output", "b.pth", "--reverse"], "checkpoint no.ckpt: there is no")])
@pytest.mark.fault("a model's file that is not there", "a path without a file, for each command and kind of model",
                   "an error before MindSpore is imported, which takes seconds")
def test_a_missing_model_is_told_before_mindspore_is_imported(tmp_path, command, words, message):
    (tmp_path / "a.ckpt").touch()
    done = subprocess.run([sys.executable, "-c", RUN, command, "--device_target", "CPU", *words], cwd=tmp_path,
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    assert done.stderr.startswith("error: ") and message in done.stderr and done.stdout == "2 False\n"


@pytest.mark.parametrize("command, words, message", [
    ("train", ["--mindrecord_dir", "s", "--out", "a.png/x"], "--out (save_checkpoint_path) a.png/x: a.png is a file"),
    ("train", ["--mindrecord_dir", "s", "--save_result_dir", "a.png"], "error: --save_result_dir a.png is a file: na"),
    ("infer", ["--image", "a.png", "--model", "a.ckpt", "--out", "a.png"], "--out (save_result_dir) a.png is a file:"),
    ("convert-dataset", ["--data", "/nowhere", "--out", "a.png"], "--out (mindrecord_dir) a.png is a file: name a f")])
@pytest.mark.fault("--out that cannot be a folder", "a file in its place, for commands that work for minutes",
                   "an error before MindSpore is imported")
def test_a_wrong_place_for_the_results_is_told_before_mindspore_is_imported(tmp_path, command, words, message):
    (tmp_path / "a.ckpt").touch()
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    done = subprocess.run([sys.executable, "-c", RUN, command, "--device_target", "CPU", *words], cwd=tmp_path,
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    assert done.stderr.startswith("error: ") and message in done.stderr and done.stdout == "2 False\n"
    assert {path.name for path in tmp_path.iterdir()} == {"a.ckpt", "a.png"}


EXPORT = "cells.onnx is an exported model and no checkpoint, but {} needs one: use the checkpoint (.ckpt) that it was"
FOREIGN = " --source NAME --config_path PRESET --model {} --out {}"


@pytest.mark.parametrize("entry, flags, message", [
    ("train", ["--model", "cells.onnx"], EXPORT.format(program("train"))),
    ("train", ["--resume", "cells.onnx"], EXPORT.format(program("train"))),
    ("train", ["--backbone_checkpoint", "ok.pth"], FOREIGN.format("ok.pth", "ok.ckpt")),
    ("export", ["--model", "cells.onnx"], EXPORT.format(program("export"))),
    ("infer", ["--model", "my cells.safetensors"], FOREIGN.format("'my cells.safetensors'", "'my cells.ckpt'")),
    ("infer", ["--model", "t.txt"], "in .ckpt, or an exported model (.mindir, .onnx)"),
    ("eval", ["--model", "t.txt"], "in .ckpt, or an exported model (.mindir, .onnx)"),
    ("infer", ["--model", "ok.pth"], "checkpoint ok.pth has the weights of another program. Convert them first: "),
    ("export", ["--model", "t.txt"], "checkpoint t.txt: expected a MindSpore checkpoint with a name that ends in .ckpt"
     )])
@pytest.mark.fault("a model of another kind", "exported models, weights of other programs, a text",
                   "an error that says what the file is and how to come to a checkpoint")
def test_a_model_of_another_kind_is_told_with_what_to_do(tmp_path, monkeypatch, entry, flags, message):
    monkeypatch.chdir(tmp_path)
    for name in ("cells.onnx", "ok.pth", "my cells.safetensors", "t.txt"):
        (tmp_path / name).touch()
    with pytest.raises(UserError) as caught:
        require_models(entry, load_config(entry, flags, ""))
    assert message in str(caught.value)
    if entry == "export" and flags[1] == "t.txt":
        assert str(caught.value) == message  # it does not run exported models


def test_the_python_interface_tells_it_too(tmp_path):
    code = "import sys, centernet\ntry: centernet.load('no.ckpt', 'CPU')\nexcept centernet.UserError as error: print("
    done = subprocess.run([sys.executable, "-c", f"{code}error, 'mindspore' in sys.modules)"], cwd=tmp_path, text=True,
                          capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    assert done.stdout == "checkpoint no.ckpt: there is no such file; . has no .ckpt or .mindir or .onnx file False\n"
