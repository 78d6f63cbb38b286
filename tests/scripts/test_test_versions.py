"""scripts/test_versions.sh with a Python that answers for pip and pytest: environments, order, table, exit status."""
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUB = """#!/usr/bin/env bash
case "$*" in
    *'"%d.%d"'*) echo 3.12 ;;
    *"index versions"*) echo "mindspore (2.11.0)"; echo "Available versions: $REGISTRY" ;;
    *"-m pytest"*) echo "$0 $*" >>"$CALLS"; echo "== $(cat "$(dirname "$0")/../result") ==" ;;
esac
[[ "$*" != *"-m pytest"* || $(cat "$(dirname "$0")/../result") != *[1-9]" "[fe][ar]* ]]
"""
GOOD, BAD = "12 passed, 3 skipped, 4 deselected in 61.62s (0:01:01)", "1 failed, 9 passed, 2 errors in 7.20s"


@pytest.fixture
def run(tmp_path):
    """Runs the script; the environments of `results` (version -> pytest's last line) look set up."""
    def call(*words, results=None, registry=""):
        for version, result in (results or {}).items():
            environment = tmp_path / "versions" / version
            (environment / "bin").mkdir(parents=True)
            (environment / "bin/python").symlink_to(tmp_path / "python")
            (environment / "result").write_text(result)
            locked = (ROOT / "requirements/lock-3.12.txt").read_text().splitlines()
            locked = [line.removesuffix(" \\") for line in locked if not line.strip().startswith("--hash")]
            (environment / "installed.lock").write_text("".join(
                f"mindspore=={version}\n" if line.startswith("mindspore==") else f"{line}\n" for line in locked))
            (environment / "installed.package").write_text(str(ROOT))
        (tmp_path / "python").write_text(STUB)
        (tmp_path / "python").chmod(0o755)
        variables = {"PYTHON": str(tmp_path / "python"), "CALLS": str(tmp_path / "calls"), "REGISTRY": registry,
                     "CENTERNET_VERSIONS": str(tmp_path / "versions"), "WITHOUT_LITE": "1", "TEST_WORKERS": "1"}
        return subprocess.run(["bash", ROOT / "scripts/test_versions.sh", *words], cwd=tmp_path, capture_output=True,
                              text=True, timeout=100, env={**os.environ, **variables})
    return call


def table(done):
    """Rows of the table, without the logs."""
    rows = [line.split()[:-1] for line in done.stdout.splitlines()]
    return rows[rows.index(["version", "passed", "failed", "skipped", "seconds"]) + 1:]


def test_a_failure_does_not_stop_the_next_version(run, tmp_path):
    done = run("2.8.0", "2.9.0", "2.10.0", "--", "-k", "decode", results={"2.8.0": BAD, "2.10.0": GOOD})
    assert done.returncode == 1, done.stderr
    assert table(done) == [["2.8.0", "9", "3", "0", "7"], ["2.9.0", "-", "-", "-", "-"],
                           ["2.10.0", "12", "0", "3", "62"]]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [f"{tmp_path}/versions/{version}/bin/python -m pytest -m not slow -k decode"
                     for version in ("2.8.0", "2.10.0")]
    assert "error: the installation of " in (tmp_path / "versions/2.9.0.log").read_text()


@pytest.mark.parametrize("registry, expected", [
    ("2.10.0, 2.9.0, 2.8.0, 2.7.2, 2.7.1.post1, 2.7.0, 2.6.0", ["2.7.2", "2.10.0"]), ("2.7.3, 2.7.2", ["2.7.3"]),
    ("2.11.0, 2.8.0", ["2.11.0"])])
def test_the_newest_27_and_the_newest_release(run, registry, expected):
    done = run(registry=registry, results=dict.fromkeys(expected, GOOD))
    assert done.returncode == 0, done.stderr
    assert [row[0] for row in table(done)] == expected


@pytest.mark.parametrize("words, message", [
    (["newest"], "'newest' is no version of MindSpore"), (["2.7.2", "-k", "x"], "'-k' is no version"),
    ([], "found no version of MindSpore in the package registry")])
def test_wrong_words_and_no_registry(run, tmp_path, words, message):
    done = run(*words)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and message in done.stderr
    assert not (tmp_path / "versions").exists()
