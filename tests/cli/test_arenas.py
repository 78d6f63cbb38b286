"""The pools of memory that many short-lived threads leave behind."""
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from centernet.cli import process
from centernet.cli.process import ARENAS, limit_arenas
from tests.tiny_group import ROOT

VARIABLES = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")
# 24 threads at once take memory, as the readers of an epoch do. It prints the number of glibc's arenas.
COUNT = """
import ctypes, sys, threading
libc = ctypes.CDLL(None)
libc.fopen.restype = libc.malloc.restype = ctypes.c_void_p
if sys.argv[1] == "limited":
    from centernet.cli.process import limit_arenas
    limit_arenas(2)
barrier = threading.Barrier(24)
def take():
    barrier.wait()
    libc.malloc(ctypes.c_size_t(10000))
    barrier.wait()
threads = [threading.Thread(target=take) for _ in range(24)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(open(sys.argv[2]).read().count("<heap nr="))
"""


def arenas(mode, path):
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run([sys.executable, "-c", COUNT, mode, str(path)], capture_output=True, text=True,
                          env={**environment, "PYTHONPATH": str(ROOT / "src")})
    if "malloc_info" in done.stderr:
        pytest.skip("this C library is not glibc")
    return int(done.stdout)


@pytest.mark.fault("memory that grows with each epoch", "many threads take memory at once; glibc's arenas are counted",
                   "at most four arenas, so what an epoch frees serves the next one")
def test_threads_share_a_few_arenas(tmp_path):
    assert arenas("limited", tmp_path / "info") <= ARENAS < arenas("as usual", tmp_path / "info")


@pytest.mark.parametrize("variables, calls", [
    ({}, [(-8, ARENAS)]), ({"MALLOC_ARENA_MAX": "6"}, []), ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=6"}, []),
    ({"GLIBC_TUNABLES": "glibc.malloc.check=1"}, [(-8, ARENAS)])])
def test_the_choice_of_the_environment_is_kept(monkeypatch, variables, calls):
    found = []
    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=lambda *words: found.append(words)))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    limit_arenas(2)
    assert found == calls
    limit_arenas(8)
    assert found[1:] == [(-8, 8)] * len(calls)


def test_another_c_library_is_no_error(monkeypatch):
    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: SimpleNamespace())
    limit_arenas(2)
