import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import centernet.jobs.launch.supervise as supervise_module
from centernet.jobs.launch.plan import RankPlan
from centernet.jobs.launch.processes import is_running
from centernet.jobs.launch.rank_process import VANISHED, read_status, status_file, write_plans
from centernet.jobs.launch.supervise import Watched, clean_environment, link_log, watch

HERE = Path(__file__).parent
RANK_PROCESS = HERE.parents[2] / "src/centernet/jobs/launch/rank_process.py"
LONG = "import time; time.sleep(60)"
# A child in another session, whose parent ends: what msrun's workers are after msrun was ended.
ORPHAN = ("import os, subprocess, sys, time; "
          "child = 'import os, sys, time; open(sys.argv[1], \"w\").write(str(os.getpid())); time.sleep(60)'; "
          "subprocess.Popen([sys.executable, '-c', child, {path!r}], start_new_session=True); ")
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); " + LONG


def supervise(folder, *scripts, nohup=False):
    hangup = signal.SIG_IGN if nohup else signal.SIG_DFL  # pytest itself may run under nohup
    return subprocess.Popen([sys.executable, str(HERE / "supervised.py"), str(folder), *scripts],
                            stdout=subprocess.PIPE, text=True,
                            preexec_fn=lambda: signal.signal(signal.SIGHUP, hangup))


def wait_for(condition, seconds=50):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def pid_in(path):
    wait_for(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def test_all_ranks_end_well(tmp_path):
    job = supervise(tmp_path / "my logs", "print('epoch: 1')", "print('other')")
    output, _ = job.communicate(timeout=50)
    assert (job.returncode, output) == (0, "epoch: 1\n")
    assert (tmp_path / "my logs/LOG1/training_log.txt").read_text() == "other\n"


def test_a_dead_rank_ends_the_job_with_its_last_lines(tmp_path):
    start = time.monotonic()
    job = supervise(tmp_path, LONG, "import sys; [print('line', n, flush=True) for n in range(99)]; "
                    "sys.exit('out of memory')")
    output, _ = job.communicate(timeout=50)
    assert job.returncode == 1 and time.monotonic() - start < 40
    assert f"error: rank 1 ended with status 1; its log is {tmp_path}/LOG1/training_log.txt" in output
    assert "  | line 98\n  | out of memory\n" in output and "line 50\n" not in output


def test_a_killed_rank_ends_the_job_and_what_it_left_alone(tmp_path):
    orphan = tmp_path / "orphan"
    kill = "time.sleep(0.5); os.kill(os.getpid(), 9)"
    job = supervise(tmp_path, LONG, ORPHAN.format(path=str(orphan)) + kill)
    output, _ = job.communicate(timeout=50)
    assert job.returncode == 137 and "rank 1 was ended by SIGKILL" in output
    assert not is_running(pid_in(orphan))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(tmp_path, number):
    orphan = tmp_path / "orphan"
    job = supervise(tmp_path, DEAF, ORPHAN.format(path=str(orphan)) + LONG)
    pid = pid_in(orphan)
    wait_for(lambda: (tmp_path / "LOG0/training_log.txt").read_text() == "deaf\n")
    children = subprocess.run(["ps", "--no-headers", "-o", "pid", "--ppid", str(job.pid)], capture_output=True,
                              text=True).stdout.split()
    assert len(children) == 2
    job.send_signal(number)
    assert job.wait(timeout=40) == 128 + number  # 2 s of patience, then SIGKILL: before LONG ends by itself
    assert not [child for child in (*map(int, children), pid) if is_running(child)]


@pytest.mark.fault("SIGHUP to a job that nohup started", "a job that ignores SIGHUP gets one", "it goes on to its end")
def test_a_job_of_nohup_goes_on_after_a_hangup(tmp_path):
    ready, done = tmp_path / "ready", tmp_path / "done"
    job = supervise(tmp_path, f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(2); "
                    f"pathlib.Path({str(done)!r}).touch()", nohup=True)
    wait_for(ready.exists)
    job.send_signal(signal.SIGHUP)
    assert job.wait(timeout=40) == 0 and done.exists()


def test_even_sigkill_of_the_supervisor_ends_the_ranks(tmp_path):
    write = "import os, time; open({path!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    job = supervise(tmp_path, write.format(path=str(tmp_path / "pid")))
    pid = pid_in(tmp_path / "pid")
    job.kill()
    wait_for(lambda: not is_running(pid), 40)
    job.wait()


def ending(name, code, after, log_file="none"):
    """A process that ends with a code after that many looks at it."""
    looks = iter([None] * after)
    return Watched(name, log_file, lambda: next(looks, code))


@pytest.mark.parametrize("code, after", [(0, 9), (-11, 9), (-11, 0)])
def test_msrun_may_end_after_the_ranks_in_any_way(code, after):
    """It loads the framework, which may crash while it is unloaded."""
    assert watch([ending("rank 0", 0, 0)], [ending("msrun", code, after)], False) == 0


def test_msrun_may_end_a_little_before_the_ranks():
    assert watch([ending("rank 0", 0, 9)], [ending("msrun", 0, 0)], False) == 0


def test_ranks_that_msrun_left_alone_or_that_fail_with_it(monkeypatch, capsys):
    monkeypatch.setattr(supervise_module, "FAREWELL", 0.3)
    assert watch([ending("rank 0", 0, 99)], [ending("msrun", 0, 0)], False) == 1
    assert watch([ending("rank 0", 0, 99)], [ending("msrun", 4, 0)], False) == 4
    assert watch([ending("rank 0", -9, 0), ending("rank 1", 3, 0)], [ending("msrun", 1, 0)], False) == 3
    assert watch([ending("rank 0", VANISHED, 0), ending("rank 1", -9, 0)], [ending("msrun", 1, 0)], False) == 137
    assert watch([ending("rank 0", VANISHED, 0), ending("rank 1", None, 0)], [], False) == 137
    blamed = [line.split(" ended")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("error")]
    assert blamed == ["error: msrun", "error: msrun", "error: rank 1", "error: rank 1 was", "error: rank 0 was"]


def test_leftovers_of_other_launchers_do_not_reach_the_ranks():
    assert clean_environment({"RANK_ID": "3", "MS_ROLE": "MS_WORKER", "HOME": "/h"}) == {"HOME": "/h"}


@pytest.mark.parametrize("script, status", [("print('hello')", 0), ("raise SystemExit(3)", 3),
                                            ("import os; os.kill(os.getpid(), 9)", -9)])
def test_a_rank_of_msrun_leaves_its_status(tmp_path, script, status):
    plan = RankPlan("rank 5", 1, str(tmp_path / "LOG 1"), {"COLOUR": "blue"}, (sys.executable, "-c", script), (0,))
    write_plans(tmp_path / "plan.json", (plan,))
    assert read_status(plan) is None
    done = subprocess.run([sys.executable, str(RANK_PROCESS), str(tmp_path / "plan.json")],
                          env={**os.environ, "MS_ROLE": "MS_WORKER", "RANK_ID": "5"})
    assert read_status(plan) == status
    assert done.returncode == (status if status >= 0 else 137)


def test_a_rank_of_msrun_is_told_its_environment_and_cores(tmp_path):
    core = min(os.sched_getaffinity(0))
    script = "import os, time; time.sleep(0.3); print(os.environ['COLOUR'], os.sched_getaffinity(0))"
    plan = RankPlan("rank 0", 0, str(tmp_path), {"COLOUR": "blue"}, (sys.executable, "-c", script), (core,),
                    first_line="CPU cores")
    write_plans(tmp_path / "plan.json", (plan,))
    subprocess.run([sys.executable, str(RANK_PROCESS), str(tmp_path / "plan.json")], check=True,
                   env={**os.environ, "MS_ROLE": "MS_WORKER", "RANK_ID": "0"})
    assert Path(plan.log_file).read_text() == f"CPU cores\nblue {{{core}}}\n"


MSRUN = """
import subprocess, sys
from pathlib import Path
from centernet.jobs.launch.plan import RankPlan
from centernet.jobs.launch.rank_process import write_plans
from centernet.jobs.launch.supervise import run_msrun
folder, worker = Path("LOG_msrun"), "import sys, numpy; open('ran', 'w').write(sys.executable)"
folder.mkdir()
plan = RankPlan("rank 0", 0, "LOG0", {}, (sys.executable, "-c", "print('trained')"))
write_plans(folder / "plan.json", (plan,))
start = "import os; os.environ.update(MS_ROLE='MS_WORKER', RANK_ID='0'); import subprocess as s, sys; "
start += f"s.check_call(['python', '-c', {worker!r}]); sys.exit(s.call(['python', *sys.argv[1:]]))"
Path("LOG0").mkdir()
sys.exit(run_msrun((sys.executable, "-c", start, sys.argv[1], str(folder / "plan.json")), (plan,),
                   str(folder / "msrun_log.txt"), True))
"""


@pytest.mark.parametrize("names", [["python3"], ["python3", "python"], ["python3.11", "other python"]])
def test_msruns_command_python_is_this_very_python(tmp_path, names):
    """Also if this Python has another name; and it has the packages of its virtual environment."""
    home, path = tmp_path / "my 'env", tmp_path / "path"
    (home / "bin").mkdir(parents=True)
    path.mkdir()
    (home / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    (home / "lib").symlink_to(Path(sys.prefix, "lib"))
    python = home / "bin" / names[0]
    python.symlink_to(os.path.realpath(sys.executable))
    if "python" in names:
        (home / "bin/python").symlink_to(names[0])
    others = [path / "python", *[home / "bin/python"] * ("other python" in names)]
    for other in others:
        other.write_text("#!/bin/sh\nexit 7\n")
        other.chmod(0o755)
    done = subprocess.run([python, "-c", MSRUN, str(RANK_PROCESS)], cwd=tmp_path, capture_output=True, text=True,
                          timeout=100, env={"PATH": str(path), "PYTHONPATH": os.environ["PYTHONPATH"]})
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr
    assert (tmp_path / "ran").read_text() == str(home / "bin" / ("python" if "python" in names else names[0]))
    assert (tmp_path / "LOG_msrun/bin").exists() == ("python" not in names)


@pytest.mark.parametrize("name, file", [("rank 11", "worker_11.log"), ("scheduler", "scheduler.log")])
def test_msruns_own_log_is_in_the_folder_of_the_rank(tmp_path, name, file):
    plan = RankPlan(name, 3, str(tmp_path / "LOG 3"), {}, ())
    (tmp_path / "LOG 3").mkdir()
    (tmp_path / "LOG_msrun").mkdir()
    for text in ("first", "second"):  # the second job in this folder replaces the link
        link_log(plan, tmp_path / "LOG_msrun")
        (tmp_path / "LOG_msrun" / file).write_text(text)
        assert (tmp_path / "LOG 3/msrun_log.txt").read_text() == text
    tmp_path.joinpath("LOG 3").rename(tmp_path / "LOG 4")
    assert (tmp_path / "LOG 4/msrun_log.txt").read_text() == "second"
    link_log(plan, tmp_path / "LOG_msrun")  # without the folder: no link, and no error


def test_only_the_first_node_has_a_scheduler(tmp_path):
    write_plans(tmp_path / "plan.json", (RankPlan("rank 1", 0, str(tmp_path), {}, ("false",)),))
    subprocess.run([sys.executable, str(RANK_PROCESS), str(tmp_path / "plan.json")], check=True,
                   env={**os.environ, "MS_ROLE": "MS_SCHED", "RANK_ID": "0"})


def test_a_rank_of_msrun_that_vanished_is_dead(tmp_path):
    plan = RankPlan("rank 0", 0, str(tmp_path), {}, ())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    status_file(plan).write_text(f"running {os.getpid()}")
    assert read_status(plan) is None
    gone.wait()
    status_file(plan).write_text(f"running {gone.pid}")
    assert read_status(plan) == VANISHED
