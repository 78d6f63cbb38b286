"""One run of the golden networks: forward pass, decode, losses and a training step, as a few numbers for each."""
from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import Tensor, nn

from centernet.config.load import Config
from centernet.detection.decode import decode, sigmoid
from centernet.models.centernet import build_centernet
from centernet.models.decode import Decode
from centernet.models.precision import lower, precision_of
from centernet.training.loop import run_step
from centernet.training.losses.network import LossNetwork
from centernet.training.optimization.optimizer import build_optimizer
from centernet.training.optimization.schedule import MultiDecay
from centernet.training.optimization.step import TrainStep
from tools.first_day.golden_network import K, batch, made_up_maps, random_of, weights

RATE = 0.001       # learning rate
BETA1 = 0.9        # of Adam: its first moment after one step is (1 - BETA1) * gradient
PROJECTIONS = 8
SAMPLES = 16


class Forward(nn.Cell):
    """uint8 images and their color matrices -> maps (hm, wh, reg) and detections, as in an evaluation."""

    def __init__(self, normalize: nn.Cell, network: nn.Cell):
        super().__init__(auto_prefix=False)
        self.normalize = normalize
        self.network = network
        self.decode = Decode(K)

    def construct(self, image: Tensor, colors: Tensor) -> tuple[Tensor, ...]:
        """Return hm, wh, reg and the detections of a batch."""
        hm, wh, reg = self.network(self.normalize(image, colors))
        return hm, wh, reg, self.decode(hm, wh, reg)


def run_case(config: Config) -> dict[str, Any]:
    """Run a golden network with its formula weights on the current device.

    Returns:
        name -> {"norm", "projections", "samples"} of an array, see fingerprint; or a list of numbers. The names are
        hm, wh, reg, scores, losses, update, statistics, and "gradient GROUP" for each group of parameters.
    """
    data, train = config.dataset_config, config.train_config
    network = build_centernet(config.net_config, data.num_classes)
    values = weights({parameter.name: parameter.shape for parameter in network.get_parameters()})
    for parameter in network.get_parameters():
        parameter.set_data(Tensor(values[parameter.name]))
    precision = precision_of(train.amp_level, train.amp_type, config.device_target, config.exact_fp32)
    if precision != "float32":
        lower(network, precision)
    loss = LossNetwork(network, config.net_config, data, data.num_classes)
    step = TrainStep(loss, build_optimizer(network, train, MultiDecay(RATE, 0, (), 10.0)), train,
                     in_float32=precision == "float32")
    columns = batch(config)
    return {**_forward(loss, columns[:2]), **_train_once(step, columns)}


def _forward(loss: LossNetwork, columns: tuple[np.ndarray, ...]) -> dict[str, Any]:
    loss.set_train(False)
    outputs = Forward(loss.normalize, loss.network)(*map(Tensor, columns))
    hm, wh, reg, boxes = (each.asnumpy() for each in outputs)
    loss.set_train(True)
    maps = {"hm": hm, "wh": wh, "reg": reg}
    return {**{name: fingerprint({name: value}) for name, value in maps.items()},
            "scores": boxes[:, :, 4].astype(float).ravel().tolist()}


def _train_once(step: TrainStep, columns: tuple[np.ndarray, ...]) -> dict[str, Any]:
    before = {parameter.name: parameter.asnumpy().copy() for parameter in step.weights}
    numbers = run_step(step, columns).asnumpy().astype(float).tolist()
    update = {parameter.name: parameter.asnumpy() - before[parameter.name] for parameter in step.weights}
    groups: dict[str, dict[str, np.ndarray]] = {}
    for parameter, moment in zip(step.weights, step.optimizer.moment1):
        group = ".".join(parameter.name.split(".")[:2])
        groups.setdefault(group, {})[parameter.name] = moment.asnumpy() / np.float32(1 - BETA1)
    return {"losses": numbers[:4], "overflow": numbers[4],
            "update": [float(np.sqrt(sum(np.square(change, dtype=float).sum() for change in update.values())))],
            "statistics": fingerprint({parameter.name: parameter.asnumpy() for parameter in step.statistics}),
            **{f"gradient {group}": fingerprint(arrays) for group, arrays in groups.items()}}


def fingerprint(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return a few numbers that tell how far two sets of arrays with the same names are apart.

    norm: that of all values together. projections: their products with vectors of random signs; the mean square of the
    differences of two arrays' projections estimates the square of the norm of the arrays' difference. samples: some
    values, at random places of the first array.
    """
    total, projections = 0.0, np.zeros(PROJECTIONS)
    for name, array in arrays.items():
        flat = array.astype(float).ravel()
        total += float(flat @ flat)
        random = random_of(f"signs {name}")
        for index in range(PROJECTIONS):
            bits = np.unpackbits(np.frombuffer(random.bytes(-(-flat.size // 8)), np.uint8), count=flat.size)
            projections[index] += 2 * float(flat @ bits) - float(flat.sum())
    first = next(iter(arrays.values())).ravel()
    places = random_of("places").randint(0, first.size, SAMPLES)
    return {"norm": float(np.sqrt(total)), "projections": projections.tolist(),
            "samples": first[places].astype(float).tolist()}


def decode_error() -> float:
    """Return the largest difference between this device's decode of made-up maps and the same in NumPy."""
    hm, wh, reg = made_up_maps()
    found = Decode(K)(Tensor(hm), Tensor(wh), Tensor(reg)).asnumpy()
    return float(np.abs(found - decode(sigmoid(hm), wh, reg, K)).max())
