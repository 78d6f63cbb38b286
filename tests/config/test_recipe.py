"""--recipe: number of images, global batch size and epochs decide the schedule."""
import pytest
import yaml

from centernet.config.load import load_config, write_config
from centernet.config.recipe import decide, drops, with_recipe
from centernet.errors import UserError

STEP = "train_config.MultiDecay"


def config(*flags, recipe="scratch"):
    return load_config("train", ["--recipe", recipe, *flags], "")


@pytest.mark.parametrize("recipe, images, batch, epochs, warm_up, multi_epochs", [
    ("scratch", 44, 8, 1000, 250, (650, 870)),        # 5 steps in an epoch
    ("scratch", 300, 16, 278, 250, (181, 242)),       # 18 steps
    ("scratch", 118287, 128, 70, 1000, (46, 61)),     # COCO
    ("finetune", 44, 8, 300, 75, (195, 261)),
    ("finetune", 300, 16, 84, 75, (55, 73)),
    ("finetune", 118287, 128, 12, 554, (8, 10)),
    ("finetune", 3, 8, 300, 15, (195, 261))])         # fewer images than a step needs: the data set refuses it later
def test_the_number_of_images_decides(recipe, images, batch, epochs, warm_up, multi_epochs):
    chosen = decide(config(*["--backbone_checkpoint", "x.ckpt"] * (recipe == "finetune"), recipe=recipe), images, batch)
    assert chosen == {"epoch_size": epochs, f"{STEP}.warmup_steps": warm_up, f"{STEP}.multi_epochs": multi_epochs,
                      "train_config.warmup_scale": False, "train_config.lr_scale": "sqrt"}


def test_flags_win():
    given = config("--epoch_size", "20", f"--{STEP}.warmup_steps", "7", "--train_config.lr_scale", "none")
    assert decide(given, 44, 8) == {f"{STEP}.multi_epochs": (13, 17), "train_config.warmup_scale": False}
    assert decide(config("--train_steps", "40"), 44, 8)[f"{STEP}.warmup_steps"] == 2


def test_other_schedules_and_averages():
    chosen = decide(load_config("train", ["--config_path", "demo_cpu", "--recipe", "scratch"], ""), 44, 8)
    assert chosen == {"epoch_size": 1000, "train_config.CosineDecay.warmup_steps": 250, "train_config.lr_scale": "sqrt",
                      "train_config.warmup_scale": False, "train_config.ema_decay": 0.998}
    chosen = decide(config("--train_config.optimizer", "SGD", "--train_config.reference_batch", "0"), 44, 8)
    assert "train_config.lr_scale" not in chosen
    assert decide(config("--train_config.optimizer", "SGD"), 44, 8)["train_config.lr_scale"] == "linear"


@pytest.mark.parametrize("epochs, expected", [(1, ()), (2, (1,)), (3, (2,)), (10, (6, 9)), (140, (91, 122))])
def test_drops(epochs, expected):
    assert drops(epochs) == expected
    config(f"--{STEP}.multi_epochs", f"[{', '.join(map(str, expected))}]")  # an allowed value


def test_what_it_decided_is_said_and_stored(tmp_path):
    before = config()
    after, text = with_recipe(before, 44, 8)
    assert text.splitlines() == [
        "recipe scratch for 44 images, global batch size 8: 5 steps in an epoch", "  epoch_size: 1 -> 1000",
        f"  {STEP}.warmup_steps: 2000 -> 250", f"  {STEP}.multi_epochs: [290, 320] -> [650, 870]",
        "  train_config.lr_scale: none -> sqrt"]
    assert after.epoch_size == 1000 and after.train_config.MultiDecay.multi_epochs == (650, 870)
    write_config(after, tmp_path / "config.yaml")
    assert (tmp_path / "config.yaml").read_text().startswith("# Effective configuration; preset: none; recipe: scratch")
    stored = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert (stored["recipe"], stored["epoch_size"], "given" in stored) == ("none", 1000, False)
    again = load_config("train", ["--config_path", str(tmp_path / "config.yaml")], "")
    assert again.train_config == after.train_config and with_recipe(again, 44, 8) == (again, "")


def test_a_short_training_is_remarked_upon():
    assert with_recipe(config("--epochs", "6"), 400, 16)[1].splitlines()[-1] == (
        "  note: 150 steps are few for a training of this kind: without --epochs and --train_steps, it would have "
        "about 5000")
    assert "few" not in with_recipe(config("--epochs", "100"), 400, 16)[1]


def test_a_second_decision_changes_nothing():
    after = with_recipe(config(), 44, 8)[0]
    assert with_recipe(after, 44, 8) == (after, "recipe scratch for 44 images, global batch size 8: 5 steps in an "
                                                "epoch\n  it changes nothing")


def test_fine_tuning_needs_weights():
    with pytest.raises(UserError, match="recipe finetune begins with trained weights: set --load_checkpoint_path"):
        config(recipe="finetune")
