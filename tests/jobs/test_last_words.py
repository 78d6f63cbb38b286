"""Ending a process that is told to, whatever it is busy with: the block runs in processes of their own."""
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
START = """
import hashlib, threading, time
from centernet.jobs.last_words import last_words
from centernet.jobs.signals import interruptible

def busy(seconds):
    print("busy", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)

class Dropper:
    def __del__(self):  # what is raised in here is dropped
        busy(60)

def blocked():  # in a call that no handler of Python's interrupts
    threading.Timer(0.5, print, ["busy"], {"flush": True}).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10 ** 9)

def speak():
    print("spoken", flush=True)

with interruptible(True), last_words(4.0, speak):
"""


def told_to_end(block):
    """Status and output of a process that gets SIGTERM once it is busy."""
    process = subprocess.Popen([sys.executable, "-c", START + block], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "busy\n"
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=50)
    finally:
        process.kill()
    return process.returncode, output, errors


def test_it_ends_in_order():
    status, output, errors = told_to_end("    busy(60)")
    assert (status, output) == (-signal.SIGINT, "") and "KeyboardInterrupt" in errors


def test_a_dropped_interrupt_comes_again():
    status, output, errors = told_to_end("    Dropper()\n    busy(60)")
    assert (status, output) == (-signal.SIGINT, "busy\n") and "Exception ignored in" in errors


@pytest.mark.parametrize("block", [
    "    Dropper()\n    Dropper()\n    busy(60)",
    "    blocked()"])
def test_a_block_that_goes_on_is_ended(block):
    status, output, _ = told_to_end(block)
    assert status == 128 + signal.SIGTERM and output.endswith("spoken\n")
