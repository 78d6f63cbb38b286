"""The presets as recipes: global batch, learning rate, schedule, optimizer; and that they train."""
import json

import pytest

from centernet.cli import convert_weights, train
from centernet.config.load import PRESETS, load_config
from centernet.training.optimization.optimizer import describe_optimizer
from centernet.training.optimization.schedule import build_schedule, describe_schedule, scale_schedule
from centernet.weights.foreign_files import write_weights
from tests.tiny_coco import make_coco, make_shards
from tests.training.optimization.test_schedule import rates
from tools.foreign_weights import random_tensors, resnet_shapes

# Preset: devices, images of a step there, learning rate there and of one device with 32 images, epochs, drops.
RECIPES = {
    "official_res18": (1, 32, 1.25e-4, 1.25e-4, 140, (90, 120)),
    "official_res50": (1, 32, 1.25e-4, 1.25e-4, 140, (90, 120)),
    "official_res101": (1, 32, 1.25e-4, 1.25e-4, 140, (90, 120)),
    "official_resdcn18": (4, 112, 4.912e-4, 1.404e-4, 140, (90, 120)),
    "official_resdcn50": (1, 32, 1.25e-4, 1.25e-4, 140, (90, 120)),
    "official_resdcn101": (8, 96, 3.75e-4, 1.25e-4, 140, (90, 120)),
    "official_dla34": (8, 128, 5e-4, 1.25e-4, 140, (90, 120)),
    "official_dlav0_34": (8, 128, 5e-4, 1.25e-4, 140, (90, 120)),
    "official_hourglass": (4, 24, 2.5e-4, 3.333e-4, 50, (40,)),
    "mmdet_res18": (8, 128, 0.02, 0.005, 140, (90, 120)),
    "mmdet_resdcn18": (8, 128, 0.02, 0.005, 140, (90, 120)),
    "resnet50_plain": (8, 256, 4.8e-4, 4.8e-4, 330, (290, 320)),
}
# The recipe with cosine decay: 8 x 16 images of a step, Adam 5e-4 there, 120 epochs.
PLUS = ("plus_res18", "plus_res18_deform", "plus_res50", "plus_res50_deform", "plus_dla34")
NOT_RECIPES = {"demo_cpu", "modelzoo_res50"}
SMALL = ("--device_target", "CPU", "--train_config.batch_size", "2", "--train_steps", "2", "--num_workers", "1",
         "--dataset_config.input_res_train", "64", "64", "--dataset_config.output_res", "16", "16")


def recipe(preset, *flags):
    return load_config("train", ["--config_path", str(PRESETS / f"{preset}.yaml"), *flags], "")


def test_every_preset_is_a_documented_recipe():
    assert {*RECIPES, *PLUS, *NOT_RECIPES} == {path.stem for path in PRESETS.glob("*.yaml")}
    text = (PRESETS.parent / "docs" / "recipes.md").read_text()
    assert [preset for preset in (*RECIPES, *PLUS) if f"`{preset}`" not in text] == []


@pytest.mark.parametrize("preset", RECIPES)
def test_rate_follows_the_images_of_a_step(preset):
    devices, images, rate, rate_of_32, epochs, drops = RECIPES[preset]
    config = recipe(preset)
    used = config.train_config
    assert (config.epoch_size, used.MultiDecay.multi_epochs, used.MultiDecay.factor) == (epochs, drops, 10)
    assert used.batch_size * devices == images and used.lr_schedule == "MultiDecay"
    for count, expected in ((images, rate), (32, rate_of_32)):
        assert scale_schedule(used, count).MultiDecay.learning_rate == pytest.approx(expected, rel=1e-3)
        assert f"{expected:.4g}" in describe_schedule(used, count).splitlines()[0]
    assert scale_schedule(used, used.reference_batch).MultiDecay.learning_rate == used.MultiDecay.learning_rate


@pytest.mark.parametrize("preset", PLUS)
def test_the_newer_recipe_is_one_for_all_backbones(preset):
    config, first = recipe(preset), recipe(PLUS[0])
    assert config.train_config == first.train_config and config.dataset_config == first.dataset_config
    assert scale_schedule(config.train_config, 32).CosineDecay.learning_rate == pytest.approx(1.25e-4)
    steps = [0, 1000, 60 * 917, 120 * 917 - 1]
    schedule = build_schedule(config.train_config, 917, config.epoch_size * 917)
    assert rates(schedule, steps) == pytest.approx([5e-7, 5e-4, 2.5e-4, 0], rel=0.02, abs=1e-9)


@pytest.mark.parametrize(("preset", "images", "text"), [
    ("official_res18", 32, "learning rate: 0.000125 x 1 = 0.000125 (lr_scale linear: global batch size 32, "
                           "reference_batch 32), MultiDecay\nwarm-up: 0 steps"),
    ("official_resdcn18", 112, "learning rate: 0.0005 x 0.9825 = 0.0004912 (lr_scale linear: global batch size 112, "
                               "reference_batch 114), MultiDecay\nwarm-up: 0 steps"),
    ("mmdet_res18", 32, "learning rate: 0.02 x 0.25 = 0.005 (lr_scale linear: global batch size 32, "
                        "reference_batch 128), MultiDecay\nwarm-up: 1000 steps"),
    ("resnet50_plain", 256, "learning rate: 0.00048, MultiDecay\nwarm-up: 2000 steps")])
def test_the_log_tells_what_is_made_of_a_recipe(preset, images, text):
    assert describe_schedule(recipe(preset).train_config, images) == text


def test_mmdetection_s_optimizer_and_statistics():
    for preset in ("mmdet_res18", "mmdet_resdcn18"):
        config = recipe(preset)
        assert describe_optimizer(config.train_config) == (
            "SGD, momentum 0.9, weight decay 0.0001 on .weight .bias .gamma .beta, gradients clipped to the norm 35")
        assert config.dataset_config.to_rgb and config.dataset_config.mean == (0.485, 0.456, 0.406)
    # Their warm-up starts from 0.001 of the rate, as (s + 1) / 1000 does in update 0.
    steps = [0, 499, 1000, 90 * 917 - 1, 90 * 917, 120 * 917]
    schedule = build_schedule(config.train_config, 917, 140 * 917)
    assert rates(schedule, steps) == pytest.approx([2e-5, 0.01, 0.02, 0.02, 0.002, 0.0002], rel=1e-5)


def test_the_official_code_s_optimizer():
    train_config = recipe("official_dla34").train_config
    assert describe_optimizer(train_config) == "Adam" and train_config.MultiDecay.eps == 1e-8


def test_the_longer_schedules_are_two_flags():
    config = recipe("official_dla34", "--epoch_size", "230", "--train_config.MultiDecay.multi_epochs", "180", "210")
    assert (config.epoch_size, config.train_config.MultiDecay.multi_epochs) == (230, (180, 210))


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    make_coco(folder, num_images=4)
    return make_shards(folder)


@pytest.mark.slow  # fast: test_train_entry.py trains, test_optimizer.py and models/ test the parts of presets
@pytest.mark.parametrize("preset", (*RECIPES, *PLUS))
def test_two_steps_of_the_recipe(shards, tmp_path, capsys, preset):
    flags, size = [*SMALL], 128 if preset == "official_hourglass" else 64
    if preset == "official_hourglass":
        flags += ["--dataset_config.input_res_train", "128", "128", "--dataset_config.output_res", "32", "32"]
    if preset == "official_res18":
        flags += ["--backbone_checkpoint", str(imagenet_backbone(tmp_path, preset))]
    assert train.main(["--config_path", str(PRESETS / f"{preset}.yaml"), "--mindrecord_dir", str(shards),
                       "--save_checkpoint_path", str(tmp_path), "--enable_save_ckpt", "false", *flags]) == 0
    printed = capsys.readouterr().out
    assert "global batch size: 2 on each device x 1 = 2" in printed and f"{size} x {size} pixels" in printed
    config = recipe(preset, *flags)
    assert f"optimizer: {describe_optimizer(config.train_config)}\n" in printed
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    used = getattr(scale_schedule(config.train_config, 2), config.train_config.lr_schedule)
    expected = [used.learning_rate * min(1, (step + 1) / max(used.warmup_steps, 1)) for step in range(2)]
    assert [row["lr"] for row in rows if row["kind"] == "step"] == pytest.approx(expected, rel=1e-5)
    assert not any(row["overflow"] for row in rows if row["kind"] == "step")


def imagenet_backbone(folder, preset):
    """A checkpoint that convert_weights.py made of (random) torchvision weights."""
    write_weights(folder / "imagenet.safetensors", random_tensors(resnet_shapes("resnet18")), wrapped=False)
    assert convert_weights.main(["--source", "torchvision", "--config_path", str(PRESETS / f"{preset}.yaml"),
                                 "--input", str(folder / "imagenet.safetensors"), "--output",
                                 str(folder / "backbone.ckpt")]) == 0
    return folder / "backbone.ckpt"
