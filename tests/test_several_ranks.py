"""Several processes of the entries: they share an evaluation, and none stays when one fails or vanishes."""
import json
import os
import signal
import time

import pytest

from centernet.cli import evaluate
from centernet.config.load import load_config
from centernet.models.centernet import build_centernet
from centernet.weights.checkpoint import model_record, read_checkpoint, save_checkpoint
from tests.tiny_coco import make_coco, make_shards
from tests.tiny_group import CRASH_AT_EXIT, CRASH_OF_LIBRARIES, started, wait_for
from tests.tiny_model import CATEGORIES, read_config, tiny_checkpoint, tiny_config
from tests.tiny_training import CATEGORIES as DISCS
from tests.tiny_training import TINY

LONGEST = 60  # seconds until a job without a supervisor has ended


def wait_for_end(processes, seconds):
    wait_for(lambda: all(process.poll() is not None for process in processes.values()), seconds, "the end of all")
    return {name: process.returncode for name, process in processes.items()}


def let_ranks_crash(monkeypatch, folder, stand_in):
    """Every rank of this test runs stand_in when it starts; not the scheduler, whose end is MindSpore's own."""
    (folder / "sitecustomize.py").write_text("import os\nif os.environ.get('MS_ROLE') != 'MS_SCHED':\n"
                                             + "".join(f"    {line}\n" for line in stand_in.splitlines()))
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{os.environ['PYTHONPATH']}")


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Flags of eval.py for a tiny checkpoint and five images."""
    folder = tmp_path_factory.mktemp("eval")
    make_coco(folder, num_images=5, split="val")
    preset = tiny_config(folder)
    tiny_checkpoint(folder / "tiny.ckpt", read_config(preset), CATEGORIES)
    return folder, ["eval.py", "--config_path", preset, "--load_checkpoint_path", folder / "tiny.ckpt", "--data_dir",
                    folder]


@pytest.mark.slow  # test_two_workers.py compares the detections of two ranks with those of one
def test_two_ranks_evaluate_to_the_files_of_one(evaluation, tmp_path, monkeypatch):
    """And end with 0, the scheduler too, although their libraries cannot be unloaded."""
    _, words = evaluation
    let_ranks_crash(monkeypatch, tmp_path, CRASH_OF_LIBRARIES)
    results = {}
    for name, size in (("alone", 1), ("shared", 2)):
        flags = [*words, "--save_result_dir", tmp_path / name]
        if size == 1:
            assert evaluate.main([str(word) for word in flags[1:]]) == 0
        else:
            with started([*flags, "--device_num", size], tmp_path, size) as processes:
                assert set(wait_for_end(processes, 300).values()) == {0}
        results[name] = [json.loads((tmp_path / name / "val" / file).read_text())
                         for file in ("val_pred_eval.json", "val_pred_result.json", "metrics.json")]
    assert results["alone"] == results["shared"] and results["alone"][2]["images"] == 5
    assert "Average Precision" in (tmp_path / "rank0.log").read_text()
    assert "Average Precision" not in (tmp_path / "rank1.log").read_text()


@pytest.mark.slow  # cli/test_process.py has the end of such a process, evaluation/test_detect.py the message
def test_a_rank_that_cannot_read_its_image_ends_at_once(evaluation, tmp_path, monkeypatch):
    folder, words = evaluation
    let_ranks_crash(monkeypatch, tmp_path, CRASH_AT_EXIT)
    path = folder / "val2017" / "000001.jpg"  # rank 1's first
    whole = path.read_bytes()
    path.write_bytes(whole[:900])
    try:
        with started([*words, "--save_result_dir", tmp_path / "out", "--device_num", 2], tmp_path) as processes:
            wait_for(lambda: processes["rank1"].poll() is not None, 200, "rank 1")
            assert processes["rank1"].returncode == 2
            # The others are left to whoever started them all.
            assert "error: image" in (log := (tmp_path / "rank1.log").read_text()) and "000001.jpg is cut off" in log
            assert "Traceback" not in log and not list((tmp_path / "out").rglob("[!.]*.json"))
    finally:
        path.write_bytes(whole)


@pytest.mark.slow
def test_a_vanished_rank_ends_the_training_even_without_a_supervisor(tmp_path):
    make_coco(tmp_path, num_images=4)
    shards = make_shards(tmp_path)
    words = ["train.py", *TINY, "--train_config.batch_size", "2", "--mindrecord_dir", shards, "--save_checkpoint_path",
             tmp_path / "out", "--epoch_size", "1000", "--device_num", "2", "--save_checkpoint_steps", "2"]
    with started(words, tmp_path) as processes:
        wait_for(lambda: "step: 3, " in (tmp_path / "rank0.log").read_text(), 200, "the first steps")
        processes["rank1"].send_signal(signal.SIGKILL)
        begin = time.monotonic()
        codes = wait_for_end(processes, LONGEST)
        print(f"ended {time.monotonic() - begin:.1f} s later: {codes}")
    assert codes["rank1"] == -signal.SIGKILL and codes["rank0"] != 0 and codes["scheduler"] != 0
    assert (tmp_path / "out" / "last.ckpt").is_file()


@pytest.mark.slow
def test_all_ranks_end_early_together_and_have_the_same_frozen_weights(tmp_path):
    """Only the first rank knows the AP, which a tiny learning rate keeps as it is."""
    make_coco(tmp_path, num_images=4)
    make_coco(tmp_path, num_images=3, split="val", seed=1)
    config = load_config("train", TINY, "")
    start = tmp_path / "start.ckpt"
    save_checkpoint(start, build_centernet(config.net_config, 3), model_record(config, DISCS), {"step": 1})
    words = ["train.py", *TINY, "--train_config.batch_size", "1", "--mindrecord_dir", make_shards(tmp_path),
             "--save_checkpoint_path", tmp_path / "out", "--epoch_size", "9", "--device_num", "2", "--eval_interval",
             "1", "--data_dir", tmp_path, "--eval_config.keep_res", "false", "--dataset_config.input_res_test", "64",
             "64", "--train_config.early_stop", "1", "--train_config.MultiDecay.learning_rate", "1e-12",
             "--train_config.freeze_stages", "3", "--load_checkpoint_path", start]
    with started(words, tmp_path) as processes:
        codes = wait_for_end(processes, 300)
    log = (tmp_path / "rank0.log").read_text()
    assert set(codes.values()) == {0}, log[-3000:]
    assert "epoch: 1, the training ends early" in log
    assert "the training ends early" not in (tmp_path / "rank1.log").read_text()
    before, after = (read_checkpoint(path).parameters for path in (start, tmp_path / "out" / "last.ckpt"))
    for name in before:
        if name.startswith(("backbone.conv1.", "backbone.bn1.", "backbone.layer1.", "backbone.layer3.")):
            assert before[name].asnumpy().tobytes() == after[name].asnumpy().tobytes(), name
    moved = "backbone.layer4.0.bn1.moving_mean"
    assert before[moved].asnumpy().tobytes() != after[moved].asnumpy().tobytes()
