"""The rounding noise of a network: how much its own output moves when float32 rounds its weights another way."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from mindspore import Tensor, nn

ONE_ROUNDING = 2.0 ** -23  # relative distance of neighbouring float32 numbers


def rounding_noise(network: nn.Cell, run: Callable[[], list[np.ndarray]],
                   difference: Callable[[list[np.ndarray]], float]) -> float:
    """Return the difference of a network's output after each weight moved by one rounding of float32.

    No runtime can repeat the network's output better than to about this figure, because each one adds the products of
    a sum in an order of its own. It is large where positions are computed (deformable layers) and weights are
    untrained.

    Args:
        network: it has its weights again at the end.
        run: output of the network for one input.
        difference: distance of an output from that of the unchanged weights.
    """
    found = []
    for seed in range(2):
        with _moved_weights(network, np.random.default_rng(seed)):
            found.append(difference(run()))
    return float(np.max(found))


@contextmanager
def _moved_weights(network: nn.Cell, rng: np.random.Generator) -> Iterator[None]:
    before = [(parameter, parameter.asnumpy().copy()) for parameter in network.get_parameters()]
    try:
        for parameter, values in before:
            if values.dtype == np.float32:
                moved = values * (1 + ONE_ROUNDING * rng.choice((-1, 1), values.shape))
                parameter.set_data(Tensor(moved.astype(np.float32)))
        yield
    finally:
        for parameter, values in before:
            parameter.set_data(Tensor(values))
