"""What tests compile without a command of the project: `python tests/dry_run/programs.py NAME`."""
import ctypes
import sys

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from centernet.cli import run_process
from centernet.device import join_group, set_up_device
from tests.tiny_training import tiny_batch, tiny_step

X = Tensor(np.zeros((2, 3), np.float32))


class Median(nn.Cell):
    """An operator that has a kernel for the CPU only."""

    def construct(self, x):
        return ops.median(x, 1)[0]


class Fused(nn.Cell):
    """Operators that become one kernel at jit_level O1."""

    def construct(self, x):
        return ops.exp(x * 2 + 1)


class Finite(nn.Cell):
    """How the training step looks for an overflow."""

    def construct(self, x):
        return ms.amp.all_finite((ops.relu(x),))


def median():
    """An operator without a kernel for Ascend."""
    set_up_device("Ascend", 0, 1)
    Median()(X)


def eight_devices():
    """The step of one of eight devices, a graph at jit_level O1, and the overflow check of the first Ascend 910."""
    set_up_device("Ascend", 0, 1)
    assert join_group(True, 8).size == 8
    tiny_step(devices=8)(*map(Tensor, tiny_batch()))
    ms.set_context(jit_config={"jit_level": "O1"})
    Fused()(X)
    ms.set_context(jit_config={"jit_level": "O0"})  # for this chip the default is another backend, GE
    assert ctypes.CDLL("libcann_stub.so").centernet_set_chip(b"ascend910") == 0
    Finite()(X)


def main():
    {"median": median, "eight_devices": eight_devices}[sys.argv[1]]()
    return 0


if __name__ == "__main__":
    run_process(main)
