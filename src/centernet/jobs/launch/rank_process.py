"""The process of one rank: environment, CPU cores, log. The supervisor starts it, or msrun with this file as script.

msrun starts the same program for every rank and for its scheduler. The differences come from a plan file:

    msrun ... src/centernet/jobs/launch/rank_process.py LAUNCH_PLAN.json

The program runs as a child of this process, which writes its exit status into the LOG folder. This is necessary,
because msrun notices a dead rank, but ends only when its scheduler ends, about 45 s later.
"""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from centernet.files import read_json
from centernet.jobs.launch.plan import RankPlan
from centernet.jobs.launch.processes import die_with_parent, is_running, start_process

VANISHED = -signal.NSIG  # no signal has this number; msrun kills a rank together with this process, which would tell


def start(plan: RankPlan, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a rank in its own session, with only this environment. Its output is appended to its log."""
    # MindSpore can create its log folder, too. But then it rejects spaces in the path, and all later files are private.
    Path(plan.environment.get("GLOG_log_dir", plan.folder)).mkdir(parents=True, exist_ok=True)
    with open(plan.log_file, "ab") as log:
        if plan.first_line:
            log.write(f"{plan.first_line}\n".encode())
            log.flush()
        process = start_process(plan.command, {**environment, **plan.environment}, log)
    if plan.cores:
        os.sched_setaffinity(process.pid, plan.cores)
    return process


def status_file(plan: RankPlan) -> Path:
    """Return the path of the file with the process id, later the exit status, of a rank that msrun started."""
    return Path(plan.folder, "status")


def read_status(plan: RankPlan) -> int | None:
    """The exit status of a rank that msrun started; None while it runs, VANISHED if it left none."""
    try:
        word, _, number = status_file(plan).read_text(encoding="utf-8").partition(" ")
    except OSError:
        return None
    if word == "exited":
        return int(number)
    return None if not number or is_running(int(number)) else VANISHED


def _leave(plan: RankPlan, text: str) -> None:
    new = status_file(plan).with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(status_file(plan))


def write_plans(path: Path, plans: tuple[RankPlan, ...]) -> None:
    """Write the plan file that rank processes read."""
    path.write_text(json.dumps({plan.name: asdict(plan) for plan in plans}, indent=2), encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Run the rank that msrun's environment variables select, and return its exit status."""
    (path,) = sys.argv[1:] if argv is None else argv
    name = "scheduler" if os.environ["MS_ROLE"] == "MS_SCHED" else f"rank {os.environ['RANK_ID']}"
    plans = read_json(Path(path))
    if name not in plans:  # msrun starts a scheduler on every node with the master's address; containers may share it
        return 0
    plan = RankPlan(**plans[name])
    die_with_parent()
    process = start(plan, os.environ)
    _leave(plan, f"running {os.getpid()}")
    code = process.wait()
    _leave(plan, f"exited {code}")
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
