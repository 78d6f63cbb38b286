"""Learning rates against numbers computed by hand."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from centernet.config.load import load_config
from centernet.training.optimization.schedule import (
    MultiDecay,
    PolyDecay,
    build_schedule,
    describe_schedule,
    scale_schedule,
)


def rates(schedule, steps):
    return [float(schedule(ms.Tensor(step, ms.int32)).asnumpy()) for step in steps]


def test_multi_decay_warms_up_then_drops():
    schedule = MultiDecay(0.4, warmup_steps=4, drop_steps=(10, 20), factor=10.0)
    assert rates(schedule, [0, 1, 3, 4, 9, 10, 19, 20, 1000]) == pytest.approx(
        [0.1, 0.2, 0.4, 0.4, 0.4, 0.04, 0.04, 0.004, 0.004], rel=1e-6)


def test_poly_decay_ends_at_its_end():
    schedule = PolyDecay(1.0, 0.1, power=2.0, warmup_steps=0, total_steps=10)
    assert rates(schedule, [0, 1, 5, 9, 10, 15]) == pytest.approx([1.0, 0.829, 0.325, 0.109, 0.1, 0.1], rel=1e-6)


def test_poly_decay_warms_up_along_the_polynomial():
    schedule = PolyDecay(1.0, 0.1, power=1.0, warmup_steps=2, total_steps=10)
    assert rates(schedule, [0, 1, 2]) == pytest.approx([0.5, 0.91, 0.82], rel=1e-6)


def test_a_step_counter_beyond_float32_integers_still_drops_at_its_step():
    drop = 2 ** 24 + 1
    assert rates(MultiDecay(1.0, 0, (drop,), 2.0), [drop - 1, drop]) == [1.0, 0.5]


def test_epochs_become_steps():
    train = load_config("train", ["--train_config.MultiDecay.multi_epochs", "2", "3", "--train_config.MultiDecay."
                                  "warmup_steps", "0"], "").train_config
    schedule = build_schedule(train, steps_per_epoch=7, total_steps=28)
    base = train.MultiDecay.learning_rate
    assert rates(schedule, [13, 14, 20, 21]) == pytest.approx([base, base / 10, base / 10, base / 100], rel=1e-6)


def test_cosine_begins_after_the_warm_up_and_ends_at_its_end():
    flags = ("lr_schedule=CosineDecay", "CosineDecay.learning_rate=1.0", "CosineDecay.end_learning_rate=0.2",
             "CosineDecay.warmup_steps=4")
    schedule = build_schedule(train_config(*flags), 7, total_steps=12)
    # Update 6 is a quarter of the 8 after the warm-up: 0.2 + 0.8 * (1 + sqrt(0.5)) / 2.
    assert rates(schedule, [0, 1, 3, 4, 6, 8, 12, 99]) == pytest.approx(
        [0.25, 0.5, 1.0, 1.0, 0.8828427, 0.6, 0.2, 0.2], rel=1e-6)
    scaled = scale_schedule(train_config("lr_scale=linear", *flags), 128).CosineDecay
    assert (scaled.learning_rate, scaled.end_learning_rate) == (0.5, 0.1)


def test_poly_is_chosen_by_name():
    train = load_config("train", ["--train_config.lr_schedule", "PolyDecay", "--train_config.PolyDecay.warmup_steps",
                                  "0"], "").train_config
    # (0.0005 - 5e-7) * 0.5 ** 5 + 5e-7
    assert rates(build_schedule(train, 7, total_steps=20), [10]) == pytest.approx([1.6109375e-05], rel=1e-5)


def train_config(*flags):
    return load_config("train", [f"--train_config.{flag}" for flag in flags], "").train_config


@pytest.mark.parametrize("rule, images, rate", [("none", 64, 0.00048), ("linear", 64, 0.00012), ("sqrt", 64, 0.00024),
                                                ("linear", 512, 0.00096), ("sqrt", 256, 0.00048)])
def test_the_rate_follows_the_images_of_a_step(rule, images, rate):
    scaled = scale_schedule(train_config(f"lr_scale={rule}"), images)
    assert scaled.MultiDecay.learning_rate == pytest.approx(rate, rel=1e-12)
    assert scaled.MultiDecay.warmup_steps == 2000 and scaled.PolyDecay.learning_rate == 0.0005


def test_both_ends_of_the_polynomial_are_scaled():
    train = train_config("lr_schedule=PolyDecay", "lr_scale=linear", "PolyDecay.end_learning_rate=0.0001")
    poly = scale_schedule(train, 128).PolyDecay
    assert (poly.learning_rate, poly.end_learning_rate) == pytest.approx((0.00025, 0.00005))


@pytest.mark.parametrize("steps, images, expected", [(2000, 32, 16000), (2000, 512, 1000), (3, 10000, 1), (0, 32, 0)])
def test_a_scaled_warm_up_sees_the_same_images(steps, images, expected):
    scaled = scale_schedule(train_config("warmup_scale=true", f"MultiDecay.warmup_steps={steps}"), images)
    assert scaled.MultiDecay.warmup_steps == expected and scaled.MultiDecay.learning_rate == 0.00048


def test_the_description_tells_given_and_used():
    assert describe_schedule(train_config("lr_scale=sqrt", "warmup_scale=true"), 64) == (
        "learning rate: 0.00048 x 0.5 = 0.00024 (lr_scale sqrt: global batch size 64, reference_batch 256), MultiDecay"
        "\nwarm-up: 2000 steps -> 8000 steps (warmup_scale: global batch size 64, reference_batch 256)")
    assert describe_schedule(train_config(), 256) == "learning rate: 0.00048, MultiDecay\nwarm-up: 2000 steps"
    assert "note" not in describe_schedule(train_config("reference_batch=0"), 64)


def test_a_warm_up_beyond_the_end_is_pointed_out():
    assert describe_schedule(train_config(), 256, 20).splitlines()[1:] == [
        "warm-up: 2000 steps",
        "note: the warm-up of 2000 steps is longer than this training of 20 steps, which ends at "
        "1 % of the learning rate: set --train_config.MultiDecay.warmup_steps to about 1"]
    assert "note" not in describe_schedule(train_config(), 256, 2000)


@pytest.mark.parametrize("epochs, advice", [(1, "1 epoch. Set it to [] (no drop), or let"),
                                            (10, "10 epochs. Set it to 6 9 or let")])
def test_a_rate_that_never_drops_is_pointed_out(epochs, advice):
    train = train_config("MultiDecay.multi_epochs=[10,12]")
    note = describe_schedule(train, 256, 50 * epochs, 50).splitlines()[-1]
    assert note.startswith("note: the learning rate never drops: train_config.MultiDecay.multi_epochs begins with 10, ")
    assert f"but this training has {advice}" in note
    assert "never" not in describe_schedule(train, 256, 550, 50)
    assert "never" not in describe_schedule(train_config("lr_schedule=CosineDecay"), 256, 50, 50)


def test_a_rate_for_another_batch_is_pointed_out():
    assert describe_schedule(train_config(), 64).splitlines()[2] == (
        "note: this learning rate was chosen for a global batch size of 256, but it is 64: --train_config.lr_scale "
        "linear would change it to 0.00012, sqrt to 0.00024")


def test_the_optimizer_follows_the_schedule():
    network = nn.Dense(1, 1, weight_init="zeros", has_bias=False)
    optimizer = nn.SGD(network.trainable_params(), MultiDecay(1.0, 2, (3,), 10.0))
    values = []
    for _ in range(4):
        before = network.weight.asnumpy().copy()
        optimizer((ms.Tensor(np.ones((1, 1), np.float32)),))
        values.append(float((before - network.weight.asnumpy()).item()))
    assert values == pytest.approx([0.5, 1.0, 1.0, 0.1], rel=1e-5)
