import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_coco import make_coco

SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_dataset_to_mindrecord.sh"


def run(cwd, *arguments, **variables):
    return subprocess.run(["bash", str(SCRIPT), *map(str, arguments)], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, "PYTHON": sys.executable, **variables}, timeout=600)


@pytest.mark.parametrize("arguments, missing", [
    ((), ("COCO_DATASET_DIR", "MINDRECORD_DATASET_DIR")), (("coco",), ("MINDRECORD_DATASET_DIR",)),
    (("--foreground", "--coco_data_dir", "coco"), ("MINDRECORD_DATASET_DIR",)),
    (("", "out"), ("COCO_DATASET_DIR",))])
def test_what_is_missing(tmp_path, arguments, missing):
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert [line.split()[1].rstrip(",") for line in done.stderr.splitlines()[1:]] == list(missing)


def test_an_empty_folder_is_not_a_missing_one(tmp_path):
    done = run(tmp_path, "coco", "")
    assert done.returncode == 2 and "MINDRECORD_DATASET_DIR is empty" in done.stderr


def test_help_and_python(tmp_path):
    assert run(tmp_path, "--help").stdout.startswith("usage:")
    assert run(tmp_path, "coco", "out", "-h").stdout.startswith("usage:")
    done = run(tmp_path, ".", "out", PYTHON="no-such-python")
    assert done.returncode == 2
    assert "no-such-python" in done.stderr


def test_a_wrong_data_set_shows_at_once(tmp_path):
    done = run(tmp_path, "no", "out")
    assert done.returncode == 2 and "the data set's folder no does not exist" in done.stderr
    done = run(tmp_path, ".", "out")
    assert done.returncode == 2 and "annotations/instances_train2017.json" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_foreground_with_relative_paths_spaces_and_flags(tmp_path):
    make_coco(tmp_path / "my coco", num_images=4, empty=(0,))
    done = run(tmp_path, "my coco", "my shards", "--foreground", "--shard_num", "2", "--keep_empty", "true")
    assert done.returncode == 0, done.stderr
    assert "4  images written" in done.stdout and done.stdout.endswith("exit status: 0\n")
    assert (tmp_path / "my shards/coco_det.train.mind1").exists()
    assert (tmp_path / "my shards/convert_dataset.log").read_text().endswith("exit status: 0\n")
    done = run(tmp_path, "my coco", "my shards", "--foreground", "--no_such_flag", "1")
    assert done.returncode == 2
    assert "no_such_flag" in done.stderr


def test_background_names_log_and_pid_and_leaves_the_status(tmp_path):
    make_coco(tmp_path / "coco", num_images=3)
    done = run(tmp_path, "--shard_num", "1", COCO_DATA_DIR="coco", MINDRECORD_DIR="my shards")
    log_file = tmp_path / "my shards/convert_dataset.log"
    assert done.returncode == 0
    assert "PID " in done.stdout
    assert str(log_file) in done.stdout
    end = time.monotonic() + 300
    while "exit status" not in log_file.read_text() and time.monotonic() < end:
        time.sleep(0.2)
    assert "3  images written" in log_file.read_text()
    assert log_file.read_text().endswith("exit status: 0\n")


@pytest.mark.slow  # test_run_scripts.py has a training that fails: the end is the launcher's, as here
def test_a_failing_conversion_leaves_its_status(tmp_path):
    make_coco(tmp_path / "coco", num_images=3)
    (tmp_path / "coco/train2017/000001.jpg").write_bytes(b"")
    done = run(tmp_path, "coco", "out", "--strict", "true", "--foreground")
    assert done.returncode == 2
    assert (tmp_path / "out/convert_dataset.log").exists() and done.stdout.endswith("exit status: 2\n")
