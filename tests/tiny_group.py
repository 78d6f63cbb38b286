"""Processes that train together on this machine, started by hand (`from tests.tiny_group import started`)."""
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Python texts that stand in for a framework that dies when it is unloaded: by Python's exit handlers, or later, when
# the process's libraries are.
CRASH_AT_EXIT = "import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGSEGV)"
CRASH_OF_LIBRARIES = "import atexit, ctypes; C = ctypes.CDLL(None)\nC.__cxa_atexit(C.abort, None, None)"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def started(words, folder, size=2):
    """Start `python words` as rank 0, 1, ... and the scheduler; gives their processes, kills what is left at the end.

    Rank r prints into folder/rank{r}.log, the scheduler into folder/scheduler.log.
    """
    common = {**os.environ, "PYTHONPATH": f"{os.environ['PYTHONPATH']}:{ROOT / 'tests'}", "RANK_SIZE": str(size),
              "MS_WORKER_NUM": str(size), "MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": str(free_port()),
              "GLOG_logtostderr": "0", "GLOG_log_dir": str(folder)}
    processes = {}
    for name in ("scheduler", *(f"rank{rank}" for rank in range(size))):
        rank = name.removeprefix("rank")
        role = ({"MS_ROLE": "MS_SCHED", "RANK_ID": "0"} if name == "scheduler" else
                {"MS_ROLE": "MS_WORKER", "RANK_ID": rank, "MS_NODE_ID": rank, "DEVICE_ID": rank})
        with open(Path(folder, f"{name}.log"), "w") as log:
            processes[name] = subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, env={**common, **role},
                                               stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield processes
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def wait_for(condition, seconds, what):
    """Poll until condition() is true; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} took longer than {seconds} s"
        time.sleep(0.1)


def run_group(words, folder):
    """Run a group of two to its end; every process must succeed."""
    with started(words, folder, 2) as processes:
        wait_for(lambda: all(process.poll() is not None for process in processes.values())
                 or any(process.poll() for process in processes.values()), 500, "the group")
        for name, process in processes.items():
            assert process.poll() in (0, None), f"{name}: {Path(folder, f'{name}.log').read_text()[-3000:]}"
