"""The average of the weights: its formula, its place in checkpoints, and its use in evaluations."""
from dataclasses import replace

import numpy as np
import pytest
from mindspore import Parameter, Tensor

from centernet.errors import UserError
from centernet.models.centernet import build_centernet
from centernet.training.optimization.optimizer import describe_optimizer
from centernet.training.setup import load_weights
from centernet.weights.average import averaged, choose_weights, flat_values
from centernet.weights.checkpoint import Checkpoint, model_record, read_checkpoint, save_checkpoint
from centernet.weights.conversion import convert_back
from centernet.weights.load import load_model
from tests.tiny_training import CATEGORIES, TinyLoss, run, settings, tiny_batch, tiny_step


def test_it_follows_its_formula_and_a_skipped_step_leaves_it():
    step = tiny_step("--train_config.ema_decay", "0.25")
    parameters = list(step.loss_network.get_parameters())
    expected, updates, decays = flat_values(parameters).astype(np.float64), 0, []
    for index in range(5):
        image, target = tiny_batch(index)
        if index == 2:
            target[0, 0, 0, 0] = np.inf
        overflow = run(step, (image, target))[4]
        assert overflow == (index == 2)
        if not overflow:
            decays.append(min(0.25, (1 + updates) / (10 + updates)))
            expected = decays[-1] * expected + (1 - decays[-1]) * flat_values(parameters)
            updates += 1
        np.testing.assert_allclose(step.average.asnumpy(), expected, rtol=1e-5, atol=1e-6)
    assert decays == pytest.approx([0.1, 2 / 11, 0.25, 0.25])
    assert np.abs(expected - flat_values(parameters)).max() > 1e-3
    names = [parameter.name for parameter in step.get_parameters()]
    assert names.count("ema") == 1 and len(set(names)) == len(names)


def test_without_it_a_step_has_no_further_state():
    assert "ema" not in [parameter.name for parameter in tiny_step().get_parameters()]
    assert "average" not in describe_optimizer(settings().train_config)
    assert "average of the weights with decay 0.99" in describe_optimizer(
        settings("--train_config.ema_decay", "0.99").train_config)


def test_a_compiled_network_uses_it_in_the_block_only():
    network = TinyLoss().network
    network.set_train(False)
    image = Tensor(tiny_batch()[0])
    before = network(image).asnumpy()
    values = flat_values(list(network.get_parameters()))
    average = Parameter(Tensor(values * 1.5), name="ema")
    with averaged(network, average):
        assert np.array_equal(flat_values(list(network.get_parameters())), values * np.float32(1.5))
        inside = network(image).asnumpy()
    assert np.abs(inside - before).max() > 0.01
    assert np.array_equal(network(image).asnumpy(), before)
    with averaged(network, None):
        assert np.array_equal(network(image).asnumpy(), before)


def test_a_checkpoint_s_parameters_become_their_averages(tmp_path):
    step = tiny_step("--train_config.ema_decay", "0.5")
    run(step, tiny_batch())
    save_checkpoint(tmp_path / "x.ckpt", step, None, {"step": 1})
    network = TinyLoss().network
    checkpoint = read_checkpoint(tmp_path / "x.ckpt")
    found = choose_weights(checkpoint, network, "ema", "x.ckpt").parameters
    names = [parameter.name for parameter in network.get_parameters()]
    assert np.array_equal(np.concatenate([found[name].asnumpy().ravel() for name in names]), step.average.asnumpy())
    name = "backbone.0.weight"
    assert not np.array_equal(found[name].asnumpy(), checkpoint.parameters[name].asnumpy())
    assert found["loss_scale"] is checkpoint.parameters["loss_scale"]


def test_a_checkpoint_with_other_categories_has_averages_too():
    """Fine-tuning loads its other parts."""
    shape = (5, 4, 3, 3)  # instead of (1, 4, 3, 3) in the network
    values = {parameter.name: np.ones(shape if parameter.name.endswith("3.weight") else parameter.shape, np.float32)
              for parameter in TinyLoss().network.get_parameters()}
    size = sum(value.size for value in values.values())
    values["ema"] = np.arange(size, dtype=np.float32)
    checkpoint = Checkpoint({name: Parameter(Tensor(value), name=name) for name, value in values.items()}, None, {})
    found = choose_weights(checkpoint, TinyLoss().network, "ema", "x.ckpt").parameters
    assert found["backbone.3.weight"].shape == shape
    del values["ema"]
    assert np.array_equal(np.concatenate([found[name].asnumpy().ravel() for name in values]), np.arange(size))


def test_averages_of_another_network_are_refused():
    network = TinyLoss().network
    plain = Checkpoint({}, None, {})
    assert choose_weights(plain, network, "ema", "x.ckpt") is plain
    other = Checkpoint({"ema": Parameter(Tensor(np.zeros(3, np.float32)), name="ema")}, None, {})
    with pytest.raises(UserError, match="x.ckpt has averages of 3 values, but this network has "):
        choose_weights(other, network, "ema", "x.ckpt")


@pytest.fixture
def both(tmp_path):
    """A checkpoint of the tiny detector whose averages are its weights plus 1, and its network."""
    config = settings()
    network = build_centernet(config.net_config, 3)
    network.ema = Parameter(Tensor(flat_values(list(network.get_parameters())) + 1), name="ema")
    save_checkpoint(tmp_path / "both.ckpt", network, model_record(config, CATEGORIES), {"step": 1})
    del network.ema
    return tmp_path / "both.ckpt", network


@pytest.mark.parametrize("weights, more", [("ema", 1), ("raw", 0)])
def test_every_reader_of_checkpoints_takes_the_chosen_weights(both, weights, more):
    path, network = both
    name, expected = "backbone.conv1.weight", None
    config = settings("--weights", weights, "--load_checkpoint_path", str(path))
    for parameter in network.get_parameters():
        name, expected = (parameter.name, parameter.asnumpy() + more) if expected is None else (name, expected)
    found = [load_model(path, config).network, build_centernet(config.net_config, 3)]
    load_weights(config, found[1], CATEGORIES)
    for one in found:
        assert np.array_equal(one.parameters_dict()[name].asnumpy(), expected)
    ltrb = ("--net_config.box_head", "ltrb")
    for flags in ((), ltrb, (*ltrb, "--net_config.iou_score", "true")):
        tuned = settings("--weights", weights, "--load_checkpoint_path", str(path), *flags)
        other = build_centernet(tuned.net_config, 5)
        load_weights(replace(tuned, fine_tune=True), other, CATEGORIES)
        assert np.array_equal(other.parameters_dict()[name].asnumpy(), expected)
    theirs = convert_back(read_checkpoint(path), "official", config, path)
    assert any(np.array_equal(value, expected) for value in theirs.values())
