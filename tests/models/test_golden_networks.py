"""Networks equal the paper's PyTorch code: same weights, same maps."""
import json
from contextlib import nullcontext

import numpy as np
import pytest
from mindspore import Tensor

from centernet.device import eager
from centernet.weights.name_maps import is_ignored
from tests.golden_weights import golden_network
from tools.golden_archive import GOLDEN, MAPS, TOLERANCE, errors, source_of

SLOW = ("hourglass",)  # 191 million weights are made and loaded
# The deeper networks have the same layers; test_step.py compiles res_18, test_recipes.py mmdet_r18 and
# test_networks_train.py dla_34.
COMPILED = ("resdcn_18", "dlav0_34", *SLOW)


@pytest.mark.parametrize("arch", [pytest.param(arch, marks=[pytest.mark.slow] * (arch in SLOW)) for arch in TOLERANCE])
def test_network_equals_official_code(arch, golden):
    expected = golden(arch)
    network = golden_network(arch)
    official = json.loads((GOLDEN / f"{arch}.json").read_text())
    unused = sum(int(np.prod(shape)) for name, (shape, kind) in official["state"].items()
                 if is_ignored(source_of(arch), name) and kind not in "mv")
    assert sum(parameter.size for parameter in network.trainable_params()) == official["params"] - unused
    with nullcontext() if arch in COMPILED else eager():
        found = errors([ours.asnumpy() for ours in network(Tensor(expected["x"]))], expected)
    assert [name for name in MAPS if not found[name] <= TOLERANCE[arch]] == [], found
