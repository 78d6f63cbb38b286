"""The first day on a card, run on a CPU: the golden numbers, and the whole script."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.first_day.golden import differences
from tools.first_day.golden_network import case_config
from tools.first_day.task import PASSED, SKIPPED

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts" / "first_day_ascend.sh"


@pytest.mark.parametrize("flags, mode", [((), "float32"), (("--net_config.deform_op", "gather"), "float32"),
                                         (("--train_config.amp_level", "O2"), "float16")])
def test_the_small_golden_network_gives_the_stored_numbers(flags, mode):
    from tools.first_day.golden_run import run_case
    rows = differences("small", run_case(case_config("small", "CPU", *flags)), mode, "CPU")
    assert len(rows) == 8 and all(relative <= allowed for _, _, relative, _, allowed in rows), rows
    exact = differences("small", run_case(case_config("small", "CPU", *flags, "--net_config.stem_pool", "same")), mode,
                        "CPU")
    assert all(relative > allowed for _, what, relative, _, allowed in exact if what in ("wh", "reg"))


def test_decode_of_made_up_maps():
    from tools.first_day.golden_run import decode_error
    assert decode_error() < 1e-5


def test_the_whole_script_on_a_cpu(tmp_path):
    done = subprocess.run(["bash", str(SCRIPT), "--device_target", "CPU", "--minutes", "12", "--out", "out"],
                          cwd=tmp_path, capture_output=True, text=True,
                          env={name: value for name, value in {**os.environ, "PYTHON": sys.executable}.items()
                               if name not in ("MS_LITE_HOME", "LITE_HOME")})
    report = json.loads((tmp_path / "out" / "first_day.json").read_text())
    found = {(one["part"], one["name"]): one for one in report["outcomes"]}
    assert done.returncode == 0, done.stdout + done.stderr
    assert {one["status"] for one in found.values()} == {PASSED, SKIPPED}
    assert {("golden", "float16"), ("operators", "float16"), ("settings", "O2 float32 native device"),
            ("evaluation", "keep_res false"), ("export", "native")} <= {name for name, one in found.items()
                                                                        if one["status"] == PASSED}
    assert report["recommended"]["flags"] and found["operators", "float32"]["values"]["operators"][0]["ms"] > 0
    assert f"report: {tmp_path}/out/first_day.md" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
