"""Variables that the commands set for MindSpore and CANN."""
import os
import subprocess
import sys

import pytest

from centernet.device import prepare_environment

FILES = {"GLOG_logtostderr": "0"}
NAMES = ("GLOG_v", "GLOG_stderrthreshold", "GLOG_logtostderr", "HCCL_CONNECT_TIMEOUT")


def prepared(monkeypatch, target, given):
    """The variables after prepare_environment, if the caller has set those of `given`."""
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that the test's end restores it
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    prepare_environment(target)
    return {name: os.environ[name] for name in NAMES if name in os.environ}


@pytest.mark.parametrize("target, given, expected", [
    ("CPU", {}, {"GLOG_v": "3"}), ("CPU", FILES, {**FILES, "GLOG_v": "3"}), ("Ascend", {}, {"GLOG_v": "3"}),
    ("Ascend", FILES, {**FILES, "GLOG_v": "2", "GLOG_stderrthreshold": "3"}),
    ("Ascend", {**FILES, "GLOG_v": "1"}, {**FILES, "GLOG_v": "1"})])
def test_warnings_go_to_files_on_ascend_and_never_to_the_console(monkeypatch, target, given, expected):
    assert prepared(monkeypatch, target, given) == {**expected, "HCCL_CONNECT_TIMEOUT": "1200"}


def test_a_time_out_of_ones_own_is_kept(monkeypatch):
    assert prepared(monkeypatch, "Ascend", {"HCCL_CONNECT_TIMEOUT": "300"})["HCCL_CONNECT_TIMEOUT"] == "300"


def test_every_command_sets_the_time_out_before_it_runs(monkeypatch):
    """Not only the launcher: ModelArts and msrun start the commands themselves."""
    from centernet.cli import entry

    def run(config):
        seen.append(os.environ.get("HCCL_CONNECT_TIMEOUT"))
    seen = []
    monkeypatch.delenv("HCCL_CONNECT_TIMEOUT")
    assert entry.run_entry("train", "", run, ["--device_target", "CPU"]) == 0
    assert seen == ["1200"]


SCRIPT = """
import contextlib
from centernet.device import choose_device
choose_device("CPU", 0)
import mindspore as ms

class Product(ms.nn.Cell):
    def construct(self, a, b):
        return ms.ops.matmul(a, b)

ms.log.warning("a warning of Python")
with contextlib.suppress(Exception):  # wrong shapes: errors and a warning of C++ code
    Product()(ms.ops.ones((2, 3)), ms.ops.ones((2, 3)))
"""


def test_mindspore_writes_warnings_to_files_only(tmp_path):
    """MindSpore's Python and C++ code, with the variables that are set on Ascend."""
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True,
                          env={**os.environ, **FILES, "GLOG_log_dir": str(tmp_path), "GLOG_v": "2",
                               "GLOG_stderrthreshold": "3"})
    files = {path.name: path.read_text() for path in (tmp_path / "rank_0/logs").iterdir()}
    assert any("[WARNING]" in text for name, text in files.items() if ".log.WARNING." in name)
    assert any("[WARNING]" in text and "a warning of Python" in text for text in files.values())
    assert "[WARNING]" not in done.stdout + done.stderr and "[ERROR]" in done.stderr
