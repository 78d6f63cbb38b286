"""What --resume compares: every setting that decides the arithmetic, and the data; what may change, and how."""
import dataclasses
import json

import pytest

from centernet.config.declared import SETTINGS
from centernet.config.load import load_config
from centernet.config.recipe import with_recipe
from centernet.data.coco import read_coco
from centernet.data.convert import convert
from centernet.data.mindrecord import info_path, open_shards
from centernet.errors import UserError
from centernet.training.conditions import CONDITIONS, SETTINGS_KEY, compare, deciding_settings, recorded_settings
from centernet.training.setup import make_plan, resume
from centernet.weights.checkpoint import model_record, save_checkpoint
from tests.tiny_coco import make_coco
from tests.tiny_training import CATEGORIES, settings
from tests.training.tiny_runs import Step


def progress(*flags, data="content 1"):
    """What a checkpoint contains about the conditions, after a way through JSON."""
    return json.loads(json.dumps(make_plan(settings(*flags), 3, 7, 1, data).progress(2)))


def compared(*flags, then=None, changed=(), data="content 1"):
    now = make_plan(settings(*flags), 3, 7, 1, data).conditions
    return compare(progress() if then is None else then, now, changed, "a.ckpt")


# In a report: images with other content, and these five groups of settings, changed nothing in the message of --resume.
@pytest.mark.parametrize("flag, words, was, now", [
    ("train_config.MultiDecay.learning_rate", ["0.001"], "0.00048", "0.001"),
    ("train_config.MultiDecay.multi_epochs", ["3", "4"], "[290, 320]", "[3, 4]"),
    ("train_config.MultiDecay.warmup_steps", ["7"], "2000", "7"),
    ("train_config.Adam.weight_decay", ["0.5"], "0.0", "0.5"),
    ("train_config.grad_clip", ["35"], "0.0", "35.0"),
    ("train_config.loss_scale_mode", ["static"], "dynamic", "static"),
    ("dataset_config.input_res_train", ["96", "96", "--dataset_config.output_res", "24", "24"], "[64, 64]",
     "[96, 96]"),
    ("dataset_config.flip_prop", ["0.1"], "0.5", "0.1"),
    ("dataset_config.mosaic", ["1"], "0.0", "1.0"),
    ("dataset_config.mean", ["0", "0", "0"], "[0.40789654, 0.44719302, 0.47026115]", "[0.0, 0.0, 0.0]"),
    ("dataset_config.max_objs", ["9"], "8", "9"),
    ("net_config.wh_weight", ["0.2"], "0.1", "0.2"),
    ("net_config.reg_loss", ["sl1"], "l1", "sl1"),
    ("enable_lossscale", ["false"], "True", "False"),
])
@pytest.mark.fault("--resume with another setting", "14 settings that decide the arithmetic, one at a time",
                   "refused; the message has the flag, both values, and how to change it on purpose")
def test_a_changed_setting_is_refused_unless_it_is_named(flag, words, was, now):
    flags = (f"--{flag}", *words)
    with pytest.raises(UserError) as refused:
        compared(*flags)
    assert f"because --{flag} was {was}, now {now}. Use the same values, add --resume_changed {flag} to go on" in str(
        refused.value)
    assert compared(*flags, changed=[flag]) == compared(*flags, changed=[flag.rpartition(".")[2]]) == [
        f"--{flag} was {was}, now {now}"]


@pytest.mark.fault("--resume with other images of the same number", "shards of other content",
                   "refused by the fingerprint of the data")
def test_other_images_are_refused_unless_they_are_named():
    with pytest.raises(UserError, match="images and boxes in --mindrecord_dir was content 1, now content 2.*"
                                        "add --resume_changed mindrecord_dir to"):
        compared(data="content 2")
    for name in ("mindrecord_dir", "data"):
        assert len(compared(data="content 2", changed=[name])) == 1


def test_more_epochs_are_named_by_their_flag():
    flags = ("--train_config.lr_schedule", "CosineDecay", "--epoch_size", "2", "--dataset_config.plain_epochs", "1")
    then, more = progress(*flags), (*flags, "--epoch_size", "3")
    with pytest.raises(UserError, match=r"was 6, now 9; .*was 1, now 2.*--resume_changed epoch_size to go on"):
        compared(*more, then=then)
    assert len(compared(*more, then=then, changed=["epoch_size"])) == 2


@pytest.mark.fault("--resume_changed with another number of steps in an epoch", "half of the batch size",
                   "a warning, or the error about the length, tells both lengths of an epoch")
def test_epochs_of_another_length_are_told(tmp_path, caplog):
    path, flags = tmp_path / "a.ckpt", ("--epoch_size", "3")
    progress = make_plan(settings(*flags), 2, 7, 1).progress(4)
    save_checkpoint(path, Step(), model_record(settings(), CATEGORIES), progress)
    config = settings(*flags, "--resume", "true", "--resume_changed", "batch_size", "--load_checkpoint_path", str(path),
                      "--train_config.batch_size", "3")
    told = "An epoch had 2 steps, now it has {}: the 4 steps were 2 epochs, and count as {} now"
    assert resume(config, Step(), CATEGORIES, make_plan(config, 4, 7, 1)).start_step == 4
    assert told.format(4, 1) in caplog.text
    with pytest.raises(UserError, match=f"this training ends after 3: increase --epoch_size .*{told.format(1, 4)}"):
        resume(config, Step(), CATEGORIES, make_plan(config, 1, 7, 1))
    caplog.clear()
    resume(config, Step(), CATEGORIES, make_plan(config, 2, 7, 1))
    assert "An epoch had" not in caplog.text


@pytest.mark.parametrize("flags", [
    ("--train_config.early_stop", "3", "--eval_interval", "1"), ("--train_config.max_skipped_steps", "3"),
    ("--train_config.amp_level", "O2"), ("--dataset_config.input_res_test", "96", "96"), ("--epoch_size", "9"),
    ("--num_workers", "3"), ("--eval_config.K", "7"), ("--save_checkpoint_steps", "7")])
def test_what_does_not_decide_the_arithmetic_may_change(flags):
    assert compared(*flags) == []


def test_settings_of_other_schedules_and_optimizers_may_change(tmp_path):
    (tmp_path / "mine.yaml").write_text("train_config: {PolyDecay: {learning_rate: 1}, AdamW: {weight_decay: 1}}")
    assert compared("--config_path", str(tmp_path / "mine.yaml")) == []


@pytest.mark.parametrize("flags, name", [(("--train_config.optimizer", "SGD"), "optimizer"),
                                         (("--train_config.loss_scale_value", "8"), "loss_scale_value")])
def test_what_is_in_the_state_cannot_change(flags, name):
    with pytest.raises(UserError, match="cannot be resumed exactly.*Use the same values, or leave out --resume"):
        compared(*flags)
    with pytest.raises(UserError, match=f"--resume_changed {name}: a resumed run cannot change it.*Leave it out"):
        compared(*flags, changed=[name])


RECIPE = ("--config_path", "demo_cpu", "--recipe", "scratch")


def with_decisions(flags, earlier=None):
    """The configuration of a training of 200 images in batches of 8, and what the log says about its recipe."""
    return with_recipe(load_config("train", [*RECIPE, *flags], ""), 200, 8, earlier)


def conditions(config):
    return make_plan(config, 25, 200, 1).conditions


@pytest.mark.parametrize("flags", [(), ("--train_config.lr_schedule", "MultiDecay")])
def test_a_training_with_a_recipe_can_be_made_longer(flags):
    """The recipe's warm-up, drops and average follow the length; a resumed run keeps those of its checkpoint."""
    first, _ = with_decisions((*flags, "--epochs", "3"))
    then = json.loads(json.dumps(make_plan(first, 25, 200, 1).progress(75)))
    longer = (*flags, "--epochs", "6")
    with pytest.raises(UserError, match="ema_decay was .*warmup_steps was"):
        compare(then, conditions(with_decisions(longer)[0]), ["epoch_size"], "a.ckpt")
    config, text = with_decisions(longer, recorded_settings(then, ["epoch_size"]))
    compare(then, conditions(config), ["epoch_size"], "a.ckpt")
    assert config.epoch_size == 6 and "note: the resumed training keeps its train_config." in text
    assert "train_config.ema_decay (for this length it would be 0.93333)" in text


def test_a_resumed_recipe_yields_to_flags_and_to_what_may_change():
    flags = ("--train_config.lr_schedule", "MultiDecay")
    then = json.loads(json.dumps(make_plan(with_decisions((*flags, "--epochs", "3"))[0], 25, 200, 1).progress(75)))
    train = with_decisions((*flags, "--epochs", "6", "--train_config.MultiDecay.warmup_steps", "5"),
                           recorded_settings(then, ["multi_epochs"]))[0].train_config
    assert (train.MultiDecay.warmup_steps, train.MultiDecay.multi_epochs, train.ema_decay) == (5, (4, 5), 0.9)
    assert "train_config.MultiDecay.warmup_steps" not in recorded_settings(
        {SETTINGS_KEY: {"train_config.MultiDecay.warmup_steps": "x", "nothing.x": 1, "seed": 2}}, [])
    assert recorded_settings({SETTINGS_KEY: [1]}, []) == {}


def test_a_misspelt_name_is_an_error():
    with pytest.raises(UserError, match="--resume_changed lerning_rate: there is no such condition") as refused:
        compared(changed=["lerning_rate"])
    offered = str(refused.value).partition("or one of ")[2].split(", ")
    assert {"seed", "data", "schedule_steps"} <= set(offered) and not {"optimizer", "momentum", "ema_decay",
                                                                       "freeze_stages"} & set(offered)
    with pytest.raises(UserError, match="resume_changed needs resume"):
        load_config("train", ["--resume_changed", "learning_rate"], "")


def test_a_checkpoint_from_before_the_record_or_a_setting_is_accepted():
    old = {key: value for key, value in progress().items() if key not in (SETTINGS_KEY, "data")}
    assert compared("--dataset_config.mosaic", "1", then=old, data="content 2") == []
    older = progress()
    del older[SETTINGS_KEY]["dataset_config.mosaic"]  # it had no such setting: that is its default now
    assert compared(then=older) == []
    with pytest.raises(UserError, match="mosaic was 0.0, now 1.0"):
        compared("--dataset_config.mosaic", "1", then=older)


@pytest.mark.fault("a new setting that nobody thinks of", "all fields of the configuration are compared with the lists",
                   "the test fails until somebody decides")
def test_every_setting_of_the_training_is_compared_or_listed():
    """A new setting is a condition, until somebody writes it into the list of those that are free."""
    found = set(deciding_settings(settings()))
    assert {name for name in SETTINGS if name.startswith("dataset_config.")} - found == {
        f"dataset_config.{name}" for name in ("plain_epochs", "ignored_regions", "input_res_test", "output_res",
                                              "num_classes", "coco_classes")}
    assert {name for name in SETTINGS if name.startswith("net_config.")} & found == {
        f"net_config.{name}" for name in ("deform_op", "dense_hp", "dense_wh", "norm_wh", "hm_gaussian", "hm_weight",
                                          "off_weight", "wh_weight", "mse_loss", "more_positives", "reg_loss")}
    assert set(CONDITIONS) - set(make_plan(settings(), 3, 7, 1, "x").conditions) == set()


def fingerprint(folder, name="a", shard_num=1, **changes):
    """Of the shards of a data set. changes: see make_coco."""
    annotations = make_coco(folder / name, 5, **changes)
    dataset = read_coco(annotations, folder / name / "train2017")
    convert(dataset, folder / f"{name}{shard_num}", "tiny", shard_num)
    return open_shards(folder / f"{name}{shard_num}", "tiny", (), 0).fingerprint


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    first = fingerprint(tmp_path)
    assert first.startswith("content ") and first == fingerprint(tmp_path, shard_num=2)
    assert first != fingerprint(tmp_path, "b", seed=1)  # as many images of the same categories
    info = info_path(tmp_path / "a1", "tiny")
    document = json.loads(info.read_text())
    del document["content"]
    info.write_text(json.dumps(document))
    old = open_shards(tmp_path / "a1", "tiny", (), 0).fingerprint
    info.unlink()
    without = open_shards(tmp_path / "a1", "tiny", ("disc", "frame", "cross"), 3)
    assert old.startswith("files ") and old == without.fingerprint
    assert dataclasses.replace(without, fingerprint="") == open_shards(
        tmp_path / "a1", "tiny", ("disc", "frame", "cross"), 3, verify=False)
