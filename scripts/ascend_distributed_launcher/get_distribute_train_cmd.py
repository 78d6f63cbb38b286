"""Write a shell file with the commands of a distributed training, one for each rank of this server.

Use it to start ranks with other programs (a cluster scheduler, ssh). scripts/run_distributed_train_ascend.sh starts the
same commands itself, watches them, and ends all ranks if one fails.
"""
from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from centernet.config.load import load_config
from centernet.errors import UserError, refuse_empty, reports_errors
from centernet.files import user_errors
from centernet.group import TIME_OUT
from centernet.jobs.launch.arguments import read_hyper_parameters
from centernet.jobs.launch.cores import equal_shares
from centernet.jobs.launch.plan import LaunchJob, RankPlan, plan_rank_table, with_cores
from centernet.jobs.launch.rank_table import find_server, read_rank_table

HERE = Path(__file__).resolve().parent


def shell_text(plans: Sequence[RankPlan], heading: str) -> str:
    """Return the text of the shell file. It starts each rank in the background, with its output in its log."""
    lines = ["#!/usr/bin/env bash", f"# {heading}", "# PYTHON names the Python to use (default: python).",
             "set -euo pipefail"]
    for plan in plans:
        variables = [f"{name}={value}" for name, value in plan.environment.items()]
        binding = ["taskset", "--cpu-list", f"{plan.cores[0]}-{plan.cores[-1]}"] if plan.cores else []
        log = shlex.quote(plan.log_file)
        lines += ["", f"mkdir -p {shlex.quote(plan.environment['GLOG_log_dir'])}",
                  f"{shlex.join(['nohup', 'env', *variables, *binding])} \"${{PYTHON:-python}}\" "
                  f"{shlex.join(plan.command[1:])} >{log} 2>&1 </dev/null &",
                  f"echo {plan.name}, device {plan.device}: PID $!, log {log}"]
    return "\n".join(lines) + "\n"


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line. Raise UserError if a flag is empty."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--run_script_dir", default="train.py", help="the training program (default: %(default)s)")
    add("--hyper_parameter_config_dir", default=str(HERE / "hyper_parameter_config.ini"),
        help="flags of the training program, an .ini file (default: the one beside this program)")
    add("--mindrecord_dir", required=True, help="the folder of the shards")
    add("--hccl_config_dir", required=True, help="the rank table (hccl.json)")
    add("--load_checkpoint_path", help="a checkpoint to start from")
    add("--hccl_time_out", type=int, default=TIME_OUT, help="seconds that ranks wait for each other (default: "
        "%(default)s)")
    add("--cmd_file", default="distributed_cmd.sh", help="the file to write (default: %(default)s)")
    add("--server_id", help="id of the server in the rank table (default: this server)")
    add("--cpu_count", type=int, default=os.cpu_count(),
        help="number of CPUs to divide among the ranks (default: those of this server)")
    options = parser.parse_args(argv)
    for name, value in vars(options).items():
        if isinstance(value, str):
            refuse_empty(f"--{name}", value)
    return options


def write_commands(options: argparse.Namespace) -> str:
    """Write the file. Return a summary as text."""
    script = Path(options.run_script_dir)
    if not script.is_file():
        raise UserError(f"--run_script_dir {script} is not a file")
    line = ["--mindrecord_dir", options.mindrecord_dir]
    if options.load_checkpoint_path is not None:
        line += ["--load_checkpoint_path", options.load_checkpoint_path]
    flags = [*read_hyper_parameters(options.hyper_parameter_config_dir, line), *line]
    config = load_config("train", flags, "")
    table = read_rank_table(options.hccl_config_dir)
    server = find_server(table, options.server_id or "")
    job = LaunchJob(("python", str(script), *flags), "Ascend", own_checkpoints=not config.save_checkpoint_path)
    plans = plan_rank_table(table, server, job, {"HCCL_CONNECT_TIMEOUT": str(options.hccl_time_out)})
    plans = with_cores(plans, equal_shares(range(options.cpu_count), len(plans)))
    heading = f"{len(plans)} of {len(table.ranks)} ranks: server {server} of {table.path}"
    with user_errors(f"--cmd_file {options.cmd_file}"):
        Path(options.cmd_file).write_text(shell_text(plans, heading), encoding="utf-8")
    rows = [f"{plan.name}: device {plan.device}, cores {f'{plan.cores[0]}-{plan.cores[-1]}' if plan.cores else 'all'}, "
            f"log {plan.log_file}" for plan in plans]
    return "\n".join([heading, *rows, f"to start them: bash {options.cmd_file}"])


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Write the file, print the summary and return the exit status: 0, or 2 after a UserError."""
    options = parse(sys.argv[1:] if argv is None else argv)
    print(write_commands(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
