import json
import subprocess
import sys

import pytest

from benchmarks.start_up import PARTS, ROOT, WITH_FILE, _run, entry_file
from tests.tiny_training import TINY

CODE = """
import os, runpy, sys
os._exit = sys.exit  # so that this process can still say what was imported
path, sys.argv = sys.argv[1], sys.argv[1:]
sys.path[0] = {folder!r}
try:
    runpy.run_path(path, run_name="__main__")
except SystemExit as end:
    print("status", end.code)
heavy = sorted({{"mindspore", "torch", "onnxruntime", "onnx", "matplotlib"}} & set(sys.modules))
print("imported:", " ".join(heavy))
"""


@pytest.mark.parametrize("flag, status", [("--help", 0), ("--no_such_flag", 2)])
@pytest.mark.parametrize("entry", WITH_FILE)
def test_help_and_wrong_flags_import_nothing_slow(entry, flag, status):
    path = entry_file(entry)
    done = subprocess.run([sys.executable, "-c", CODE.format(folder=str(path.parent)), str(path), flag],
                          capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert f"status {status}" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "imported: "


@pytest.mark.slow
def test_the_first_step_is_timed(tmp_path):
    shards = str(tmp_path / "shards")
    _run("_make_shards", str(tmp_path / "coco"), shards)
    flags = [*TINY[2:], "--train_config.batch_size", "2", "--mindrecord_dir", shards]
    parts = json.loads(_run("_time_first_step", *flags))
    assert list(parts) == list(PARTS) and min(parts.values()) > 0
