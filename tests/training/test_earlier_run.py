import os

import pytest

from centernet.errors import UserError
from centernet.training.earlier_run import set_aside

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
