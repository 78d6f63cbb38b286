"""SGD against PyTorch's.

tests/data/golden/sgd.npz was written by this program (torch 2.13, CPU):

    import numpy as np, torch
    random = np.random.RandomState(0)
    start = {"weight": random.randn(3, 4).astype("f4"), "bias": random.randn(4).astype("f4")}
    gradients = {name: random.randn(5, *value.shape).astype("f4") for name, value in start.items()}
    found = {f"start_{name}": value for name, value in start.items()}
    found.update({f"gradient_{name}": value for name, value in gradients.items()})
    cases = (("plain", 0.0, (0.0, 0.0), False), ("momentum", 0.9, (0.05, 0.05), False),
             ("nesterov", 0.9, (0.05, 0.05), True), ("filtered", 0.9, (0.05, 0.0), False))
    for case, momentum, decays, nesterov in cases:
        weights = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in start.items()}
        groups = [{"params": [weight], "weight_decay": decay} for weight, decay in zip(weights.values(), decays)]
        optimizer = torch.optim.SGD(groups, lr=1.0, momentum=momentum, nesterov=nesterov)
        steps = {name: [] for name in weights}
        for index, rate in enumerate((0.01, 0.02, 0.02, 0.02, 0.002)):
            for group in optimizer.param_groups:
                group["lr"] = rate
            for name, weight in weights.items():
                weight.grad = torch.tensor(gradients[name][index])
            optimizer.step()
            for name, weight in weights.items():
                steps[name].append(weight.detach().numpy().copy())
        found.update({f"{case}_{name}": np.stack(values) for name, values in steps.items()})
    np.savez_compressed("sgd.npz", **found)
"""
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from centernet.training.optimization.optimizer import build_optimizer, describe_optimizer
from centernet.training.optimization.schedule import MultiDecay
from tests.tiny_training import TinyLoss, changed_after_a_skipped_step, settings, tiny_step

SGD = ("--train_config.optimizer", "SGD")
SECTION = "--train_config.SGD."


class Weights(nn.Cell):
    """Two parameters, called as a convolution's."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight = Parameter(Tensor(weight), name="layer.weight")
        self.bias = Parameter(Tensor(bias), name="layer.bias")


@pytest.mark.parametrize(("case", "flags"), [
    ("plain", (f"{SECTION}momentum=0", f"{SECTION}weight_decay=0")),
    ("momentum", (f"{SECTION}weight_decay=0.05",)),
    ("nesterov", (f"{SECTION}weight_decay=0.05", f"{SECTION}nesterov=true")),
    ("filtered", (f"{SECTION}weight_decay=0.05", f"{SECTION}decay_filter", ".weight"))])
def test_five_steps_equal_pytorch(golden, case, flags):
    recorded = golden("sgd")
    network = Weights(recorded["start_weight"], recorded["start_bias"])
    # A warm-up of two steps and a drop after four: the recorded rates.
    optimizer = build_optimizer(network, settings(*SGD, *flags).train_config, MultiDecay(0.02, 2, (4,), 10.0))
    for index in range(5):
        optimizer(tuple(Tensor(recorded[f"gradient_{name}"][index]) for name in ("weight", "bias")))
        for name in ("weight", "bias"):
            np.testing.assert_allclose(getattr(network, name).asnumpy(), recorded[f"{case}_{name}"][index], rtol=1e-6,
                                       atol=1e-7, err_msg=f"{name} after step {index}")


def test_a_skipped_step_keeps_the_direction():
    step = tiny_step(*SGD)
    assert "accum.backbone.0.weight" in changed_after_a_skipped_step(step)


def test_every_parameter_is_decayed_unless_filtered_and_the_order_is_the_network_s():
    network = TinyLoss()
    optimizer = build_optimizer(network, settings(*SGD).train_config, MultiDecay(0.01, 0, (), 10.0))
    assert [p.name for p in optimizer.parameters] == [p.name for p in network.trainable_params()]
    assert optimizer.weight_decay == (0.0001,) * len(network.trainable_params())


@pytest.mark.parametrize(("flags", "text"), [
    ((), "Adam"),
    (("--train_config.Adam.weight_decay", "0.1"), "Adam, weight decay 0.1 on .weight"),
    ((*SGD, "--train_config.grad_clip", "35"),
     "SGD, momentum 0.9, weight decay 0.0001 on .weight .bias .gamma .beta, gradients clipped to the norm 35"),
    ((*SGD, f"{SECTION}nesterov=true", f"{SECTION}weight_decay=0"), "SGD, momentum 0.9 (Nesterov)")])
def test_the_description_names_what_is_used(flags, text):
    assert describe_optimizer(settings(*flags).train_config) == text
