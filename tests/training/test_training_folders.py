"""The folders of a training: who needs them, who owns them, and what is left of them."""
import os

import pytest

from centernet.data import pipeline
from centernet.group import Group
from centernet.owner import owned
from centernet.training import folders
from centernet.training.run_folder import open_output
from centernet.training.setup import make_plan
from tests.tiny_training import BATCH, CATEGORIES, error, settings, train_tiny
from tests.training.tiny_runs import Step


@pytest.mark.fault("a second training with the folder of a running one", "train starts in a folder that is owned",
                   "it ends before the shards are checked and the network is built")
def test_a_folder_of_another_run_is_told_first(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "open_training_data", lambda *_, **__: pytest.fail("the shards were opened"))
    with owned(tmp_path, "--save_checkpoint_path"):
        assert train_tiny("/nowhere", tmp_path) == 2
    assert f"--save_checkpoint_path {tmp_path}: process {os.getpid()} on" in error(capsys)


def test_a_training_that_cannot_start_leaves_no_folder(tmp_path):
    def started(checkpoints, results):
        return train_tiny("/nowhere", tmp_path / checkpoints, "--save_result_dir", str(tmp_path / results))
    for checkpoints, results in (("new", "new/log"), ("a/new", "a/other/log"), ("log/a/b", "log")):
        assert started(checkpoints, results) == 2 and not list(tmp_path.iterdir())
    (tmp_path / "mine/inner").mkdir(parents=True)
    assert started("mine/inner/new", "mine") == 2 and (tmp_path / "mine/inner").is_dir()


@pytest.mark.fault("a result folder that is read-only for the second server", "rank 1 of a training in two processes",
                   "it goes on: it writes nothing, and creates no folder")
def test_only_the_first_rank_needs_its_folders(tmp_path, capsys, monkeypatch):
    config = settings("--save_checkpoint_path", str(tmp_path / "no"))
    with folders.owned_folders(config, first=False), open_output(
            config, Step(), CATEGORIES, make_plan(settings(*BATCH), 3, 7, 2), Group(1, 2)) as output:
        output.log.close()
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(folders, "require_writable", lambda *_: pytest.fail("rank 1 looked at the folders"))
    monkeypatch.setenv("RANK_ID", "1")
    assert train_tiny("/nowhere", tmp_path / "no") == 2 and "/nowhere" in error(capsys)
