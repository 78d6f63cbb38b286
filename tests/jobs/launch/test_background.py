import subprocess
import sys

import pytest

from centernet.errors import UserError
from centernet.jobs.launch.background import take_folder

TAKE = ("import sys; from pathlib import Path; from centernet.jobs.launch.background import take_folder; "
        "take_folder(Path(sys.argv[1]))")


def test_a_folder_belongs_to_one_running_job(tmp_path):
    job = subprocess.Popen([sys.executable, "-c", f"{TAKE}; print('taken', flush=True); sys.stdin.read()", tmp_path],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert job.stdout.readline() == "taken\n"
    with pytest.raises(UserError, match="a running job writes to this folder"):
        take_folder(tmp_path)
    job.kill()
    job.wait()
    take_folder(tmp_path)


def test_it_stays_taken_by_the_process_that_goes_on_in_the_background(tmp_path):
    script = (f"{TAKE}; import os, time\n"
              "if os.fork(): os._exit(0)\n"
              "print(os.getpid(), flush=True); time.sleep(60)")
    done = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True)
    child = int(done.stdout.readline())
    done.wait()
    with pytest.raises(UserError, match="a running job"):
        take_folder(tmp_path)
    subprocess.run(["kill", str(child)], check=True)
