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
                          env={**os.environ, "PYTHON": sys.executable, **variables}, timeout=120)


@pytest.mark.parametrize("arguments", [(), ("coco",), ("--foreground", "coco"), ("coco", "--foreground"), ("coco", "")])
def test_usage(tmp_path, arguments):
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_help_and_missing_folder_and_python(tmp_path):
    assert run(tmp_path, "--help").stdout.startswith("usage:")
    done = run(tmp_path, "no", "out")
    assert (done.returncode, done.stderr) == (2, "error: COCO_DATASET_DIR no is not a folder\n")
    done = run(tmp_path, ".", "out", PYTHON="no-such-python")
    assert done.returncode == 2
    assert "no-such-python" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_foreground_with_relative_paths_spaces_and_flags(tmp_path):
    make_coco(tmp_path / "my coco", num_images=4, empty=(0,))
    done = run(tmp_path, "my coco", "my shards", "--foreground", "--shard_num", "2", "--keep_empty", "true")
    assert done.returncode == 0, done.stderr
    assert "4  images written" in done.stdout
    assert (tmp_path / "my shards/coco_det.train.mind1").exists()
    done = run(tmp_path, "my coco", "my shards", "--foreground", "--no_such_flag", "1")
    assert done.returncode == 2
    assert "no_such_flag" in done.stderr


def test_background_names_log_and_pid(tmp_path):
    make_coco(tmp_path / "coco", num_images=3)
    done = run(tmp_path, "coco", "my shards", "--shard_num", "1")
    log_file = tmp_path / "my shards/convert_dataset.log"
    assert done.returncode == 0
    assert "PID " in done.stdout
    assert str(log_file) in done.stdout
    end = time.monotonic() + 60
    while "shards:" not in log_file.read_text() and time.monotonic() < end:
        time.sleep(0.2)
    assert "3  images written" in log_file.read_text()
