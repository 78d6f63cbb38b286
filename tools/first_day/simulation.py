"""Whether MindSpore's dry run is active: it compiles for Ascend, but computes nothing."""
from __future__ import annotations

import os


def is_simulated() -> bool:
    """Return whether numbers of this process and of those that it starts are meaningless."""
    return os.environ.get("MS_SIMULATION_LEVEL", "") != ""
