"""run.json: what it says, that a resumed run adds to it, and what it does not tell."""
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

from centernet.categories import Categories
from centernet.config.load import load_config, write_config
from centernet.training.loop import Plan
from centernet.training.run_folder import with_names
from centernet.training.run_record import write_record
from tests.tiny_training import CATEGORIES, TINY, settings

ROOT = Path(__file__).parents[2]


def plan(start):
    return Plan(start, 6, 2, 0, 20, {"data": "content 1"})


def test_it_is_enough_to_repeat_a_run(tmp_path, monkeypatch):
    distribution = re.search(r'^name = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    found = metadata.version  # a checkout that is not installed has no metadata
    monkeypatch.setattr(metadata, "version", lambda name: "0.9" if name == distribution else found(name))
    monkeypatch.setattr(sys, "argv", ["train.py", *TINY, "--data_url", "https://me:secret@host/coco"])
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    path, config = tmp_path / "run.json", settings("--seed", "7", "--data_url", "https://me:secret@host/coco")
    for start in (0, 4):
        write_record(path, config, plan(start), 2)
    assert "secret" not in path.read_text()
    first, second = json.loads(path.read_text())["runs"]
    assert (first["start_step"], second["start_step"], first["devices"], first["data"]) == (0, 4, 2, "content 1")
    assert first["settings"]["seed"] == 7 and first["versions"]["numpy"] == np.__version__
    assert first["versions"][distribution] == "0.9"
    assert first["environment"]["ONEDNN_MAX_CPU_ISA"] == "AVX2" and "PATH" not in first["environment"]
    assert load_config("train", first["command"][1:], "") == settings("--data_url", "https://***@host/coco")
    write_record(path, config, plan(0), 1)  # a new run in the same folder
    assert len(json.loads(path.read_text())["runs"]) == 1


def test_the_saved_configuration_has_the_categories_of_the_data(tmp_path):
    told = with_names(settings(), CATEGORIES)
    write_config(told, tmp_path / "config.yaml")
    data = load_config("train", ["--config_path", str(tmp_path / "config.yaml")], "").dataset_config
    assert (data.coco_classes, data.num_classes) == (("disc", "frame", "cross"), 3)
    strange = Categories(("a" * 300, "b\0"), (1, 2))  # no values of a setting
    assert with_names(settings(), strange) == settings()


def test_a_changed_file_does_not_stop_a_run(tmp_path):
    for text in ("{", '{"runs": 3}', "[]"):
        (tmp_path / "run.json").write_text(text)
        write_record(tmp_path / "run.json", settings(), plan(4), 1)
        assert len(json.loads((tmp_path / "run.json").read_text())["runs"]) == 1


def test_a_copy_without_git_has_no_revision(tmp_path, monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("git")
    monkeypatch.setattr(subprocess, "run", missing)
    write_record(tmp_path / "run.json", settings(), plan(0), 1)
    assert json.loads((tmp_path / "run.json").read_text())["runs"][0]["revision"] == ""
