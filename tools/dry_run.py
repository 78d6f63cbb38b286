"""Compile a command for Ascend in MindSpore's dry run: without a card, and without results.

    bash scripts/dry_run_ascend.sh --help
"""
from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from centernet.cli import run_process
from centernet.errors import UserError, reports_errors
from tools.ascend_stub.library import build

ROOT = Path(__file__).resolve().parents[1]
# Command -> words that start it, and the flags that it gets in any case. FOLDER is a temporary folder: no file of the
# user is replaced, because a dry run's numbers are zeros.
COMMANDS = {
    "train": (["train.py"], ["--train_steps", "2", "--enable_save_ckpt", "false", "--save_checkpoint_path", "FOLDER",
                             "--save_result_dir", "FOLDER"]),
    "step": (["-m", "tools.dry_run_step"], []),
    "eval": (["eval.py"], ["--save_result_dir", "FOLDER"]),
    "export": (["export.py"], ["--export_name", "FOLDER/model"]),
}
# MindSpore compiles for Ascend but computes nothing. An operator without a kernel is an error; by default it would move
# to the CPU. The log of the device's code (DEVICE) tells the kernels; the rest of the log has only errors.
DRY_RUN = {"MS_SIMULATION_LEVEL": "1", "MS_DISABLE_KERNEL_BACKOFF": "1", "GLOG_v": "3", "GLOG_logtostderr": "0",
           "MS_SUBMODULE_LOG_v": "{DEVICE:1}"}
CHIP = "Ascend910B1"  # for the fused kernels of jit_level O1; for the others a dry run has no name, and acts like 910B
LITTER = ("execute_order", "offload")  # folders that MindSpore makes in the current folder
KERNEL = re.compile(r"GenerateKernelMod\] kernel opname:(\S+), kernel type:(\S+)")
KINDS = {"opapi_kernel": "aclnn", "acl_kernel": "aclop", "hccl_kernel": "hccl", "rt_kernel": "runtime",
         "akg_kernel": "fused", "host_kernel": "view"}
PEAK = re.compile(r"Actual peak memory usage \(with fragments\): (\d+)M")
NO_KERNEL = re.compile(r"needs to be supplemented with an adapter.*node is (\S+?)-op\d+"
                       r"|(?:Backoff and rebuild kernel on CPU successfully for node: )(\S+?)-op\d+,")

# A line of MindSpore's log begins with its level. Behind that of the device's memory, lines with numbers follow.
LOG_LINES = re.compile(r"^\[(?:WARNING|ERROR|CRITICAL)\] .*\n"
                       r"(?:(?:Device MOC|MindSpore|Used peak|Actual peak) .*\n)*\n?", re.MULTILINE)


@dataclass(frozen=True)
class Report:
    """What a dry run has shown.

    Attributes:
        status: exit status of the command.
        kernels: (operator, kind of its kernel) -> number of kernels; kinds are aclnn, aclop, hccl, runtime, fused, and
            view (another look at the same memory, nothing runs).
        peak: simulated peak memory in MiB, without the workspaces of CANN's kernels.
        without_kernel: operators that have no kernel for Ascend, with their place in the network.
        messages: what the command wrote to standard error, without MindSpore's log.
        log: MindSpore's log.
    """

    status: int
    kernels: Counter[tuple[str, str]]
    peak: int
    without_kernel: tuple[str, ...]
    messages: str
    log: str


def dry_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a dry run: with CANN if it is installed, otherwise with a stand-in built in folder.

    Raises:
        UserError: CANN is not where the environment says, or the stand-in cannot be built.
    """
    given = os.environ.get("ASCEND_HOME_PATH") or os.environ.get("ASCEND_TOOLKIT_HOME")
    if given and not Path(given, "lib64", "libascendcl.so").exists():
        raise UserError(f"ASCEND_HOME_PATH or ASCEND_TOOLKIT_HOME is {given}, but there is no lib64/libascendcl.so: "
                        "source CANN's set_env.sh, or unset both variables to compile without CANN")
    cann = Path(given) if given else build(folder)
    # devlib has what the driver would have, for machines without it.
    defaults = {"ASCEND_OPP_PATH": str(cann / "opp"), "DVM_SOC_NAME": CHIP}
    return {**defaults, **os.environ, **DRY_RUN,
            "LD_LIBRARY_PATH": _paths("LD_LIBRARY_PATH", cann / "lib64", cann / "devlib"),
            "PYTHONPATH": _paths("PYTHONPATH", ROOT / "src", ROOT, cann / "python" / "site-packages")}


def _paths(variable: str, *further: Path) -> str:
    return ":".join([*filter(None, [os.environ.get(variable)]), *map(str, further)])


def dry_run(words: Sequence[str], environment: Mapping[str, str], folder: Path, *, quiet: bool = False) -> Report:
    """Run `python WORDS` in the current folder and report what was compiled. MindSpore's files go to a folder.

    Args:
        words: a script or -m MODULE, and its arguments.
        environment: as dry_environment returns it.
        folder: a folder for the logs of this run only.
        quiet: whether to hide what the command prints.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = {"GLOG_log_dir": str(folder), "MS_OM_PATH": str(folder)}
    litter = [path for path in map(Path, LITTER) if not path.exists()]
    with open(folder / "stderr.txt", "w", encoding="utf-8") as errors:
        done = subprocess.run([sys.executable, *words], env={**environment, **own}, check=False, stderr=errors,
                              stdout=subprocess.DEVNULL if quiet else None)
    for path in litter:
        shutil.rmtree(path, ignore_errors=True)
    return read_report(done.returncode, read_logs(folder), (folder / "stderr.txt").read_text(errors="replace"))


def read_logs(folder: Path) -> str:
    """Return MindSpore's log that a process with GLOG_log_dir=folder has written."""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace")
                     for path in sorted(folder.glob("rank_*/logs/*.log.*")) if not path.is_symlink())


def read_report(status: int, log: str, errors: str) -> Report:
    """Return the report for an exit status, MindSpore's log and what was written to standard error."""
    kernels = Counter((name, KINDS.get(kind, kind)) for name, kind in KERNEL.findall(log))
    missing = dict.fromkeys(one or other for one, other in NO_KERNEL.findall(f"{log}\n{errors}"))
    peak = max(map(int, PEAK.findall(f"{log}\n{errors}")), default=0)
    return Report(status, kernels, peak, tuple(missing), LOG_LINES.sub("", errors), log)


def show(report: Report) -> int:
    """Print the report and return the exit status for the user: 0, or 1 if the graph cannot run on Ascend."""
    print(f"\n{'operator':<23} {'kernel':<9}{'number':>6}")
    for (name, kind), count in sorted(report.kernels.items()):
        print(f"{name:<23} {kind:<9}{count:>6}")
    print(f"\n{sum(report.kernels.values())} kernels, simulated peak memory: {report.peak} MiB (without CANN's "
          "workspaces)", flush=True)
    if report.without_kernel:
        print("error: no kernel for Ascend: " + "; ".join(report.without_kernel) + ". MindSpore would run this on the "
              "CPU, and copy its data from the device and back in every step. Replace the operator", file=sys.stderr)
        return 1
    if report.status:
        print(f"error: the command ended with status {report.status}: see its messages above", file=sys.stderr)
        return 1
    if not report.kernels:
        print("error: nothing was compiled for Ascend, so nothing is proven", file=sys.stderr)
        return 1
    print("The graphs were compiled for Ascend in MindSpore's dry run. Nothing was computed: all numbers are zeros.")
    return 0


def command_words(command: str, flags: Sequence[str], folder: Path) -> list[str]:
    """Return the words that start a command of COMMANDS with the user's flags. Outputs go to the folder."""
    start, last = COMMANDS[command]
    script = [str(ROOT / start[0])] if start[0].endswith(".py") else start
    return [*script, *flags, "--device_target", "Ascend", *(word.replace("FOLDER", str(folder)) for word in last)]


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Compile the command, print the report, return the exit status: 2 for a mistake, 1 if it cannot run on Ascend."""
    parser = argparse.ArgumentParser(prog="dry_run_ascend.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=1, help="compile step for this number of devices")
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("flags", nargs=argparse.REMAINDER, help="flags of the command; step: those of train.py")
    arguments = parser.parse_args(argv)
    if arguments.devices < 1 or (arguments.devices > 1 and arguments.command != "step"):
        raise UserError(f"--devices {arguments.devices}: it must be above 0, and above 1 only for step. (A dry run "
                        "of train cannot exchange values with other devices)")
    with tempfile.TemporaryDirectory(prefix="dry-run-") as name:
        folder = Path(name)
        environment = dry_environment(folder)
        if arguments.devices > 1:
            environment.update(RANK_SIZE=str(arguments.devices), RANK_ID="0")
        words = command_words(arguments.command, arguments.flags, folder / "out")
        report = dry_run(words, environment, folder / "log")
    sys.stderr.write(report.messages)
    return report.status if report.status == 2 else show(report)


if __name__ == "__main__":
    run_process(main)
