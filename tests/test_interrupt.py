"""SIGTERM, SIGHUP, Ctrl-C: loops see a flag, and a process that does not look is ended. The blocks run in processes."""
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from centernet.errors import Interrupted, reports_errors
from centernet.files import temporary
from centernet.interrupt import interrupted, signals_set_a_flag, stop_if_interrupted

ROOT = Path(__file__).parents[1]
START = """
import ctypes, hashlib, sys, threading, time
from pathlib import Path
import centernet.interrupt as interrupt
from centernet.errors import reports_errors
from centernet.files import temporary

def busy(seconds, look=True):
    print("busy", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
        if look:
            interrupt.stop_if_interrupted()

class Dropper:
    def __del__(self):  # what is raised in here is dropped, as in MindSpore's compiler
        busy(0.5, look=False)

def native():  # in a call that no handler of Python's interrupts
    threading.Timer(0.3, print, ["busy"], {"flush": True}).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10 ** 9)

def like_mindspore():  # its handler of SIGINT sends SIGTERM; this one is the default, which would end the process
    ctypes.CDLL(None).signal(2, None)
    time.sleep(2 * interrupt.POLL)

interrupt.GRACE = 2.0
@reports_errors
def main():
    with interrupt.signals_set_a_flag(), temporary(Path(sys.argv[1])), interrupt.before_forced_end(
            lambda: print("spoken", flush=True), 2.0):
"""
END = "\nsys.exit(main())\n"


def told_to_end(block, tmp_path, *numbers, pause=1.5, hangup=signal.SIG_DFL):
    """Status, output, errors and seconds of a process that gets signals once it is busy."""
    left = tmp_path / "left.tmp"
    left.write_text("")
    process = subprocess.Popen([sys.executable, "-c", START + "        " + block + END, left], cwd=ROOT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGHUP, hangup))  # pytest may run under nohup
    try:
        assert process.stdout.readline() == "busy\n"
        start = time.monotonic()
        for number in numbers:
            process.send_signal(number)
            time.sleep(pause if len(numbers) > 1 else 0)
        output, errors = process.communicate(timeout=50)
    finally:
        process.kill()
    return process.returncode, output, errors, time.monotonic() - start


@pytest.mark.fault("SIGTERM, SIGHUP or Ctrl-C in a loop of steps or images",
                   "a process gets the signal, also inside code that swallows exceptions",
                   "the loop ends after its item, status 143, 129 or 130")
@pytest.mark.parametrize("block", ["busy(60)", "Dropper(); busy(60)"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_loop_ends_in_order(block, number, tmp_path):
    """Also if the signal arrived where an exception would be lost."""
    status, output, errors, _ = told_to_end(block, tmp_path, number)
    assert status == 128 + number and "spoken" not in output
    assert errors == f"interrupted by {number.name}\n"


@pytest.mark.fault("the terminal is closed", "the other end of a process's pseudo-terminal is closed",
                   "the loop ends in order, status 129, although its messages cannot be printed")
def test_a_lost_terminal_ends_a_loop_in_order(tmp_path):
    left = tmp_path / "left.tmp"
    left.write_text("")
    ours, theirs = pty.openpty()

    def take_terminal():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen([sys.executable, "-c", START + "        busy(60)" + END, left], cwd=ROOT, stdin=theirs,
                               stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=take_terminal)
    try:
        os.close(theirs)
        assert os.read(ours, 4) == b"busy"
        time.sleep(0.5)  # until its call of write() has ended
        os.close(ours)
        assert process.wait(timeout=30) == 129
    finally:
        process.kill()


@pytest.mark.fault("SIGHUP to a command that nohup started", "a process that ignores SIGHUP gets one, then SIGTERM",
                   "SIGHUP changes nothing")
def test_a_hangup_is_ignored_after_nohup(tmp_path):
    status, _, errors, _ = told_to_end("busy(60)", tmp_path, signal.SIGHUP, signal.SIGTERM, hangup=signal.SIG_IGN)
    assert (status, errors) == (143, "interrupted by SIGTERM\n")


@pytest.mark.fault("SIGTERM while foreign code runs for minutes", "a process sleeps in native code and gets the signal",
                   "a thread says how to go on and ends the process with 143")
@pytest.mark.parametrize("block", ["busy(60, look=False)", "native()"])
def test_a_process_that_does_not_look_is_ended(block, tmp_path):
    status, output, errors, seconds = told_to_end(block, tmp_path, signal.SIGTERM)
    assert status == 143 and output.endswith("spoken\n") and "SIGTERM arrived 2 s ago" in errors
    assert 2 <= seconds < 10 and not (tmp_path / "left.tmp").exists()


@pytest.mark.fault("a second, impatient signal", "two different signals to one process", "the process ends at once")
def test_a_second_signal_ends_the_process_at_once(tmp_path):
    status, output, errors, seconds = told_to_end("interrupt._watches[0].grace = 60; busy(60, look=False)", tmp_path,
                                                  signal.SIGINT, signal.SIGTERM)
    assert status == 130 and "spoken" not in output and errors.startswith("a second signal: the process ends now")
    assert seconds < 10 and not (tmp_path / "left.tmp").exists()


@pytest.mark.fault("`timeout` sends its signal twice", "the same signal to a process and to its group",
                   "it counts once: the end stays orderly")
def test_the_same_signal_twice_is_one(tmp_path):
    """`timeout` sends its signal to the process and to its group."""
    status, output, *_ = told_to_end("busy(60, look=False)", tmp_path, signal.SIGTERM, signal.SIGTERM, pause=0.1)
    assert status == 143 and output.endswith("spoken\n")


@pytest.mark.fault("a library that sets its own signal handler", "a handler is set after ours", "status 130 as before")
def test_a_handler_of_the_framework_does_not_change_the_status_of_ctrl_c(tmp_path):
    status, _, errors, _ = told_to_end("like_mindspore(); busy(60)", tmp_path, signal.SIGINT)
    assert (status, errors) == (130, "interrupted by SIGINT\n")


def test_without_a_signal_nothing_changes():
    before = signal.getsignal(signal.SIGTERM)
    with signals_set_a_flag(), signals_set_a_flag():
        stop_if_interrupted()
    assert interrupted() == 0 and signal.getsignal(signal.SIGTERM) is before


def test_the_flag_ends_with_its_block(tmp_path):
    with signals_set_a_flag():
        signal.raise_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while not interrupted():
            assert time.monotonic() < deadline
        with pytest.raises(Interrupted), temporary(tmp_path):
            stop_if_interrupted()
    stop_if_interrupted()
    assert tmp_path.is_dir()


def test_a_command_says_how_to_go_on(capsys):
    @reports_errors
    def command():
        raise Interrupted(signal.SIGTERM, "Take the train at noon.")
    assert command() == 143
    assert capsys.readouterr().err == "interrupted by SIGTERM. Take the train at noon.\n"


@pytest.mark.fault("a library that forks and ends its children", "SIGTERM to a forked child of a run",
                   "the child ends, the run goes on")
def test_a_signal_to_a_forked_child_is_not_one_for_its_parent():
    with signals_set_a_flag():
        child = os.fork()
        if not child:
            time.sleep(30)
            os._exit(0)
        os.kill(child, signal.SIGTERM)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
        time.sleep(0.1)
        assert not interrupted()
