"""A process is started while a signal arrives."""
import subprocess
import sys

import pytest

# The hook runs where Python itself runs functions after a fork; an exception there is printed and forgotten.
PROGRAM = """
import os, signal, sys
from centernet.jobs.launch.processes import start_process

def stop(number, frame):
    raise SystemExit(7)

signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGHUP, stop)
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.{name}))
try:
    start_process(["true"], {{}}, sys.stdout)
except KeyboardInterrupt:
    raise SystemExit(7)
print("the signal was lost")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_at_the_fork_is_not_lost(name):
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(name=name)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
