import os

import pytest

from centernet.errors import UserError
from centernet.training.earlier_run import set_aside, set_aside_branch
from centernet.training.loop import Plan
from centernet.weights.checkpoint import model_record, save_checkpoint
from tests.tiny_training import CATEGORIES, settings, tiny_step

NAMES = ("last.ckpt", "best.ckpt", "centernet-1_50.ckpt", "run.json", "metrics.jsonl", "config.yaml", "loss.png")


def write(folder, names=NAMES):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(f"earlier {name}")
    return folder


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.fault("a new training in the folder of an earlier one (a forgotten --resume)", "files of two earlier ones",
                   "they are moved to earlier-1 and earlier-2, and a note says so")
def test_files_of_earlier_trainings_are_moved(tmp_path, caplog):
    folder = write(tmp_path / "run")
    (folder / "photo.jpg").write_text("not ours")
    for number in (1, 2):
        set_aside(folder, folder, "")
        moved = folder / f"earlier-{number}"
        assert names_in(moved) == sorted(NAMES) and (moved / "best.ckpt").read_text() == "earlier best.ckpt"
        assert f"give --resume {moved}" in caplog.text
        write(folder)
    caplog.clear()
    set_aside(tmp_path, tmp_path, "")
    assert names_in(tmp_path) == ["run"] and not caplog.text and (folder / "photo.jpg").exists()


def test_files_without_a_checkpoint_are_not_offered_for_a_resume(tmp_path, caplog):
    """The earlier training was killed before its first checkpoint, or its checkpoints are in another folder."""
    set_aside(write(tmp_path / "run", ("run.json", "metrics.jsonl")), tmp_path / "run", "")
    assert "run has the files of an earlier training. They are now in" in caplog.text and "--resume" not in caplog.text
    caplog.clear()
    set_aside(write(tmp_path / "weights", ("last.ckpt",)), write(tmp_path / "log", ("metrics.jsonl",)), "")
    assert len(caplog.records) == 2 and caplog.text.count("--resume") == 1
    assert f"give --resume {tmp_path / 'weights' / 'earlier-1'}" in caplog.text


@pytest.fixture(scope="module")
def network():
    return tiny_step().loss_network.network


STEPS = {"centernet-1_2.ckpt": 2, "centernet-1_3.ckpt": 3, "centernet-2_2.ckpt": 5, "best.ckpt": 5, "last.ckpt": 5}


def resumed(folder, network, rate, steps=STEPS):
    """A folder with checkpoints of a training at a rate of 0.1, after a resume of step 3 at another rate."""
    for name, step in steps.items():
        save_checkpoint(folder / name, network, model_record(settings(), CATEGORIES), {"step": step, "rate": 0.1})
    (folder / "centernet-2_1.ckpt").write_bytes(b"damaged")
    set_aside_branch(folder, Plan(3, 9, 3, 0, 20, {"rate": rate}), str(folder / "centernet-1_3.ckpt"))
    return names_in(folder)


@pytest.mark.fault("--resume_changed from a step before the best one", "a folder with checkpoints of later steps",
                   "those of the other settings are moved to earlier-1")
def test_later_checkpoints_of_other_settings_are_moved(tmp_path, network, caplog):
    kept = ["centernet-1_2.ckpt", "centernet-1_3.ckpt", "centernet-2_1.ckpt"]
    assert resumed(tmp_path, network, 0.2) == [*kept, "earlier-1"]
    assert names_in(tmp_path / "earlier-1") == ["best.ckpt", "centernet-2_2.ckpt", "last.ckpt"]
    assert f"are from later steps of a training with other settings, so they are now in {tmp_path}" in caplog.text


def test_the_best_checkpoint_of_an_earlier_step_stays(tmp_path, network):
    assert "best.ckpt" in resumed(tmp_path, network, 0.2, {**STEPS, "best.ckpt": 2})


def test_later_checkpoints_that_will_be_repeated_stay(tmp_path, network, caplog):
    assert resumed(tmp_path, network, 0.1) == sorted([*STEPS, "centernet-2_1.ckpt"]) and not caplog.text


def test_two_folders_get_the_same_number_and_the_loaded_checkpoint_stays(tmp_path):
    checkpoints, results = write(tmp_path / "a", NAMES[:3]), write(tmp_path / "b", NAMES[3:])
    (checkpoints / "earlier-1").mkdir()
    set_aside(checkpoints, results, str(tmp_path / "b/../a/last.ckpt"))
    assert names_in(checkpoints) == ["earlier-1", "earlier-2", "last.ckpt"]
    assert names_in(results) == ["earlier-2"] and len(names_in(results / "earlier-2")) == 4


def test_a_training_without_checkpoints_leaves_those_there(tmp_path):
    folder = write(tmp_path / "run")
    set_aside(None, folder, "")
    assert names_in(folder) == ["best.ckpt", "centernet-1_50.ckpt", "earlier-1", "last.ckpt"]


def test_files_that_cannot_be_moved(tmp_path, monkeypatch):
    folder = write(tmp_path / "run")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")
    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(UserError, match="cannot move the files of an earlier training to .*earlier-1: Permission"):
        set_aside(folder, folder, "")
    assert set(NAMES) <= set(names_in(folder))
