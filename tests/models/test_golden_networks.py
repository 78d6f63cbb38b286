"""Networks equal the paper's PyTorch code: same weights, same maps."""
import json

import numpy as np
import pytest
from mindspore import Tensor

from tests.conftest import GOLDEN
from tests.golden_weights import golden_network


@pytest.mark.parametrize("arch", ["res_18", "resdcn_18", "mmdet_r18", "res_50", "resdcn_50"])
def test_network_equals_official_code(arch, golden):
    expected = golden(arch)
    network = golden_network(arch)
    assert sum(p.size for p in network.trainable_params()) == json.loads((GOLDEN / f"{arch}.json").read_text())["params"]
    for name, ours in zip(("hm", "wh", "reg"), network(Tensor(expected["x"]))):
        error = np.abs(ours.asnumpy() - expected[name]).max()
        assert error <= 1e-4 * np.abs(expected[name]).max(), name
