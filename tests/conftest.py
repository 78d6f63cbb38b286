"""Set-up shared by the tests: quiet CPU device, golden numbers, real COCO images."""
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from centernet.device import eager, prepare_environment, set_up_device
from tools.golden_archive import GOLDEN

prepare_environment()
# Processes that a test starts find this checkout, whatever is installed.
ROOT = Path(__file__).parents[1]
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])

SHARED = Path(os.environ.get("CENTERNET_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session", autouse=True)
def cpu_device():
    set_up_device("CPU", 0, seed=1)


@pytest.fixture
def layer_by_layer(cpu_device):
    """Run networks without compiling them, which for one image of a small network takes most of the time."""
    with eager():
        yield


@pytest.fixture(scope="module", autouse=True)
def quiet_handlers():
    """The entries replace the root logger's handlers; put pytest's back after each file."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def golden():
    """Loader of one golden file by name, e.g. golden("decode")."""
    return lambda name: np.load(GOLDEN / f"{name}.npz", allow_pickle=False)


@pytest.fixture(scope="session")
def coco_mini():
    path = SHARED / "data" / "coco_mini"
    if not path.is_dir():
        pytest.skip(f"real COCO images are not at {path}; set CENTERNET_SHARED to the folder that holds data/coco_mini")
    return path
