"""The set-up scripts look for free disk space before they download, with a df that reports what the test says."""
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DF = """#!/usr/bin/env bash
free=100000
[[ $2 == "$FULL"* ]] && free=287
echo Filesystem 1048576-blocks Used Available Capacity Mounted on
echo /dev/vda 252000 251713 $free 99% /
"""


@pytest.fixture
def run(tmp_path):
    """Runs a script of scripts/ on a machine on which the disk of one folder is nearly full; returns it ended."""
    for name, text in (("df", DF), ("python3", "#!/bin/sh\n")):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "temporary").mkdir()

    def call(script, *words, full):
        python = tmp_path / "bin/python3"
        return subprocess.run(
            ["bash", str(ROOT / "scripts" / script), *words], capture_output=True, text=True, timeout=60,
            env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "FULL": str(full),
                 "TMPDIR": str(tmp_path / "temporary"),
                 "CENTERNET_LOCK": str(ROOT / "requirements/lock-3.11.txt"), "PYTHON20": str(python),
                 "CENTERNET_VENV": str(tmp_path / "disk/venv")})
    (tmp_path / "disk").mkdir()
    return call


@pytest.mark.fault("a full disk: the set-up of the environment", "a df that reports 287 MB",
                   "refused before the download")
@pytest.mark.parametrize("script, words, variable", [
    ("set_up_environment.sh", [], "CENTERNET_VENV"), ("set_up_mindspore20.sh", ["disk/venv"], "CENTERNET_LITE"),
    ("get_mindspore_lite.sh", ["disk/venv"], "use a folder on another disk")])
def test_a_full_disk_is_named_before_the_download(run, tmp_path, script, words, variable):
    done = run(script, *[str(tmp_path / word) for word in words], full=tmp_path / "disk")
    assert done.returncode == 1 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert f"only 287 MB are free on the disk of {tmp_path}/disk" in done.stderr and variable in done.stderr
    assert str(tmp_path / "disk/venv") in done.stderr and not list((tmp_path / "disk").iterdir())


@pytest.mark.parametrize("script, words", [("set_up_environment.sh", []), ("set_up_mindspore20.sh", ["disk/venv"])])
def test_a_full_disk_of_temporary_files_is_named(run, tmp_path, script, words):
    done = run(script, *[str(tmp_path / word) for word in words], full=tmp_path / "temporary")
    assert done.returncode == 1 and "1500 MB are needed for pip's temporary files" in done.stderr
    assert "set TMPDIR" in done.stderr


def test_an_environment_that_will_be_replaced_counts_as_free(run, tmp_path):
    (tmp_path / "disk/venv").mkdir()
    with (tmp_path / "disk/venv/old").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 20 << 20)
    done = run("set_up_environment.sh", full=tmp_path / "disk")
    assert "39" in done.stderr.split(" MB are needed")[0]
