"""Set-up shared by the tests: quiet CPU device, golden numbers, real COCO images, and the split among processes."""
import gc
import logging
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from centernet.device import eager, prepare_environment, set_up_device
from tools.golden_archive import GOLDEN

# A shell lets jobs in the background ignore SIGINT, and the tests' processes would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("CENTERNET_SHARED", ROOT.parent / "shared"))
WORKER = os.environ.get("PYTEST_XDIST_WORKER")  # gw0, gw1, ... in one of several processes (pytest -n)
SEED = 1
LONGEST_SET_UP = 900  # seconds that a test waits for scripts/set_up_lite.sh
# With several processes, files are handed out in this order: the ones that take longest first, so that all processes
# end at about the same time; then the C++ program, whose MindSpore Lite is fetched meanwhile; then the others.
FIRST = ("scripts/test_run_scripts.py", "training/test_two_workers.py", "jobs/test_modelarts_jobs.py",
         "dry_run/test_default_graphs.py", "training/optimization/test_step.py", "export/test_mindir.py",
         "export/test_onnx.py", "weights/test_conversion.py", "training/test_train_entry.py",
         "export/quantization/test_quantize.py", "test_export_chain.py", "training/losses/test_loss_network.py",
         "models/test_golden_networks.py", "cli/test_convert_weights.py", "test_open_model.py", "cli/test_eval.py")
CPP = "ascend310_infer"

if WORKER:  # more threads than cores only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
prepare_environment()
# Processes that a test starts find this checkout, whatever is installed.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])


def shared_by(nodeid):
    """Name of what the tests of one process share: their file's fixtures, or the C++ program."""
    name = nodeid.split("::")[0].removeprefix("tests/")
    return CPP if name.startswith(f"{CPP}/") else name


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate((*FIRST, CPP))}
    if WORKER:
        items.sort(key=lambda item: order.get(shared_by(item.nodeid), len(order)))


def pytest_collection_finish():
    """Let the garbage collector leave out what exists now: the modules and the tests, which stay until the end.

    MindSpore collects garbage before each compilation, which takes 0.2 s with all these objects, and nothing without.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """--dist loadfile, but that the files of the C++ program stay together too."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return shared_by(nodeid)
    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Random numbers of a test do not depend on the tests before it, which differ between processes and selections."""
    import mindspore as ms
    ms.set_seed(SEED)
    np.random.seed(SEED)
    # Nor does what caplog sees: the entries and some tools set the level of the project's log.
    logging.getLogger("centernet").setLevel(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)


@pytest.fixture(scope="session", autouse=True)
def cpu_device(tmp_path_factory):
    set_up_device("CPU", 0, seed=SEED)
    # Where MindSpore writes a graph that does not compile; by default rank_0/ in the current folder, for all processes.
    os.environ["MS_OM_PATH"] = str(tmp_path_factory.mktemp("graphs"))


@pytest.fixture
def layer_by_layer(cpu_device):
    """Run networks without compiling them, which for one image of a small network takes most of the time."""
    with eager():
        yield


@pytest.fixture
def checkpoints_layer_by_layer(monkeypatch):
    """Checkpoints detect without a compilation, also in commands, which choose the graph mode."""
    from centernet.runtimes.checkpoint import CheckpointBackend
    detect = CheckpointBackend.__call__

    def detect_by_layers(backend, images):
        with eager():
            return detect(backend, images)
    monkeypatch.setattr(CheckpointBackend, "__call__", detect_by_layers)


@pytest.fixture(scope="module", autouse=True)
def quiet_handlers():
    """The entries replace the root logger's handlers; put pytest's back after each file."""
    root = logging.getLogger()
    # A fixture of the whole session may have run a command before this one.
    handlers = [handler for handler in root.handlers if not type(handler).__module__.startswith("centernet")]
    level, root.handlers[:] = root.level, handlers
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def golden():
    """Loader of one golden file by name, e.g. golden("decode")."""
    return lambda name: np.load(GOLDEN / f"{name}.npz", allow_pickle=False)


def shared_data(name, what):
    """Return a folder of CENTERNET_SHARED/data. Skip the test that asks for it if it is not there."""
    path = SHARED / "data" / name
    if not path.is_dir():
        pytest.skip(f"{what} are not at {path}; set CENTERNET_SHARED to the folder that holds data/{name}")
    return path


@pytest.fixture(scope="session")
def coco_mini():
    return shared_data("coco_mini", "real COCO images")


@pytest.fixture(scope="session")
def bccd():
    return shared_data("bccd", "photographs of blood cells")


@pytest.fixture(scope="session")
def lite_set_up():
    """The last lines of scripts/set_up_lite.sh, which run_tests.sh starts beside the tests: this waits for its end."""
    if "LITE_SET_UP_LOG" not in os.environ:
        return ""
    log, end = Path(os.environ["LITE_SET_UP_LOG"]), time.monotonic() + LONGEST_SET_UP
    while "exit status: " not in (text := log.read_text(encoding="utf-8", errors="replace")):
        if time.monotonic() > end:
            text += f"waited {LONGEST_SET_UP} s for its end"
            break
        time.sleep(0.5)
    return "It said: " + " / ".join(text.splitlines()[-6:])
