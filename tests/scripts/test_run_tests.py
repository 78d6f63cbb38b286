"""What run_tests.sh starts, in which order, with a Python that only writes down what it is told."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUB = """#!/usr/bin/env bash
echo "$*" >>"$CALLS"
[[ "$*" != "-m pytest"* ]] || env >"$CALLS.variables"
[[ "$*" != *"${FAILING:-nothing}"* ]] || exit 3
"""
SHARED = "-m pytest -m not slow --numprocesses {} --dist loadfile --no-loadscope-reorder"


@pytest.fixture
def run(tmp_path):
    """Runs a script with an environment and a Lite folder that look set up; returns status and calls of Python."""
    for path in (tmp_path / "venv/bin/python", tmp_path / "lite/mindspore20/bin/python"):
        path.parent.mkdir(parents=True)
        path.write_text(STUB)
        path.chmod(0o755)
    shutil.copy(ROOT / "requirements/lock-3.11.txt", tmp_path / "venv/installed.lock")
    (tmp_path / "venv/installed.package").write_text(str(ROOT))
    (tmp_path / "lite/mindspore_lite/include/api").mkdir(parents=True)
    (tmp_path / "lite/mindspore_lite/include/api/model.h").touch()

    def call(*words, script="run_tests", **variables):
        calls = tmp_path / "calls"
        calls.unlink(missing_ok=True)
        clean = {key: value for key, value in os.environ.items()
                 if key not in ("LITE_SET_UP_LOG", "TEST_WORKERS", "WITHOUT_LITE")}
        done = subprocess.run(["bash", str(ROOT / f"scripts/{script}.sh"), *words], cwd=tmp_path, capture_output=True,
                              text=True, timeout=100,
                              env={**clean, "CENTERNET_VENV": str(tmp_path / "venv"), "CALLS": str(calls),
                                   "CENTERNET_LITE": str(tmp_path / "lite"), **variables})
        return done.returncode, [line for line in calls.read_text().splitlines() if "import" not in line]
    return call


def test_all_tests_run_in_three_processes_after_the_linters(run, tmp_path):
    assert run() == (0, ["-m tools.lint", SHARED.format(3)])
    assert (tmp_path / "venv/set_up_lite.log").read_text().splitlines()[-1] == "exit status: 0"


@pytest.mark.parametrize("words, variables, pytest_words", [
    (["tests/test_x.py", "-k", "y"], {}, "-m pytest -m not slow tests/test_x.py -k y"),
    (["-m", "slow"], {}, "-m pytest -m slow"),
    (["-m", "slow"], {"TEST_WORKERS": "2"}, SHARED.format(2).replace("-m not slow ", "") + " -m slow"),
    ([], {"TEST_WORKERS": "1"}, "-m pytest -m not slow")])
def test_words_and_workers_go_to_pytest(run, words, variables, pytest_words):
    assert run(*words, WITHOUT_LITE="1", **variables) == (0, ["-m tools.lint", pytest_words])


def test_a_finding_of_the_linters_ends_it(run, tmp_path):
    assert run(WITHOUT_LITE="1", FAILING="tools.lint") == (3, ["-m tools.lint"])
    assert not (tmp_path / "venv/set_up_lite.log").exists()


def test_the_status_is_that_of_the_tests(run):
    assert run(FAILING="pytest")[0] == 3


def test_without_the_linters(run):
    assert run("-k", "y", WITHOUT_LITE="1", WITHOUT_LINTERS="1") == (0, ["-m pytest -m not slow -k y"])


@pytest.mark.parametrize("script, words, last", [("run_tests", ["-k", "y"], "-m pytest -m not slow -k y"),
                                                 ("run_demo_cpu", ["demo"], "-m tools.demo_stages {}/demo"),
                                                 ("check_overfit", [".", "out"], "eval.py --config_path ")])
def test_relative_paths_of_variables_belong_to_the_callers_folder(run, tmp_path, script, words, last):
    """The scripts change to the repository's folder."""
    status, calls = run(*words, script=script, CENTERNET_VENV="venv", CENTERNET_LITE="lite", CENTERNET_SHARED="shared")
    assert status == 0 and calls[-1].startswith(last.format(tmp_path))
    if script == "run_tests":
        variables = (tmp_path / "calls.variables").read_text().splitlines()
        assert {f"CENTERNET_LITE={tmp_path}/lite", f"CENTERNET_SHARED={tmp_path}/shared",
                f"LITE_SET_UP_LOG={tmp_path}/venv/set_up_lite.log"} <= set(variables)
