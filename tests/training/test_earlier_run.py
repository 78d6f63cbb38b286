import os

import pytest

from centernet.errors import UserError
from centernet.training.earlier_run import bring_best, set_aside, set_aside_branch
from centernet.training.loop import Plan
from centernet.weights.checkpoint import model_record, read_checkpoint, save_checkpoint
from tests.tiny_training import CATEGORIES, settings, tiny_step
from tests.training.tiny_runs import keeper_of

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
    (folder / "tensorboard").mkdir()
    for number in (1, 2):
        set_aside(folder, folder, "")
        moved = folder / f"earlier-{number}"
        assert set(names_in(moved)) - {"tensorboard"} == set(NAMES)
        assert (moved / "best.ckpt").read_text() == "earlier best.ckpt"
        assert f"give --resume {moved}" in caplog.text
        write(folder)
    assert (folder / "earlier-1" / "tensorboard").is_dir()  # TensorBoard would draw both trainings as one curve
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
    assert f"from later steps with other settings, so they are now in {tmp_path}" in caplog.text


def test_the_best_checkpoint_of_an_earlier_step_stays(tmp_path, network):
    assert "best.ckpt" in resumed(tmp_path, network, 0.2, {**STEPS, "best.ckpt": 2})


def test_later_checkpoints_that_will_be_repeated_stay(tmp_path, network, caplog):
    assert resumed(tmp_path, network, 0.1) == sorted([*STEPS, "centernet-2_1.ckpt"]) and not caplog.text


def test_two_folders_get_the_same_number_and_the_loaded_checkpoint_stays(tmp_path):
    checkpoints, results = write(tmp_path / "a", NAMES[:3]), write(tmp_path / "b", NAMES[3:])
    (checkpoints / "earlier-1").mkdir()
    set_aside(checkpoints, results, str(tmp_path / "b/../a/last.ckpt"))
    assert names_in(checkpoints) == ["earlier-1", "earlier-2", "last.ckpt"]
    assert names_in(checkpoints / "earlier-2") == sorted(NAMES[:3])
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


@pytest.mark.fault("a new training from best.ckpt of the earlier one in its folder", "a best.ckpt with a higher AP",
                   "the earlier best.ckpt is kept in earlier-1, and is never taken for that of the new training")
@pytest.mark.parametrize("killed", [False, True])
def test_the_best_checkpoint_that_a_training_starts_from_is_kept(tmp_path, network, killed):
    save(tmp_path / "best.ckpt", network, step=6, AP=0.5, initial=1)
    set_aside(tmp_path, tmp_path, str(tmp_path / "best.ckpt"))
    save(tmp_path / "last.ckpt", network, step=2, initial=2)
    if killed:  # before its first evaluation, then resumed
        set_aside_branch(tmp_path, Plan(2, 9, 3, 1, 20, {}, initial=2), str(tmp_path / "last.ckpt"))
        assert not (tmp_path / "best.ckpt").exists()
    keeper = keeper_of(tmp_path, network, start=2 * killed)
    assert keeper.after_evaluation(0.2, {"step": 4, "initial": 2})
    assert read_checkpoint(tmp_path / "best.ckpt").progress["AP"] == 0.2
    assert read_checkpoint(tmp_path / "earlier-1" / "best.ckpt").progress["AP"] == 0.5


def save(path, network, **progress):
    save_checkpoint(path, network, model_record(settings(), CATEGORIES), progress)


@pytest.mark.fault("a training is resumed into another folder", "best.ckpt has a higher AP than the next evaluations",
                   "best.ckpt stays that of the highest AP")
def test_the_best_checkpoint_comes_along_into_another_folder(tmp_path, network):
    (tmp_path / "new").mkdir()
    save(tmp_path / "best.ckpt", network, step=4, AP=0.5, rate=0.1)
    save(tmp_path / "last.ckpt", network, step=6, rate=0.1)
    bring_best(tmp_path / "new", Plan(6, 9, 2, 1, 20, {"rate": 0.1}), str(tmp_path / "last.ckpt"))
    keeper = keeper_of(tmp_path / "new", network, start=6)
    assert keeper.describe_best() == "best.ckpt is from epoch: 1, AP: 0.5000"
    assert not keeper.after_evaluation(0.3, {"step": 8}) and keeper.after_evaluation(0.6, {"step": 9})
    assert read_checkpoint(tmp_path / "best.ckpt").progress["AP"] == 0.5
    assert read_checkpoint(tmp_path / "new" / "best.ckpt").progress["AP"] == 0.6


@pytest.mark.parametrize("progress", [{"step": 8, "rate": 0.2}, {"step": 4, "rate": 0.1, "initial": 8}])
def test_the_best_checkpoint_of_another_training_does_not_come_along(tmp_path, network, progress):
    (tmp_path / "new").mkdir()
    save(tmp_path / "best.ckpt", network, AP=0.5, **progress)
    bring_best(tmp_path / "new", Plan(6, 9, 2, 1, 20, {"rate": 0.1}, initial=7), str(tmp_path / "last.ckpt"))
    assert not names_in(tmp_path / "new")
