"""The two commands of the README: their arguments, set-up messages, and the demo's care for other files."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from centernet.config.load import load_config
from centernet.errors import UserError
from tools.demo_stages import Measure, clear, run_stage, stages, summarise

ROOT = Path(__file__).parents[2]


def bash(*words, **env):
    return subprocess.run(["bash", *map(str, words)], capture_output=True, text=True, timeout=60, cwd="/",
                          env={**os.environ, **env})


@pytest.mark.parametrize("words", [["--unknown"], ["one", "two"]])
def test_demo_explains_its_arguments(words):
    result = bash(ROOT / "scripts/run_demo_cpu.sh", *words)
    assert result.returncode == 2 and "usage:" in result.stderr


def tools_without_python(tmp_path, **extra):
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("bash", "dirname", "cmp", "cat"):
        (folder / tool).symlink_to(shutil.which(tool))
    for name, text in extra.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return str(folder)


def test_set_up_names_a_missing_python(tmp_path):
    path = tools_without_python(tmp_path)
    result = bash(ROOT / "scripts/run_tests.sh", PATH=path, PYTHON="", CENTERNET_VENV=str(tmp_path / "venv"))
    assert result.returncode == 1 and "Python 3.10, 3.11 or 3.12 is needed and none was found" in result.stderr


def test_set_up_names_a_python_that_is_too_old(tmp_path):
    # Stands for Python 3.8: it prints its version and fails the version check.
    path = tools_without_python(tmp_path, python3='#!/usr/bin/env bash\n[ "$1" = --version ] && echo Python 3.8.2\n')
    result = bash(ROOT / "scripts/run_tests.sh", PATH=path, PYTHON="", CENTERNET_VENV=str(tmp_path / "venv"))
    assert result.returncode == 1 and "Python 3.8.2" in result.stderr


@pytest.mark.parametrize("python", ["/no/such/python", "tmp/python3"])
def test_a_python_that_does_not_fit_is_not_replaced_by_another(tmp_path, python):
    path = tools_without_python(tmp_path, python3='#!/usr/bin/env bash\n[ "$1" = --version ] && echo Python 3.13.0\n')
    python = python.replace("tmp", path)
    for script, name, words in (("run_tests.sh", "PYTHON", ()),
                                ("set_up_mindspore20.sh", "PYTHON20", (tmp_path / "other",))):
        result = bash(ROOT / "scripts" / script, *words, **{name: python, "CENTERNET_VENV": str(tmp_path / "venv")})
        assert f"error: {name}={python} must be a Python 3." in result.stderr and result.returncode in (1, 2)
        assert ("Python 3.13.0" if "bin" in python else "No such file") in result.stderr
    assert {item.name for item in tmp_path.iterdir()} == {"bin"}


def test_a_cdpath_of_the_user_has_no_effect():
    """With CDPATH, `cd scripts` may print the folder, and may go elsewhere."""
    done = subprocess.run(["bash", "-c", ". scripts/common.sh; echo \"$repository\""], cwd=ROOT, capture_output=True,
                          text=True, env={**os.environ, "CDPATH": str(ROOT)}, check=True)
    assert done.stdout == f"{ROOT}\n"
    scripts = [*ROOT.glob("scripts/*.sh"), *ROOT.glob("ascend310_infer/**/*.sh")]
    assert len(scripts) > 20 and not [path for path in scripts if re.search(r"\$\(cd\b", path.read_text())]


def test_demo_refuses_a_folder_with_other_files(tmp_path):
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(UserError, match="is not from this demo"):
        clear(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "dear"


def test_demo_clears_its_own_folder(tmp_path):
    clear(tmp_path / "new")
    (tmp_path / "new" / "results").mkdir()
    clear(tmp_path / "new")
    assert not (tmp_path / "new" / "results").exists()


def test_stages_use_valid_flags(tmp_path):
    for _, command in stages(tmp_path, tmp_path / "coco", tmp_path / "labels.json"):
        if command[0] != "-m":
            load_config(Path(command[0]).stem, command[1:], "")


def test_a_failing_stage_ends_the_demo():
    with pytest.raises(SystemExit, match="the stage 'broken' ended with status 3"):
        run_stage("broken", ["-c", "raise SystemExit(3)"])


@pytest.mark.parametrize("images, expected", [(44, True), (2000, True), (2001, False)])
def test_small_data_of_ones_own_follows_the_recipe(tmp_path, images, expected):
    folder = tmp_path / "mine" / "annotations"
    folder.mkdir(parents=True)
    (tmp_path / "mine" / "train2017").mkdir()
    (folder / "instances_train2017.json").write_text(json.dumps({"images": [{}] * images}))
    commands = dict(stages(tmp_path, tmp_path / "mine", tmp_path / "labels.json"))
    assert "generate" not in commands and ("--recipe" in commands["train"]) is expected
    load_config("train", commands["train"][1:], "")
    assert "--recipe" not in dict(stages(tmp_path, tmp_path / "coco", tmp_path / "labels.json"))["train"]


@pytest.mark.parametrize("ap50, words", [(0.0, "All stages ran, but the model detects next to nothing: AP@0.5 is 0.000 "
                                               "after 1 epochs (2 steps)."), (0.4, "The demo succeeded.")])
def test_a_model_that_detects_nothing_is_no_success(tmp_path, capsys, ap50, words):
    for folder in ("results/val", "mindir_ap", "train"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "metrics.json").write_text(json.dumps({"AP": 0.0, "AP50": ap50}))
    (tmp_path / "train" / "metrics.jsonl").write_text('{"kind": "step"}\n{"kind": "step"}\n{"kind": "epoch"}\n')
    assert summarise(tmp_path, [], generated=False) == 0
    assert words in (printed := capsys.readouterr().out) and ("succeeded" in printed) is (ap50 > 0)


@pytest.mark.parametrize("ap50, mindir_ap, status", [(0.6, 0.305, 0), (0.4, 0.305, 1), (0.6, 0.32, 1)])
def test_summary_judges_accuracy(tmp_path, capsys, ap50, mindir_ap, status):
    for folder, ap in (("results/val", 0.3), ("mindir_ap", mindir_ap)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "metrics.json").write_text(json.dumps({"AP": ap, "AP50": ap50}))
    assert summarise(tmp_path, [Measure("train", 60.0, 900.0)], generated=True) == status
    assert "train             60.0        900" in capsys.readouterr().out
