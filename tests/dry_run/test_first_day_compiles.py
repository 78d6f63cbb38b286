"""The golden networks of the first day compile for Ascend in each precision; nothing is compared."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "first_day_ascend.sh"


@pytest.mark.slow
def test_golden_networks_compile_in_each_precision(cann, tmp_path):
    done = subprocess.run(["bash", str(SCRIPT), "--dry_run", "--only", "environment", "golden", "--minutes", "30",
                           "--out", str(tmp_path / "out")], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHON": sys.executable, "ASCEND_HOME_PATH": str(cann)})
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = json.loads((tmp_path / "out" / "first_day.json").read_text())["outcomes"]
    assert [one["name"] for one in outcomes] == ["versions", "float32", "exact_fp32", "float16", "bfloat16"]
    for one in outcomes[1:]:
        assert one["values"]["kernels"] > 1000 and one["values"]["peak"] > 100 and "rows" not in one["values"]
    assert "nothing was computed" in (tmp_path / "out" / "first_day.md").read_text()
