"""Scripts with a PYTHON that cannot run this project: a message, and nothing else."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
CALLS = {"run_standalone_train_ascend": ["0", "shards"], "run_standalone_eval_ascend": ["val"],
         "convert_dataset_to_mindrecord": ["coco", "shards"], "convert_om": ["a.ckpt", "Ascend310"],
         "convert_lite_ascend": ["a.mindir"], "dry_run_ascend": ["step"], "first_day_ascend": [],
         "export_mindir_lite20": ["--export_name", "a"], "infer_centernet_fp16_accuracy": [],
         "run_infer_310": ["a.mindir", ".", "y", "0", "CPU"]}


@pytest.mark.parametrize("script", CALLS)
@pytest.mark.parametrize("kind, message", [("missing", "there is no '"), ("bare", "lacks this project's packages")])
def test_a_python_that_cannot_run_the_project(tmp_path, script, kind, message):
    (tmp_path / "bare").write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" -I -S "$@"\n')
    (tmp_path / "bare").chmod(0o755)
    for name in ("a.mindir", "a.json"):
        (tmp_path / name).write_text("{}")
    before = sorted(tmp_path.iterdir())
    done = subprocess.run(["bash", SCRIPTS / f"{script}.sh", *CALLS[script]], cwd=tmp_path, capture_output=True,
                          text=True, env={**os.environ, "PYTHON": str(tmp_path / kind), "MS_LITE_HOME": str(tmp_path)})
    assert done.returncode == 2 and done.stderr.startswith("error: ") and message in done.stderr
    assert "Traceback" not in done.stderr and sorted(tmp_path.iterdir()) == before
