"""AdamW against PyTorch's, and against its formula.

tests/data/golden/adamw.npz was written by this program (torch 2.13, CPU):

    import numpy as np, torch
    random = np.random.RandomState(0)
    start = {"weight": random.randn(3, 4).astype("f4"), "bias": random.randn(4).astype("f4")}
    gradients = {name: (random.randn(20, *value.shape) * 0.1).astype("f4") for name, value in start.items()}
    found = {f"start_{name}": value for name, value in start.items()}
    found.update({f"gradient_{name}": value for name, value in gradients.items()})
    weights = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in start.items()}
    groups = [{"params": [weight], "weight_decay": decay} for weight, decay in zip(weights.values(), (0.05, 0.0))]
    optimizer = torch.optim.AdamW(groups, lr=1.0, eps=1e-4)
    steps = {name: [] for name in weights}
    for index in range(20):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 if index == 0 else 0.02 if index < 15 else 0.002
        for name, weight in weights.items():
            weight.grad = torch.tensor(gradients[name][index])
        optimizer.step()
        for name, weight in weights.items():
            steps[name].append(weight.detach().numpy().copy())
    found.update({name: np.stack(values) for name, values in steps.items()})
    np.savez_compressed("adamw.npz", **found)
"""
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from centernet.training.optimization.optimizer import build_optimizer, describe_optimizer
from centernet.training.optimization.schedule import MultiDecay
from tests.tiny_training import TinyLoss, changed_after_a_skipped_step, settings, tiny_step, values

ADAMW = ("--train_config.optimizer", "AdamW", "--train_config.AdamW.weight_decay", "0.05",
         "--train_config.MultiDecay.eps", "1e-4")
NAMES = ("weight", "bias")
RATES = [0.01, *[0.02] * 14, *[0.002] * 5]


class Weights(nn.Cell):
    """Two parameters, called as a convolution's."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight = Parameter(Tensor(weight), name="layer.weight")
        self.bias = Parameter(Tensor(bias), name="layer.bias")


def formula(start, gradients, rates, decay, eps):
    """Loshchilov and Hutter 2019, algorithm 2, in float64: the weights after each step."""
    weight, first, second, found = start.astype(np.float64), 0.0, 0.0, []
    for step, (gradient, rate) in enumerate(zip(gradients.astype(np.float64), rates), 1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient ** 2
        update = first / (1 - 0.9 ** step) / (np.sqrt(second / (1 - 0.999 ** step)) + eps)
        weight = weight - rate * (update + decay * weight)
        found.append(weight)
    return np.stack(found)


@pytest.fixture(scope="module")
def twenty_steps(golden):
    """The recorded arrays, and the weights after each of twenty steps."""
    recorded = golden("adamw")
    network = Weights(recorded["start_weight"], recorded["start_bias"])
    # A warm-up of two steps and a drop after 15: the recorded rates.
    optimizer = build_optimizer(network, settings(*ADAMW).train_config, MultiDecay(0.02, 2, (15,), 10.0))
    found = {name: [] for name in NAMES}
    for index in range(20):
        optimizer(tuple(Tensor(recorded[f"gradient_{name}"][index]) for name in NAMES))
        for name in NAMES:
            found[name].append(getattr(network, name).asnumpy().copy())
    return recorded, found


@pytest.mark.parametrize(("name", "decay"), [("weight", 0.05), ("bias", 0.0)])
def test_twenty_steps_equal_pytorch_and_the_formula(twenty_steps, name, decay):
    recorded, found = twenty_steps
    expected = formula(recorded[f"start_{name}"], recorded[f"gradient_{name}"], RATES, decay, 1e-4)
    np.testing.assert_allclose(found[name], recorded[name], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-6)


def test_norm_and_bias_are_not_decayed_and_the_order_is_the_network_s():
    network = TinyLoss()
    optimizer = build_optimizer(network, settings(*ADAMW).train_config, MultiDecay(0.01, 0, (), 10.0))
    assert [p.name for p in optimizer.parameters] == [p.name for p in network.trainable_params()]
    decayed = {p.name for p, decayed in zip(optimizer.parameters, optimizer.decayed) if decayed}
    assert decayed == {"backbone.0.weight", "backbone.3.weight"}
    without = settings(*ADAMW, "--train_config.AdamW.weight_decay", "0").train_config
    assert not any(build_optimizer(TinyLoss(), without, MultiDecay(0.01, 0, (), 10.0)).decayed)
    assert describe_optimizer(settings(*ADAMW).train_config) == "AdamW, weight decay 0.05 on .weight"


def test_a_skipped_step_keeps_all_of_its_state():
    step = tiny_step(*ADAMW)
    moved = changed_after_a_skipped_step(step)
    assert {"moment1.backbone.0.weight", "correction1", "correction2", "global_step"} <= moved
    assert len(values(step)) == len(list(step.get_parameters())), "every name is unique"


@pytest.mark.parametrize("name", ["AdamW", *(pytest.param(name, marks=pytest.mark.slow) for name in ("Adam", "SGD"))])
def test_the_backbone_has_its_share_of_the_rate(name):
    """Two equal weights, one of the backbone: without weight decay, its update is a quarter of the other's."""
    weight, bias = (np.random.RandomState(seed).randn(3, 4).astype(np.float32) for seed in range(2))
    train = settings("--train_config.optimizer", name, f"--train_config.{name}.weight_decay", "0",
                     "--train_config.backbone_rate", "0.25").train_config
    network = nn.SequentialCell(Weights(weight, bias), Weights(weight, bias))
    network[0].update_parameters_name("backbone.")
    optimizer = build_optimizer(network, train, MultiDecay(0.02, 2, (), 10.0))
    assert [p.name for p in optimizer.parameters] == [p.name for p in network.trainable_params()]
    for seed in range(2):
        gradients = [Tensor(np.random.RandomState(seed + index).randn(3, 4).astype(np.float32)) for index in range(2)]
        optimizer((*gradients, *gradients))
    slow, fast = (cell.weight.asnumpy() - weight for cell in network)
    assert np.abs(fast).max() > 0.01
    np.testing.assert_allclose(slow, 0.25 * fast, rtol=0, atol=1e-6)
    assert float(optimizer.learning_rate(optimizer.global_step).asnumpy().item()) == pytest.approx(0.02)
    assert "learning rate of the backbone x 0.25" in describe_optimizer(train)
