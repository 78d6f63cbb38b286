"""How a process ends: its exit status is that of its work, even if the framework dies while it is unloaded."""
import os
import subprocess
import sys

import pytest

from tests.tiny_group import CRASH_AT_EXIT, CRASH_OF_LIBRARIES

# %s: what stands in for the framework's end; then what the command does.
PROGRAM = """
import logging, sys
from centernet.cli.entry import run_entry
from centernet.cli.process import run_process
from centernet.errors import UserError
%s
def run(config):
    logging.getLogger("centernet").info("a line of the log")
    print("not flushed", end="")
    %s
run_process(run_entry, "infer", "", run, ["--log_file", sys.argv[1]])
"""
BUFFERED = {**os.environ, "PYTHONUNBUFFERED": ""}
ENDS = {"raise UserError('no such image')": (2, "error: no such image\n"), "1 / 0": (1, "ZeroDivisionError"),
        "raise KeyboardInterrupt": (130, "interrupted\n"), "raise SystemExit(3)": (3, "")}


def end_of(tmp_path, stand_in, body):
    done = subprocess.run([sys.executable, "-c", PROGRAM % (stand_in, body), tmp_path / "run.log"], text=True,
                          capture_output=True, env=BUFFERED)
    assert done.stdout.startswith("a line of the log\nnot flushed")
    assert (tmp_path / "run.log").read_text() == "a line of the log\n"
    return done


@pytest.mark.parametrize("body", ENDS)
def test_an_error_keeps_its_status_and_what_was_written(tmp_path, body):
    status, message = ENDS[body]
    done = end_of(tmp_path, f"{CRASH_AT_EXIT}\n{CRASH_OF_LIBRARIES}", body)
    assert done.returncode == status
    assert message in done.stderr and ("Traceback" in done.stderr) == (status == 1)


def test_a_success_runs_the_exit_handlers_and_is_one_whatever_comes_after_them(tmp_path):
    done = end_of(tmp_path, CRASH_OF_LIBRARIES + "\natexit.register(print, ', handled')", "pass")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a line of the log\nnot flushed, handled\n", "")


def test_a_reader_that_left_does_not_change_the_status():
    code = "import sys\nfrom centernet.cli.process import leave\nsys.stdout.write('x' * 99)\nleave(int(sys.argv[1]))"
    for status in ("0", "2"):
        process = subprocess.Popen([sys.executable, "-c", code, status], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=BUFFERED)
        process.stdout.close()
        assert process.wait() == int(status) and process.stderr.read() == b""


def test_launchers_do_not_load_the_framework():
    """They need no protection from its end."""
    code = "import sys, centernet.jobs.start_job, centernet.jobs.launch.rank_process; print('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], text=True, capture_output=True).stdout == "False\n"
