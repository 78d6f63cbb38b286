"""Two processes on CPU train and evaluate as one with all the images would; they are started once for all tests."""
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from centernet.data.pipeline import COLUMNS, open_training_data
from centernet.device import eager
from centernet.group import Group
from centernet.weights.checkpoint import read_checkpoint
from tests.tiny_coco import make_coco, make_mixed_coco, make_shards
from tests.tiny_group import ROOT, run_group
from tests.tiny_training import settings
from tests.training.two_workers import VARIANTS, detect, detect_mixed, frozen_training, loss_and_gradients, tiny_steps

HEIGHTS = (60, 90, 60, 60, 90)  # of images; with pad 31 inputs of 64 and 96 rows


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """The folder, and what each rank wrote into it."""
    folder = tmp_path_factory.mktemp("group")
    make_coco(folder, num_images=13, empty=(0, 2, 3, 4, 5, 8))
    make_coco(folder, num_images=5, split="val", seed=1)
    make_mixed_coco(folder / "mixed", HEIGHTS)
    make_shards(folder, 2, "--keep_empty", "true")
    run_group([ROOT / "tests/training/two_workers.py", folder], folder)
    return SimpleNamespace(folder=folder, logs=[(folder / f"rank{rank}.log").read_text() for rank in range(2)],
                           ranks=[json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)],
                           arrays=[np.load(folder / f"rank{rank}.npz") for rank in range(2)])


def test_the_entry_trains_and_only_the_first_rank_writes(group):
    first, second = group.ranks
    assert first["files"] == ["best.ckpt", "centernet-2_3.ckpt", "config.yaml", "last.ckpt", "loss.png",
                              "metrics.jsonl", "run.json"]
    assert not second["folder"] and "epoch" not in group.logs[1]
    assert "global batch size: 2 on each device x 2 = 4" in group.logs[0]
    assert "learning rate: 0.064 x 0.01562 = 0.001 (lr_scale linear: global batch size 4, reference_batch 256), " \
           "MultiDecay\nwarm-up: 2 steps" in group.logs[0]
    rows = [json.loads(line) for line in (group.folder / "out0" / "metrics.jsonl").open()]
    assert [row["kind"] for row in rows] == [*["step"] * 3, "epoch"] * 2 + ["evaluation"]
    assert "2 processes divide 5 images among them" in group.logs[0]
    assert read_checkpoint(group.folder / "out0" / "last.ckpt").progress["device_num"] == 2


def losses_of(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    return [[row[name] for name in ("loss", "hm_loss", "wh_loss", "off_loss")] for row in rows if row["kind"] == "step"]


def objects_of(folder, rank, batch_size):
    config = settings("--train_config.batch_size", str(batch_size))
    data = open_training_data(str(folder / "shards"), config.mindrecord_prefix, config.dataset_config, batch_size,
                              config.seed, group=Group(rank, 4 // batch_size), verify=False)
    return [int(batch[COLUMNS.index("reg_mask")].sum()) for epoch in range(2) for batch in data.epoch(epoch)]


def test_steps_equal_those_of_one_process_with_all_images(group, tmp_path):
    """Wherever the objects are; batch norm is frozen, since it works on each device's own images."""
    first, second = (objects_of(group.folder, rank, 2) for rank in range(2))
    assert any(one == 0 < other for one, other in zip(first, second))
    assert any(one == other == 0 for one, other in zip(first, second))
    state = frozen_training(group.folder, "--train_config.batch_size", "4", "--save_checkpoint_path", str(tmp_path))
    np.testing.assert_allclose(losses_of(group.folder / "out0"), losses_of(tmp_path), rtol=2e-5)
    for name, expected in state.items():
        ours, theirs = (arrays[f"state {name}"] for arrays in group.arrays)
        assert ours.tobytes() == theirs.tobytes(), name
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5 * max(np.abs(expected).max(), 1e-12),
                                   err_msg=name)


LTRB = ("--net_config.box_head", "ltrb", "--net_config.hm_gaussian", "ellipse", "--net_config.wh_weight", "5")
MOSAIC = ("--dataset_config.mosaic", "0.5", "--dataset_config.mixup", "0.5", "--dataset_config.scale_range", "0.5",
          "1.5", "--dataset_config.plain_epochs", "1")


@pytest.mark.slow
@pytest.mark.parametrize("batch_size, accumulate, flags", [("1", "2", ()), ("2", "1", LTRB), ("1", "2", LTRB),
                                                           ("2", "1", MOSAIC)],
                         ids=["parts", "ltrb", "ltrb in parts", "mosaic and mixup"])
def test_steps_equal_those_of_one_process_whatever_they_train(batch_size, accumulate, flags, tmp_path):
    make_coco(tmp_path, num_images=13, empty=(0, 2, 3, 4, 5, 8))
    make_shards(tmp_path, 2, "--keep_empty", "true")
    run_group([ROOT / "tests/training/two_workers.py", tmp_path, *flags, "--train_config.batch_size", batch_size,
               "--train_config.accumulate", accumulate], tmp_path)
    ranks = [np.load(tmp_path / f"rank{rank}.npz") for rank in range(2)]
    whole = tmp_path / "whole"
    state = frozen_training(tmp_path, *flags, "--train_config.batch_size", "4", "--save_checkpoint_path", str(whole))
    assert len(losses_of(whole)) == 6
    np.testing.assert_allclose(losses_of(tmp_path / "out0"), losses_of(whole), rtol=2e-5)
    for name, expected in state.items():
        assert ranks[0][name].tobytes() == ranks[1][name].tobytes(), name
        np.testing.assert_allclose(ranks[0][name], expected, rtol=0,
                                   atol=2e-5 * max(np.abs(expected).max(), 1e-12), err_msg=name)


@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_are_those_of_the_global_batch(group, variant):
    with eager():
        losses, gradients = loss_and_gradients(variant, slice(0, 4))
    parts = [rank["variants"][variant] for rank in group.ranks]
    np.testing.assert_allclose(np.mean(parts, 0), losses, rtol=1e-5)
    for index, expected in enumerate(gradients):
        ours = np.concatenate([arrays[f"{variant} {index}"] for arrays in group.arrays]) / 2
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * max(np.abs(expected).max(), 1e-9))


def test_an_inf_on_one_rank_skips_the_step_on_both(group):
    first, second = (rank["tiny"] for rank in group.ranks)
    assert first[0] == second[0] and first[2] == second[2]
    assert [row["outputs"][4:6] for row in first] == [[False, 1024], [True, 1024], [False, 512]]
    assert [row["outputs"][4:6] for row in second] == [[False, 1024], [True, 1024], [False, 512]]
    for rows in (first, second):
        unchanged = {name for name in rows[0] if rows[0][name] == rows[1][name]}
        assert set(rows[0]) - unchanged == {"outputs", "loss_scale", "good_steps"}
        assert rows[1]["backbone.0.weight"] != rows[2]["backbone.0.weight"]


def test_statistics_and_losses_are_the_average_of_the_ranks(group):
    with eager():
        alone = [tiny_steps(rank, count=1)[0] for rank in range(2)]
    ours = group.ranks[0]["tiny"][0]
    for name in ("backbone.1.moving_mean", "backbone.1.moving_variance", "backbone.4.moving_mean"):
        assert alone[0][name] != alone[1][name]
        np.testing.assert_allclose(ours[name], np.mean([row[name] for row in alone], 0), rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(ours["outputs"][:4], np.mean([row["outputs"][:4] for row in alone], 0), rtol=1e-5)


@pytest.mark.parametrize("index, count", [(0, None), (1, 1)])
def test_shared_evaluation_finds_what_one_process_finds(group, index, count):
    expected = detect(group.folder, count=count)
    assert len(expected) == (count or 5) and all(5 < len(boxes) <= 20 for boxes in expected.values())
    for rank in group.ranks:
        assert list(rank["detections"][index].items()) == list(expected.items())


def test_shared_evaluation_of_several_sizes_finds_what_one_process_finds(group):
    expected = detect_mixed(group.folder)
    assert len(expected) == len(HEIGHTS) and all(5 < len(boxes) <= 20 for boxes in expected.values())
    for rank in group.ranks:
        assert list(rank["detections"][2].items()) == list(expected.items())


def test_bytes_of_any_length_are_gathered(group):
    """With few shapes, each of them compiled once; the messages of the trainings and evaluations before are counted."""
    assert group.ranks[0]["gathered"] == group.ranks[1]["gathered"] == [[[], [0, 1, 2, 3, 4]], [[], []]]
    assert 2 <= group.ranks[0]["gather_graphs"] == group.ranks[1]["gather_graphs"] <= 4


def test_ranks_that_do_not_start_alike_are_told_so(group):
    assert group.ranks[0]["messages"] == group.ranks[1]["messages"]
    flags, weights = group.ranks[0]["messages"]
    assert "--seed is 0 on rank 0 and 1 on rank 1" in flags
    assert re.search(r"the checksum of the initial weights \(.*\) is \d+ on rank 0 and \d+ on rank 1", weights)
