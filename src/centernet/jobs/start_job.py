"""Check, start and watch the jobs of the scripts run_*_ascend.sh and convert_dataset_to_mindrecord.sh.

Usage: python -m centernet.jobs.start_job convert|train|distribute|eval [--foreground] ARGUMENTS FLAGS
"""
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from centernet.config.schema import Config
from centernet.data.coco import locate
from centernet.data.layouts.found import foreign_layouts
from centernet.errors import UserError, bullets, reports_errors
from centernet.jobs.launch import preflight
from centernet.jobs.launch.arguments import KINDS, Arguments, is_given, read_arguments
from centernet.jobs.launch.background import detach, keep_old, take_folder
from centernet.jobs.launch.cores import choose_cores, equal_shares, read_topology
from centernet.jobs.launch.plan import (
    LaunchJob,
    Nodes,
    RankPlan,
    msrun_command,
    plan_msrun,
    plan_rank_table,
    plan_standalone,
    with_cores,
)
from centernet.jobs.launch.rank_process import write_plans
from centernet.jobs.launch.rank_table import RankTable, find_server, read_rank_table
from centernet.jobs.launch.supervise import Stopped, run_msrun, run_plans

ROOT = Path(__file__).resolve().parents[3]  # of the checkout that has the scripts
ENTRIES = {"dataset": ROOT / "src/dataset.py", "train": ROOT / "train.py", "eval": ROOT / "eval.py"}
RANK_PROCESS = ROOT / "src/centernet/jobs/launch/rank_process.py"
ORDERLY = 60  # seconds that a single process has to end its work after SIGTERM
GROUP = 3     # the same for one of several processes, which may wait for a lost one


@dataclass(frozen=True)
class Ready:
    """A checked job."""

    plans: tuple[RankPlan, ...]
    run: Callable[[bool], int]  # argument: show the first log; returns the exit status
    hints: tuple[str, ...] = ()


def prepare(name: str, arguments: Arguments) -> Ready:
    """Check a job. Raise UserError with the problems."""
    config = arguments.config
    log_root = os.path.abspath(str(arguments.options.get("log_root", "")))
    command = (sys.executable, str(ENTRIES[KINDS[name].entry]), *arguments.flags)
    if name == "convert":
        stop_at([*preflight.environment_problems(), *layout_problems(config, config.coco_data_dir, "train")])
        plan = RankPlan("the conversion", 0, os.path.abspath(config.mindrecord_dir), {"PYTHONUNBUFFERED": "1"},
                        command, log_name="convert_dataset.log")
        return Ready((plan,), partial(run_plans, (plan,), ORDERLY))
    if name == "distribute":
        job = LaunchJob(command, config.device_target, log_root, not config.save_checkpoint_path)
        return prepare_group(arguments, job)
    problems = [*preflight.environment_problems(), *preflight.checkpoint_problems(config),
                *preflight.device_problems(config.device_target, [config.device_id])]
    if config.device_num > 1:
        problems.append(f"--device_num is {config.device_num}, but this script starts only one process: use "
                        "scripts/run_distributed_train_ascend.sh")
    if name == "eval":
        stop_at(problems + layout_problems(config, config.data_dir, config.run_mode))
        job = LaunchJob(command, config.device_target, log_root, own_checkpoints=False)
        plan = plan_standalone("the evaluation", config.device_id, job, "eval_log.txt")
    else:
        stop_at(problems + data_problems(arguments, log_root))
        job = LaunchJob((*command, "--distribute", "false", "--device_num", "1"), config.device_target, log_root,
                        not config.save_checkpoint_path)
        plan = plan_standalone("the training", config.device_id, job, "training_log.txt")
    return Ready((plan,), partial(run_plans, (plan,), ORDERLY))


def prepare_group(arguments: Arguments, job: LaunchJob) -> Ready:
    """Check and plan a training of several processes. Raise UserError with the problems."""
    for flag in ("distribute", "device_id"):
        if is_given(arguments.flags, flag):
            raise UserError(f"--{flag} is set by the launcher: leave it out")
    problems = [*preflight.environment_problems(), *data_problems(arguments, job.log_root),
                *preflight.checkpoint_problems(arguments.config)]
    try:
        ready, more = plan_group(arguments, job)
    except UserError as error:
        stop_at([str(error), *problems])
    stop_at(problems + more)
    return ready


def plan_group(arguments: Arguments, job: LaunchJob) -> tuple[Ready, list[str]]:
    """Plan a group by a rank table, or by msrun (without a rank table, or on CPU).

    Returns:
        The checked job, and the problems with its ports and devices.
    """
    options, target = arguments.options, job.target
    port = int(options.get("master_port", 8118))
    table = read_table(options, arguments.config.device_num) if "rank_table_file" in options else None
    by_table = table is not None and target != "CPU"
    if table and by_table:
        plans = plan_rank_table(table, own_server(table, arguments), job)
        size, ports, advice = len(table.ranks), list(preflight.HCCL_PORTS), "another training may still run here"
    else:
        nodes = nodes_on_cpu(table, arguments, port) if table else count_nodes(arguments, port)
        plans = plan_msrun(nodes, job)
        size, ports, advice = nodes.worker_num, [port] * nodes.has_scheduler, "choose another one with --master_port"
    cpus, devices = sorted(os.sched_getaffinity(0)), [plan.device for plan in plans if plan.name != "scheduler"]
    problems = [*preflight.port_problems(ports, advice), *preflight.device_problems(target, devices, by_table),
                *preflight.crowd_problems(target, len(devices), len(cpus))]
    hints = preflight.table_hints(devices) if by_table else []
    if not problems:
        plans = bind_cores(plans, devices, cpus, target, by_table)
    if table and not by_table:
        hints.append(f"hint: HCCL does not exist on CPU, so msrun starts the {size} ranks of rank table {table.path}")
    elif target != "CPU" and size & (size - 1):
        hints.append(f"hint: there are {size} devices; HCCL's collective operations are made for powers of two")
    run = (partial(run_plans, plans, GROUP) if by_table else
           partial(start_msrun, nodes, plans, Path(job.log_root or ".", "LOG_msrun")))
    return Ready(plans, run, tuple(hints)), problems


def bind_cores(plans: tuple[RankPlan, ...], devices: list[int], cpus: list[int], target: str,
               by_table: bool) -> tuple[RankPlan, ...]:
    """Return the plans with CPU cores for each rank. On Ascend the ranks' logs tell which cores and why."""
    if target == "CPU":
        return with_cores(plans, equal_shares(cpus, len(devices)))
    seen = preflight.seen_devices()
    numbers = devices if by_table else [seen[device] for device in devices]
    return with_cores(plans, *choose_cores(read_topology(), numbers, cpus))


def data_problems(arguments: Arguments, log_root: str) -> list[str]:
    """Return problems of the shards, and of the disk for checkpoints."""
    config = arguments.config
    return [*preflight.shard_problems(Path(config.mindrecord_dir), config.mindrecord_prefix),
            *preflight.disk_problems(config, Path(config.save_checkpoint_path or log_root).absolute())]


def layout_problems(config: Config, folder: str, split: str) -> list[str]:
    """Return problems of the layout of a COCO-format data set."""
    try:
        locate(folder, split, config.annotation_file, config.image_dir)
    except UserError as error:
        readable = len(foreign_layouts(Path(folder))) == 1 and not (config.annotation_file or config.image_dir)
        return [] if readable else [str(error)]
    return []


def read_table(options: dict[str, str | int], configured: int) -> RankTable:
    """Read the rank table. Raise UserError if another number of devices is set than the table has."""
    table = read_rank_table(os.path.abspath(str(options["rank_table_file"])))
    wanted = int(options.get("device_num", configured))
    if wanted not in (1, len(table.ranks)):
        raise UserError(f"device_num is {wanted}, but rank table {table.path} has {len(table.ranks)} ranks: leave out "
                        "--device_num (DEVICE_NUM), or leave out the rank table")
    return table


def own_server(table: RankTable, arguments: Arguments) -> str:
    """Return the id of this server in the rank table. Raise UserError if it is not known."""
    server = str(arguments.options.get("server_id", ""))
    return find_server(table, server, by_variable="server_id" in arguments.variables)


def nodes_on_cpu(table: RankTable, arguments: Arguments, port: int) -> Nodes:
    """Return the ranks of a rank table in msrun's form. Raise UserError if they are on several servers."""
    if len(table.servers) > 1:
        raise UserError(f"rank table {table.path} has the servers {', '.join(table.servers)}, but only one is allowed "
                        "with device_target CPU: rank tables are for HCCL, which does not exist on CPU. Leave it out, "
                        "and give --worker_num, --local_worker_num, --node_rank and --master_addr on each server")
    own_server(table, arguments)
    return Nodes(len(table.ranks), len(table.ranks), master_port=port)


def count_nodes(arguments: Arguments, port: int) -> Nodes:
    """Return how many ranks msrun starts, on this server and in total. Raise UserError if that is not possible."""
    options = arguments.options
    configured = arguments.config.device_num if arguments.config.device_num > 1 else 0
    present = len(preflight.seen_devices()) if arguments.config.device_target != "CPU" else 0
    total = int(options.get("worker_num", options.get("device_num", configured or present)))
    local = int(options.get("local_worker_num", options.get("device_num", min(total, configured or total))))
    node, addr = int(options.get("node_rank", 0)), str(options.get("master_addr", "127.0.0.1"))
    if not local or total % local or node >= total // local:
        numbers = {"worker_num": total, "local_worker_num": local, "node_rank": node}
        raise UserError(f"{' '.join(arguments.named(name, number) for name, number in numbers.items())}: each server "
                        "must have the same number of workers, and node_rank counts the servers from 0")
    if local < total and ("master_addr" not in options or "node_rank" not in options):
        raise UserError(f"there are {total} workers, {local} of them on this server: several servers also need "
                        "--node_rank and --master_addr (the address of the server with node_rank 0)")
    return Nodes(total, local, node, addr, port)


def start_msrun(nodes: Nodes, plans: tuple[RankPlan, ...], folder: Path, echo: bool) -> int:
    """Write the plan that the ranks read, and run msrun."""
    folder.mkdir(parents=True, exist_ok=True)
    write_plans(folder / "launch_plan.json", plans)
    command = msrun_command(nodes, sys.executable, str(folder),
                            (str(RANK_PROCESS), str(folder / "launch_plan.json")))
    return run_msrun(command, plans, str(folder / "msrun_log.txt"), echo)


def stop_at(problems: list[str]) -> None:
    """Raise UserError with the problems, if there are any."""
    if problems:
        raise UserError(f"nothing was started, there {'are' if len(problems) > 1 else 'is'} {len(problems)} "
                        f"problem{'s' * (len(problems) > 1)}:{bullets(problems)}")


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Start a job and, with --foreground, wait for it."""
    name, *words = (sys.argv[1:] if argv is None else argv) or [""]
    if name not in KINDS:
        asked = name in ("-h", "--help")
        print(__doc__, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    arguments = read_arguments(name, words, os.environ)
    ready = prepare(name, arguments)
    _locks = [take_folder(Path(plan.folder)) for plan in ready.plans]  # held until this process ends
    for plan in ready.plans:
        keep_old(Path(plan.log_file))
    for line in (*ready.hints, *(f"{plan.name}: log {plan.log_file}" for plan in ready.plans)):
        print(line, flush=True)
    if not arguments.foreground and (pid := detach(ready.plans[0].log_file)):
        print(f"started in the background: PID {pid}, log {ready.plans[0].log_file}\nthe last line of the log will be "
              f"the exit status; to stop all processes: kill {pid}")
        return 0
    try:
        status = ready.run(arguments.foreground)
    except Stopped as stopped:
        print(f"stopped by {stopped}; all processes have ended")
        status = 128 + stopped.number
    print(f"exit status: {status}", flush=True)
    if arguments.foreground:  # in the background, the line above is already in the log
        with Path(ready.plans[0].log_file).open("a") as log:
            log.write(f"exit status: {status}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
