"""The exponential moving average of a network's parameters (EMA) that a training keeps and its checkpoints contain.

Averages of the weights along a training are often better than the last ones (Polyak and Juditsky 1992; with an
exponential average: Tarvainen and Valpola 2017). One vector has the averages of all parameters, weights and statistics
of batch norm, in the order of the network.
"""
from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from mindspore import Parameter, Tensor, nn

from centernet.errors import UserError
from centernet.weights.checkpoint import Checkpoint

LOG = logging.getLogger("centernet")
NAME = "ema"


def flat_values(parameters: Sequence[Parameter]) -> np.ndarray:
    """Return the values of parameters, one after the other, as a float32 vector."""
    return np.concatenate([parameter.asnumpy().ravel() for parameter in parameters])


def choose_weights(checkpoint: Checkpoint, network: nn.Cell, weights: str, path: str | Path) -> Checkpoint:
    """Return a checkpoint with averages as its parameters; without averages, or with raw, the same checkpoint.

    Args:
        checkpoint: it may have other categories than the network.
        network: its order of parameters is that of the averages.
        weights: ema or raw, see the setting of this name.
        path: the checkpoint's file, for messages.

    Raises:
        UserError: the averages are those of another network.
    """
    average = checkpoint.parameters.get(NAME)
    if average is None or weights == "raw":
        return checkpoint
    names = [parameter.name for parameter in network.get_parameters()]
    own = [checkpoint.parameters[name] for name in names if name in checkpoint.parameters]
    size = sum(parameter.size for parameter in own)
    if average.size != size:
        raise UserError(f"checkpoint {path} has averages of {average.size} values, but this network has {size}: use "
                        "the --config_path and the categories of its training")
    averages = {parameter.name: Parameter(Tensor(values), name=parameter.name)
                for parameter, values in zip(own, _parts(average.asnumpy(), own))}
    LOG.info("%s: the average of its weights is used (--weights raw: those of the last step)", path)
    return dataclasses.replace(checkpoint, parameters={**checkpoint.parameters, **averages})


@contextmanager
def averaged(network: nn.Cell, average: Parameter | None) -> Iterator[None]:
    """Give a network its averages in the block. Without averages, do nothing."""
    if average is None:
        yield
        return
    parameters = list(network.get_parameters())
    current = flat_values(parameters)
    _set(parameters, average.asnumpy())
    try:
        yield
    finally:
        _set(parameters, current)


def _parts(values: np.ndarray, parameters: Sequence[Parameter]) -> list[np.ndarray]:
    ends = np.cumsum([parameter.size for parameter in parameters])
    return [part.reshape(parameter.shape) for part, parameter in zip(np.split(values, ends[:-1]), parameters)]


def _set(parameters: Sequence[Parameter], values: np.ndarray) -> None:
    for parameter, part in zip(parameters, _parts(values, parameters)):
        parameter.set_data(Tensor(part))
