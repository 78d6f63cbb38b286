"""The number of threads that prepare images."""
from __future__ import annotations

import os

from centernet.config.schema import Config

MOST = 8  # the model zoo's training used 8; more threads wait for Python's lock


def input_threads(config: Config) -> int:
    """Return num_workers, or for 0 a number that suits the device and the CPU cores of this process."""
    return config.num_workers or automatic_threads(config.device_target, usable_cores())


def usable_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def automatic_threads(device_target: str, cores: int) -> int:
    """Return 2 on CPU, where the network needs the cores; on Ascend half of the cores, from 1 to MOST."""
    return 2 if device_target == "CPU" else max(1, min(MOST, cores // 2))
