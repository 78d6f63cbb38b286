"""Every command on a disk that is too small for its output: a tmpfs of some kB. It needs the right to mount one."""
import subprocess
import sys

import pytest

from centernet.weights.checkpoint import read_checkpoint
from tests.tiny_group import ROOT
from tests.tiny_model import tiny_work
from tests.tiny_training import TINY

pytestmark = pytest.mark.slow
DEVICE = ("--device_target", "CPU")


@pytest.fixture
def disk(tmp_path):
    """A function that mounts a disk of so many bytes and returns its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True)
        if done.returncode:
            pytest.skip("this user may not mount a tmpfs")
        return folder
    yield mount
    subprocess.run(["umount", folder], capture_output=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tiny_work(tmp_path_factory.mktemp("work"))


def run(words, current):
    done = subprocess.run([sys.executable, str(ROOT / words[0]), *map(str, words[1:])], cwd=current, text=True,
                          capture_output=True, timeout=600)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def training(work, folder, *flags):
    return ("train.py", *TINY, "--train_config.batch_size", "2", "--num_workers", "1", "--mindrecord_dir",
            work / "shards", "--save_checkpoint_path", folder, "--save_checkpoint_steps", "1", *flags)


@pytest.mark.fault("the disk of a training becomes full", "a tmpfs", "it ends with status 2, older checkpoints stay")
def test_a_training_goes_on_and_ends_with_what_it_has(work, disk, tmp_path):
    """Three checkpoints fit. Then lines of the metrics wait, the fourth is missing, and the fifth ends the training."""
    many = ("--save_checkpoint_num", "99", "--train_steps", "30")
    assert run(training(work, tmp_path / "all", "--train_steps", "1"), tmp_path).returncode == 0
    size = (tmp_path / "all" / "last.ckpt").stat().st_size
    folder = disk(int(3.5 * size))
    done = run(training(work, folder, *many), tmp_path)
    print(done.stdout[-1500:], done.stderr)
    assert done.returncode == 2
    assert done.stdout.count("The training goes on; it ends if the next checkpoint cannot be written") == 1
    assert "The training ends here, after step 5" in done.stderr and "--resume true" in done.stderr
    assert read_checkpoint(folder / "last.ckpt").progress["step"] == 3
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    (folder / "centernet-1_1.ckpt").unlink()
    again = run(training(work, folder, "--train_steps", "4", "--resume", "true", "--load_checkpoint_path",
                         folder / "last.ckpt"), tmp_path)
    assert again.returncode == 0, again.stderr


@pytest.mark.fault("a full disk: conversion, export, preprocess, eval", "a tmpfs without space",
                   "status 2 and a short message")
@pytest.mark.parametrize("name, size", [("convert", 1 << 14), ("convert", 1 << 17), ("export", 1 << 16),
                                        ("preprocess", 1 << 16), ("eval", 1 << 12)])
def test_a_command_says_that_the_disk_is_full(work, disk, tmp_path, name, size):
    folder = disk(size)
    if name == "preprocess":
        assert run(("export.py", "--config_path", work / "tiny.yaml", "--export_load_ckpt", work / "model.ckpt",
                    "--export_name", tmp_path / "model", "--input_res", "64", "64"), tmp_path).returncode == 0
    if name == "eval":
        (folder / "filler").write_bytes(bytes(size - 4096))
    words = {"convert": ("src/dataset.py", *DEVICE, "--coco_data_dir", work, "--mindrecord_dir", folder),
             "export": ("export.py", "--config_path", work / "tiny.yaml", "--export_load_ckpt", work / "model.ckpt",
                        "--export_name", folder / "model", "--input_res", "64", "64"),
             "preprocess": ("preprocess.py", *DEVICE, "--model_path", tmp_path / "model.mindir", "--val_data_dir", work,
                            "--predict_dir", folder),
             "eval": ("eval.py", "--config_path", work / "tiny.yaml", "--load_checkpoint_path", work / "model.ckpt",
                      "--data_dir", work, "--save_result_dir", folder / "a", "--backend", "mindspore")}[name]
    done = run(words, tmp_path)
    print(done.stderr)
    assert done.returncode == 2 and str(folder) in done.stderr and len(done.stderr) < 800
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
