"""Frozen stages: what is frozen, and what a step leaves as it is."""
from types import SimpleNamespace

import numpy as np
import pytest
from mindspore import Tensor

from centernet.config.load import load_config
from centernet.errors import UserError
from centernet.models.dla import DLA34
from centernet.models.resnet import ResNet
from centernet.training.optimization.freeze import freeze, frozen_size, moving_statistics, require_weights
from centernet.training.optimization.optimizer import build_optimizer
from centernet.training.optimization.schedule import MultiDecay
from centernet.training.optimization.step import TrainStep
from tests.tiny_training import TinyLoss, changed, run, settings, tiny_batch, values

FREEZE = ("--train_config.freeze_stages", "1")
FROZEN = ("backbone.0.", "backbone.1.")


def frozen_loss():
    """TinyLoss whose first convolution (the stem) and batch norm are frozen; its stored statistics are no batch's."""
    loss = TinyLoss()
    network = loss.network
    network[1].moving_mean.set_data(Tensor(np.array([0.5, -0.5, 0.25, 1.0], np.float32)))
    network[1].moving_variance.set_data(Tensor(np.array([2.0, 0.5, 3.0, 1.5], np.float32)))
    freeze(SimpleNamespace(stages=lambda: [[network[0]], [network[1]], [network[3], network[4]]]), 1)
    return loss


def expected_loss(network, image, target):
    """The loss of a frozen network before its first step: its frozen batch norm by its formula, in float64."""
    outputs = network[0](Tensor(image)).asnumpy().astype(np.float64)
    norm = {name: getattr(network[1], name).asnumpy().astype(np.float64)[:, None, None]
            for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    features = norm["gamma"] * (outputs - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + network[1].eps)
    features = np.maximum(features + norm["beta"], 0).astype(np.float32)
    maps = network[3](Tensor(features)).asnumpy().astype(np.float64)
    maps = (maps - maps.mean()) / np.sqrt(maps.var() + network[4].eps)  # the other one uses the batch's statistics
    return np.abs(maps - target).mean()


def step_of(loss, *flags):
    train = settings(*flags).train_config
    return TrainStep(loss, build_optimizer(loss, train, MultiDecay(0.05, 0, (), 10.0)), train)


@pytest.mark.parametrize(("build", "stages", "first"), [
    (lambda: ResNet("resnet18", (1, 1, 1, 1)), 1, "layer2.0.conv1.weight"),
    (lambda: ResNet("resnet18", (1, 1, 1, 1)), 4, None)])
def test_stem_and_stages_are_frozen_in_the_order_of_the_image(build, stages, first):
    backbone = build()
    trained = [parameter.name for parameter in backbone.trainable_params()]
    freeze(backbone, stages)
    left = [parameter.name for parameter in backbone.trainable_params()]
    assert left == (trained[trained.index(first):] if first else [])
    assert [p.name.rpartition(".")[0] for p in moving_statistics(backbone)] == [
        name.rpartition(".")[0] for name in left if name.endswith(".gamma") for _ in range(2)]


@pytest.mark.parametrize("build", [
    lambda: ResNet("resnet18", (1, 1, 1, 1)), pytest.param(DLA34, marks=pytest.mark.slow)])
def test_the_stages_have_every_parameter_once(build):
    backbone = build()
    found = [id(p) for stage in backbone.stages() for cell in stage for p in cell.get_parameters()]
    assert len(backbone.stages()) == 5
    assert found == [id(p) for p in backbone.get_parameters()]


@pytest.mark.parametrize("flags", [
    ("--train_config.Adam.weight_decay", "0.1", "--train_config.ema_decay", "0.9", "--train_config.grad_clip", "0.01"),
    pytest.param(("--train_config.optimizer", "SGD"), marks=pytest.mark.slow),
    pytest.param(("--train_config.optimizer", "AdamW"), marks=pytest.mark.slow)])
def test_steps_change_nothing_of_the_frozen_layers(flags):
    loss = frozen_loss()
    step = step_of(loss, *flags)
    before, names = values(step), [parameter.name for parameter in loss.get_parameters()]
    assert len(names) == 10, "a checkpoint has all parameters"
    expected = expected_loss(loss.network, *tiny_batch())
    first, second = (run(step, tiny_batch(index)) for index in range(2))
    assert first[0] == pytest.approx(expected, rel=1e-5)
    assert first[4] is second[4] is False
    image, target = tiny_batch(2)
    target[0, 0, 0, 0] = np.inf
    assert run(step, (image, target))[4] is True
    after = changed(before, values(step))
    assert {name for name in names if name not in after} == {name for name in names if name.startswith(FROZEN)}
    assert not [name for name in before if name.startswith(("moment", "accum", "stat.")) and FROZEN[0] in name]
    assert sum(weight.size for weight in step.weights) + frozen_size(loss) + 2 * (4 + 1) == sum(
        parameter.size for parameter in loss.get_parameters())
    if step.average is not None:
        ema = dict(zip(names, np.split(step.average.asnumpy(), np.cumsum([before[name].size for name in names])[:-1])))
        for name in names:
            assert np.array_equal(ema[name], before[name].ravel()) == name.startswith(FROZEN)


def test_random_weights_are_not_frozen():
    with pytest.raises(UserError, match="freeze_stages 1 would freeze random weights.*--backbone_checkpoint"):
        require_weights(settings(*FREEZE))
    require_weights(settings(*FREEZE, "--backbone_checkpoint", "a.ckpt"))
    require_weights(settings())


@pytest.mark.parametrize(("flags", "message"), [
    (("--config_path", "official_hourglass", *FREEZE), "freeze_stages must be 0 for hourglass104, found 1"),
    (("--train_config.freeze_stages", "5"), "freeze_stages must be 0 to 4, found 5"),
    (("--train_config.backbone_rate", "0"), "backbone_rate must be greater than 0"),
    (("--train_config.early_stop", "3"), "early_stop 3 needs evaluations: set --eval_interval 1")])
def test_settings_without_a_meaning_are_refused(flags, message):
    with pytest.raises(UserError) as caught:
        load_config("train", flags, "")
    assert message in str(caught.value)
