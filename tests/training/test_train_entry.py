"""train.py on shards of a tiny data set: what users type, what they get."""
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from centernet.cli import train
from centernet.models.centernet import build_centernet
from centernet.training.setup import make_plan
from centernet.weights import average
from centernet.weights.checkpoint import model_record, read_checkpoint, save_checkpoint
from tests.tiny_coco import make_coco, make_shards
from tests.tiny_training import BATCH, CATEGORIES, TINY, error, settings, train_tiny

AVERAGE = ("--train_config.ema_decay", "0.9")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Shards of seven images (three steps of two an epoch), and the data set beside them."""
    folder = tmp_path_factory.mktemp("data")
    make_coco(folder, num_images=7)
    make_coco(folder, num_images=2, split="val", seed=1)
    return make_shards(folder, 2)


def bits(path):
    return {name: value.asnumpy().tobytes() for name, value in read_checkpoint(path).parameters.items()}


def losses(folder):
    rows = map(json.loads, (folder / "metrics.jsonl").open())
    return [row["loss"] for row in rows if row["kind"] == "step"]


def test_half_and_half_equal_the_whole_bit_for_bit(shards, tmp_path, capsys):
    """The second half is that of a run that was killed after its last step and had saved only the second."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert train_tiny(shards, whole, "--train_steps", "4", "--save_checkpoint_steps", "2",
                      "--save_checkpoint_num", "2", "--enable_data_sink", "true", *AVERAGE) == 0
    printed = capsys.readouterr().out
    assert "optimizer: Adam, average of the weights with decay 0.9\n" in printed
    assert "data: 7 images, 3 categories, 64 x 64 pixels" in printed and "3 in an epoch" in printed
    assert "enable_data_sink has no effect on CPU" in printed
    assert {"centernet-1_2.ckpt", "centernet-2_1.ckpt", "last.ckpt", "config.yaml", "loss.png", "metrics.jsonl",
            "run.json"} == {path.name for path in whole.iterdir()}
    halves.mkdir()
    for name in ("metrics.jsonl", "centernet-1_2.ckpt"):
        shutil.copy(whole / name, halves)
    assert train_tiny(shards, halves, "--train_steps", "4", "--resume", "true", "--num_workers", "2", *AVERAGE,
                      "--load_checkpoint_path", str(halves / "centernet-1_2.ckpt")) == 0
    assert "ema" in bits(whole / "last.ckpt")
    assert bits(whole / "last.ckpt") == bits(halves / "last.ckpt")
    assert len(losses(whole)) == 4 and losses(whole) == losses(halves)


@pytest.mark.slow  # test_conditions.py tests its parts
def test_a_training_with_a_recipe_is_made_longer(shards, tmp_path, capsys):
    preset = tmp_path / "mine.yaml"
    preset.write_text("train_config: {lr_schedule: CosineDecay, ema_decay: 0.9998}")

    def status(*flags):
        return train.main([*TINY, "--train_config.batch_size", "2", "--num_workers", "1", "--data", str(shards),
                           "--out", str(tmp_path), "--recipe", "scratch", "--config_path", str(preset), *flags])
    assert status("--epochs", "35") == 0
    assert status("--epochs", "38", "--resume", str(tmp_path)) == 2
    assert "(--epoch_size, --train_steps), was 105, now 114. Use the same values, add --resume_changed epoch_size" in (
        error(capsys))
    assert status("--epochs", "38", "--resume", str(tmp_path), "--resume_changed", "epoch_size") == 0
    assert "note: the resumed training keeps its train_config.ema_decay (for this length" in capsys.readouterr().out
    assert len(losses(tmp_path)) == 114


@pytest.mark.slow
def test_a_run_with_sgd_goes_on_from_its_middle_bit_for_bit(shards, tmp_path, capsys):
    whole, half, choice = tmp_path / "whole", tmp_path / "half", ("--train_config.optimizer", "SGD")
    assert train_tiny(shards, whole, "--train_steps", "4", "--save_checkpoint_steps", "2",
                      "--save_checkpoint_num", "2", *choice) == 0
    assert ("optimizer: SGD, momentum 0.9, weight decay 0.0001 on .weight .bias .gamma .beta\n"
            in capsys.readouterr().out)
    assert train_tiny(shards, half, "--train_steps", "4", "--resume", "true", "--num_workers", "2", *choice,
                      "--load_checkpoint_path", str(whole / "centernet-1_2.ckpt")) == 0
    assert bits(whole / "last.ckpt") == bits(half / "last.ckpt")
    assert len(losses(whole)) == 4 and losses(whole)[2:] == losses(half)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [(), ("--train_config.amp_level", "O2")])
def test_a_run_with_frozen_stages_goes_on_from_its_middle_bit_for_bit(shards, foreign, tmp_path, capsys, precision):
    """With AdamW, accumulation, an average and another rate for the backbone; frozen weights stay those of the file."""
    whole, half = tmp_path / "whole", tmp_path / "half"
    choice = ("--train_config.freeze_stages", "2", "--train_config.optimizer", "AdamW", "--train_config.backbone_rate",
              "0.1", "--train_config.batch_size", "1", "--train_config.accumulate", "2", "--train_steps", "4",
              *AVERAGE, *precision)
    assert train_tiny(shards, whole, "--save_checkpoint_steps", "2", "--save_checkpoint_num", "2", *choice,
                      "--fine_tune", "true", "--load_checkpoint_path", str(foreign)) == 0
    printed = capsys.readouterr().out
    assert " M frozen (stem and 2 stages of the backbone)" in printed
    assert "optimizer: AdamW, weight decay 0.01 on .weight, learning rate of the backbone x 0.1, average" in printed
    assert train_tiny(shards, half, "--resume", "true", "--num_workers", "2", *choice,
                      "--load_checkpoint_path", str(whole / "centernet-1_2.ckpt")) == 0
    start, middle, end = bits(foreign), bits(whole / "centernet-1_2.ckpt"), bits(whole / "last.ckpt")
    assert end == bits(half / "last.ckpt")
    names = [name for name in start if not name.startswith("heads.hm.")]
    frozen = ("backbone.conv1.", "backbone.bn1.", "backbone.layer1.", "backbone.layer2.")
    assert [name for name in names if start[name] == middle[name] == end[name]] == [
        name for name in names if name.startswith(frozen)]
    assert all(not name.startswith("moment") or not name.split(".", 1)[1].startswith(frozen) for name in end)


@pytest.mark.slow
def test_a_run_that_does_not_improve_ends_early(shards, foreign, tmp_path, capsys):
    """With a tiny learning rate the AP stays what it is. The run ends with 0, and cannot be resumed."""
    flags = ("--epoch_size", "9", "--eval_interval", "1", "--data_dir", str(shards.parent), "--eval_config.keep_res",
             "false", "--dataset_config.input_res_test", "64", "64", "--eval_config.K", "20",
             "--train_config.early_stop", "2", "--train_config.MultiDecay.learning_rate", "1e-12")
    assert train_tiny(shards, tmp_path, "--fine_tune", "true", "--load_checkpoint_path", str(foreign), *flags) == 0
    assert ("epoch: 2, the training ends early: the AP has not improved in 2 evaluations (train_config.early_stop); "
            "best.ckpt is from epoch: 0, AP: " in capsys.readouterr().out)
    assert {path.name for path in tmp_path.iterdir()} >= {"best.ckpt", "centernet-3_3.ckpt", "last.ckpt", "loss.png"}
    assert train_tiny(shards, tmp_path, "--resume", "true", "--load_checkpoint_path", str(tmp_path / "last.ckpt"),
                      *flags) == 2
    assert "ended early, after 2 evaluations" in error(capsys)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A checkpoint of a detector of 80 categories."""
    config = settings()
    names = config.dataset_config.coco_classes
    categories = type(CATEGORIES)(names, tuple(range(1, 81)))
    path = tmp_path_factory.mktemp("foreign") / "coco.ckpt"
    save_checkpoint(path, build_centernet(config.net_config, 80), model_record(config, categories), {"step": 1})
    return path


@pytest.mark.slow  # test_average.py and test_transfer.py test its parts
def test_fine_tuning_evaluates_its_average_and_goes_on(shards, foreign, tmp_path, capsys, monkeypatch):
    evaluated, averaged = [], average.averaged
    monkeypatch.setattr(average, "averaged",
                        lambda network, values: evaluated.append(values.name) or averaged(network, values))
    assert train_tiny(shards, tmp_path, "--epoch_size", "2", "--eval_interval", "1", "--data_dir", str(shards.parent),
                      "--eval_config.keep_res", "false", "--dataset_config.input_res_test", "64", "64",
                      "--eval_config.K", "20", "--enable_save_ckpt", "true", "--save_result_dir",
                      str(tmp_path / "log"), "--load_checkpoint_path", str(foreign), "--fine_tune", "true",
                      *AVERAGE) == 0
    assert evaluated == ["ema", "ema"]
    printed = capsys.readouterr().out
    assert "dropped: heads.hm.0.weight" in printed
    assert [line.split(", with")[0] for line in printed.splitlines() if line.startswith("input sizes compiled")] == [
        "input sizes compiled: 1", "input sizes compiled: 0"]
    assert "first runs (with compilation) took" in printed and ", 1 input sizes of evaluations" in printed
    rows = [json.loads(line) for line in (tmp_path / "log" / "metrics.jsonl").open()]
    assert [row["epoch"] for row in rows if row["kind"] == "evaluation"] == [0, 1]
    assert all(np.isfinite(row["loss"]) for row in rows if row["kind"] == "step")
    assert {path.name for path in tmp_path.iterdir()} == {"best.ckpt", "centernet-2_3.ckpt", "last.ckpt", "log"}
    record = read_checkpoint(tmp_path / "best.ckpt").record
    assert record.spec.categories == CATEGORIES and record.network["backbone"] == "resnet18"


def test_other_categories_need_fine_tuning(shards, foreign, tmp_path, capsys):
    assert train_tiny(shards, tmp_path, "--load_checkpoint_path", str(foreign)) == 2
    assert "detects 80 categories (person, bicycle, car, ...)" in (text := error(capsys))
    assert "has 3 (disc, frame, cross)" in text and "--fine_tune true" in text
    assert train_tiny(shards, tmp_path, "--load_checkpoint_path", str(foreign), "--resume", "true") == 2
    assert "--fine_tune true" in error(capsys)


@pytest.mark.parametrize("flags, message", [
    (("--mindrecord_dir", ""), "--mindrecord_dir is empty"),
    (("--mindrecord_dir", "/nowhere"), "/nowhere"),
    (("--train_config.batch_size", "16"), "7 images, fewer than one step needs"),
    (("--load_checkpoint_path", "/nowhere/a.ckpt"), "there is no such file"),
    (("--resume", "true"), "resume needs a checkpoint"),
    (("--train_config.freeze_stages", "1"), "freeze_stages 1 would freeze random weights"),
    (("--backbone_checkpoint", "a.ckpt", "--load_checkpoint_path", "b.ckpt"), "exclude each other"),
    (("--eval_interval", "1", "--data_dir", "/nowhere"), "/nowhere"),
    (("--device_num", "2"), "no launcher"),
    (("--save_checkpoint_path", "/dev/null/x"), "--save_checkpoint_path /dev/null/x"),
])
def test_mistakes_are_named_before_anything_is_compiled(shards, tmp_path, capsys, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    for name in ("a.ckpt", "b.ckpt"):
        (tmp_path / name).touch()
    assert train_tiny(shards, tmp_path, *flags) == 2
    assert message in error(capsys)


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    """The checkpoint of a run after two steps."""
    config = settings()
    path = tmp_path_factory.mktemp("two steps") / "a.ckpt"
    progress = make_plan(settings(*BATCH), 3, 7, 1).progress(2)
    save_checkpoint(path, build_centernet(config.net_config, 3), model_record(config, CATEGORIES), progress)
    return path


@pytest.mark.parametrize("flags, message", [
    (("--seed", "4"), "--seed was 317, now 4"),
    (("--train_config.batch_size", "3"), "--train_config.batch_size was 2, now 3"),
    (("--train_config.accumulate", "2"), "--train_config.accumulate was 1, now 2"),
    (("--train_config.lr_scale", "linear"), "learning rate (--train_config.lr_scale) was 1.0, now 0.0"),
    (("--train_config.optimizer", "SGD"), "--train_config.optimizer was Adam, now SGD"),
    (("--train_config.backbone_rate", "0.1"), "--train_config.backbone_rate was 1.0, now 0.1"),
    (("--train_config.freeze_stages", "1"), "--train_config.freeze_stages was 0, now 1"),
    (("--train_config.optimizer", "SGD", "--train_config.SGD.momentum", "0.5"),
     "--train_config.SGD.momentum was 0.9, now 0.5"),
    (("--train_config.warmup_scale", "true"), "the warm-up (--train_config.warmup_scale) was 1.0, now 128"),
    (("--net_config.head_conv", "16"), "net_config.head_conv 8 (configured: 16)"),
    (("--train_steps", "2"), "was saved after 2 steps, but this training ends after 2"),
])
def test_a_resumed_run_must_be_the_same(shards, two_steps, tmp_path, capsys, flags, message):
    assert train_tiny(shards, tmp_path, "--load_checkpoint_path", str(two_steps), "--resume", "true", *flags) == 2
    assert message in error(capsys)


def test_a_checkpoint_from_before_a_setting_has_its_only_value(shards, two_steps, tmp_path, capsys):
    checkpoint = read_checkpoint(two_steps)
    progress = {key: value for key, value in checkpoint.progress.items() if key not in ("accumulate", "precision")}
    save_checkpoint(tmp_path / "old.ckpt", build_centernet(settings().net_config, 3), checkpoint.record, progress)
    assert train_tiny(shards, tmp_path, "--load_checkpoint_path", str(tmp_path / "old.ckpt"), "--resume", "true",
                      "--train_config.accumulate", "2") == 2
    assert "--train_config.accumulate was 1, now 2" in error(capsys)


@pytest.mark.slow  # fast: test_faults_of_runs.py (the state is saved) and SIGTERM in tests/jobs/test_modelarts_jobs.py
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_ends_in_order(shards, tmp_path, number):
    """It saves the state after its last step, says how to go on, and leaves nothing in the current folder."""
    folder, current = tmp_path / "out", tmp_path / "current"
    current.mkdir()
    command = [sys.executable, Path(__file__).parents[2] / "train.py", *TINY, *BATCH, "--mindrecord_dir", shards,
               "--save_checkpoint_path", folder, "--train_steps", "200", "--save_checkpoint_steps", "100"]
    process = subprocess.Popen(list(map(str, command)), cwd=current, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=without_graph_folder(),
                               preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))  # as without nohup
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "step: 5, " in line:
            process.send_signal(number)
            break
    _, printed = process.communicate(timeout=300)
    # MindSpore's own handler of SIGINT sends SIGTERM, until interrupt.py has put ours back.
    name = next((one.name for one in (number, signal.SIGTERM) if process.returncode == 128 + one), "another end")
    assert "Traceback" not in printed
    assert (f"interrupted by {name}. To go on:\n  {shlex.join(['python', *map(str, command[1:])])} --resume true "
            f"--load_checkpoint_path {folder / 'last.ckpt'}\n") in printed
    assert len([line for line in lines if "step: 1, " in line]) == 1 and "step: 1, " not in printed
    assert (folder / "loss.png").exists()
    assert 5 <= read_checkpoint(folder / "last.ckpt").progress["step"] == len(losses(folder)) < 200
    assert not list(current.iterdir())


def without_graph_folder():
    """Environment of a user, for whom MindSpore writes a graph that does not compile into the current folder."""
    return {name: value for name, value in os.environ.items() if name != "MS_OM_PATH"}
