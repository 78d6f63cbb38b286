"""Versions, devices and processor of this machine, and whether the device answers.

    python -m tools.first_day.environment --device_target Ascend
"""
from __future__ import annotations

import argparse
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine import describe_machine
from centernet.cli import run_process
from centernet.device import choose_device, prepare_environment
from centernet.errors import reports_errors
from centernet.files import write_json
from centernet.jobs.launch.cores import COMMAND, parse_topology
from centernet.jobs.launch.devices import VISIBLE, ascend_devices
from tools.first_day.simulation import is_simulated

ASCEND = Path("/usr/local/Ascend")
# Files of CANN with its version, below its folder; the first that exists counts.
CANN_FILES = ("compiler/version.info", "version.cfg", "*-linux/ascend_toolkit_install.info", "version.info")
VARIABLES = re.compile(r"(ASCEND|HCCL|MS|GLOG|RANK|DEVICE|OMP|TE)_")
LONGEST = 30  # seconds that a tool of the driver may take
NOT_FOUND = "not found"


def cann_version(home: str) -> str:
    """Return the version of CANN in a folder, and the file that names it."""
    folders = [Path(home)] if home else [ASCEND / "ascend-toolkit" / "latest", ASCEND / "cann", ASCEND / "latest"]
    for path in (path for folder in folders for pattern in CANN_FILES for path in sorted(folder.glob(pattern))):
        found = re.search(r"^\s*(?:version|runtime_running_version)\s*=\s*\[?([^\]\s]+)",
                          path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE | re.IGNORECASE)
        if found:
            return f"{found[1]} ({path})"
    return NOT_FOUND


def driver_version(path: Path = ASCEND / "driver" / "version.info") -> str:
    """Return the version of the driver."""
    if not path.is_file():
        return NOT_FOUND
    found = re.search(r"^Version\s*=\s*(\S+)", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return found[1] if found else f"{path} names no version"


def output_of(words: tuple[str, ...]) -> str:
    """Return the output of a tool, or why there is none."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=LONGEST)
    except FileNotFoundError:
        return NOT_FOUND
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"failed: {error}"
    return done.stdout.strip() if done.returncode == 0 else f"failed with status {done.returncode}: {done.stderr}"


def chips(text: str) -> str:
    """Return the chips in the output of npu-smi info: their names and numbers."""
    names = re.findall(r"^\|\s*\d+\s+((?:Ascend)?[39]\d{2}\w*)\s*\|", text, re.MULTILINE)
    return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names)) or NOT_FOUND


def nodes(folder: Path = Path("/sys/devices/system/node")) -> str:
    """Return the CPU cores of each NUMA node."""
    lists = sorted(folder.glob("node[0-9]*/cpulist"), key=lambda path: int(path.parent.name[4:]))
    return "; ".join(f"{path.parent.name}: {path.read_text().strip()}" for path in lists) or NOT_FOUND


def answer(device_target: str, device_id: int) -> Iterator[tuple[str, str]]:
    """Let the device add two numbers. Yield its name, and what it answered."""
    prepare_environment(device_target)
    start = time.perf_counter()
    choose_device(device_target, device_id)
    import mindspore as ms
    from mindspore import Tensor

    if device_target == "Ascend":
        try:
            yield "chip, as MindSpore names it", ms.hal.get_device_name(device_id)
        except (RuntimeError, ValueError) as error:  # a dry run has no devices
            yield "chip, as MindSpore names it", f"{NOT_FOUND}: {str(error).splitlines()[0]}"
    result = (Tensor([1.0]) + Tensor([1.0])).asnumpy().tolist()
    meaning = "a dry run: nothing was computed" if is_simulated() else "right" if result == [2.0] else "WRONG"
    yield "1 + 1 on the device", f"{result[0]:g}: {meaning}; {time.perf_counter() - start:.1f} s with the set-up"


def describe(device_target: str) -> Iterator[tuple[str, str]]:
    """Yield names and values that matter on Ascend."""
    smi, topology = output_of(("npu-smi", "info")), output_of(COMMAND)
    print(f"npu-smi info: {smi}\n{' '.join(COMMAND)}: {topology}", flush=True)
    yield from describe_machine().items()
    if device_target == "Ascend":
        home = os.environ.get("ASCEND_HOME_PATH") or os.environ.get("ASCEND_TOOLKIT_HOME") or ""
        yield "CANN", cann_version(home)
        yield "driver", driver_version()
        yield "chips (npu-smi info)", chips(smi)
        yield "device files", ", ".join(f"/dev/davinci{number}" for number in ascend_devices()) or NOT_FOUND
        yield VISIBLE, os.environ.get(VISIBLE, "not set")
        near = {device: f"{cores[0]}-{cores[-1]}" for device, cores in parse_topology(topology).items()}
        yield "cores near the devices", "; ".join(f"{device}: {cores}" for device, cores in near.items()) or NOT_FOUND
    yield "NUMA nodes", nodes()
    yield "environment", " ".join(f"{name}={value}" for name, value in sorted(os.environ.items())
                                  if VARIABLES.match(name)) or "none of the known variables is set"


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Print and write what was found; the exit status is 1 if the device gives a wrong answer."""
    parser = argparse.ArgumentParser(prog="python -m tools.first_day.environment", description=__doc__.splitlines()[0],
                                     allow_abbrev=False)
    parser.add_argument("--device_target", choices=("Ascend", "CPU"), default="Ascend")
    parser.add_argument("--device_id", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the table to this JSON file")
    words = parser.parse_args(argv)
    rows = []
    for source in (describe(words.device_target), answer(words.device_target, words.device_id)):
        for row in source:
            print(": ".join(row), flush=True)
            rows.append(row)
            if words.out:  # also if the device does not answer
                write_json(words.out, {"rows": rows})
    return int("WRONG" in rows[-1][1])


if __name__ == "__main__":
    run_process(main)
