import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_workers_share_gradients_and_skip_together(tmp_path):
    launcher = shutil.which("msrun", path=Path(sys.executable).parent)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run([launcher, "--worker_num=2", "--local_worker_num=2", "--master_port=8471", "--join=True",
                    f"--log_dir={tmp_path}", str(ROOT / "tests/training/two_workers.py"), str(tmp_path)],
                   check=True, cwd=tmp_path, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}, timeout=300)
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    for rows in (first, second):
        assert [row["overflow"] for row in rows] == [False, True, False]
        assert [row["scale"] for row in rows] == [1024, 1024, 512]
        assert rows[0]["weight"] == rows[1]["weight"] != rows[2]["weight"]
        assert rows[0]["mean"] == rows[1]["mean"] and np.isfinite(rows[2]["mean"]).all()
    for ours, theirs in zip(first, second):
        assert ours["weight"] == theirs["weight"] and ours["moment"] == theirs["moment"]
        assert ours["mean"] == theirs["mean"]
