"""run.json: what is needed to repeat a training: command, settings, versions, revision of the code, data, host.

A resumed run adds its own entry, so the file tells how the weights came about.
"""
from __future__ import annotations

import json
import os
import platform
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from centernet.config.load import Config, settings_of
from centernet.device import installed_versions
from centernet.errors import UserError
from centernet.files import read_json, write_text
from centernet.program import DISTRIBUTION
from centernet.run_files import public
from centernet.training.loop import Plan

PACKAGES = (DISTRIBUTION, "mindspore", "numpy", "opencv-python-headless", "opencv-python", "pycocotools")
# Variables that change the arithmetic, its order, or the devices that the process sees.
VARIABLES = re.compile(r"OMP_NUM_THREADS|ONEDNN_.*|HCCL_DETERMINISTIC|MS_DEV_.*|MS_COMPILER_.*|RANK_SIZE|"
                       r"ASCEND_RT_VISIBLE_DEVICES|ASCEND_HOME_PATH")


def write_record(path: Path, config: Config, plan: Plan, devices: int) -> None:
    """Write the record of a run. A resumed run keeps the entries before it.

    Raises:
        UserError: the file cannot be written.
    """
    runs = _earlier(path) if plan.start_step else []
    settings = {**settings_of(config), "preset": config.preset}
    runs.append({
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"), "host": socket.gethostname(),
        "command": public(sys.argv),
        "folder": os.getcwd(), "revision": _revision(), "devices": devices, "start_step": plan.start_step,
        "total_steps": plan.total_steps, "data": plan.conditions.get("data", ""),
        "versions": {"python": platform.python_version(), **installed_versions(PACKAGES)},
        "system": platform.platform(),
        "environment": {name: value for name, value in sorted(os.environ.items()) if VARIABLES.fullmatch(name)},
        "settings": public(settings)})
    rows = ",\n ".join(json.dumps(run) for run in runs)
    write_text(path, f'{{"runs": [\n {rows}\n]}}\n')


def _earlier(path: Path) -> list[Any]:
    try:
        runs = read_json(path).get("runs")
    except UserError:  # it is missing, or a person has changed it; this run has its own entry in any case
        return []
    return runs if isinstance(runs, list) else []


def _revision() -> str:
    """Return the commit of the checkout that has this file, with a plus sign if files were changed; "" without git."""
    git = ("git", "-C", str(Path(__file__).parent))
    try:
        commit, changes = (subprocess.run((*git, *words), capture_output=True, text=True, timeout=10, check=True).stdout
                           for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit.strip() + "+" * bool(changes.strip())
