"""Plan of a distributed training: environment, command, CPU cores and folder of each rank. Nothing is started here.

There are two ways to form the group:
- by a rank table, on Ascend: HCCL reads the table, and each rank needs only its own number;
- by msrun, MindSpore's launcher: its scheduler process connects the ranks.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from centernet.group import TIME_OUT
from centernet.jobs.launch.cores import ranges
from centernet.jobs.launch.rank_table import Rank, RankTable

# Variables that launchers set for their processes. Values of another launcher must not reach the processes of this one.
GROUP_VARIABLES = ("RANK_TABLE_FILE", "MINDSPORE_HCCL_CONFIG_PATH", "RANK_ID", "RANK_SIZE", "DEVICE_ID", "SERVER_ID",
                   "MS_ROLE", "MS_NODE_ID", "MS_WORKER_NUM", "MS_SCHED_HOST", "MS_SCHED_PORT", "MS_TOPO_TIMEOUT")


@dataclass(frozen=True)
class LaunchJob:
    """Values that are the same for all ranks."""

    command: tuple[str, ...]  # Python, the program, and flags that are the same for all ranks
    target: str               # Ascend or CPU
    log_root: str = ""        # folder of the LOG folders; "" is the current folder
    own_checkpoints: bool = True  # False: the command already has the folder of the checkpoints


@dataclass(frozen=True)
class Nodes:
    """The servers of a training without a rank table, in msrun's terms."""

    worker_num: int
    local_worker_num: int
    node_rank: int = 0
    master_addr: str = "127.0.0.1"
    master_port: int = 8118

    @property
    def has_scheduler(self) -> bool:
        """Return whether the scheduler of the group runs on this server."""
        return self.node_rank == 0


@dataclass(frozen=True)
class RankPlan:
    """One process of this server."""

    name: str                    # "rank 3", "scheduler"
    device: int
    folder: str                  # its LOG folder
    environment: dict[str, str]  # variables to set in addition to those of the caller
    command: tuple[str, ...]
    cores: tuple[int, ...] = ()  # CPU cores that it may use; (): all
    log_name: str = "training_log.txt"
    first_line: str = ""         # of its log

    @property
    def log_file(self) -> str:
        """Return the path of the log with standard output and errors."""
        return str(PurePath(self.folder, self.log_name))


def plan_rank_table(table: RankTable, server: str, job: LaunchJob,
                    variables: Mapping[str, str] | None = None) -> tuple[RankPlan, ...]:
    """Plan the ranks of one server of a rank table.

    Args:
        table: the rank table.
        server: id of this server in the table.
        job: values that are the same for all ranks.
        variables: further environment variables for each rank.
    """
    shared = {"RANK_TABLE_FILE": table.path, **(variables or {})}
    if len(table.servers) > 1:
        shared["SERVER_ID"] = str(table.servers.index(server))
    return tuple(_rank_plan(rank, len(table.ranks), job, shared) for rank in table.on_server(server))


def plan_msrun(nodes: Nodes, job: LaunchJob) -> tuple[RankPlan, ...]:
    """Plan the ranks that msrun starts on this server, and on the first server also its scheduler, as the last one.

    msrun adds its own environment variables.
    """
    first = nodes.node_rank * nodes.local_worker_num
    ranks = tuple(_rank_plan(Rank(first + local, local, "", ""), nodes.worker_num, job, {})
                  for local in range(nodes.local_worker_num))
    return (*ranks, _scheduler_plan(nodes, job)) if nodes.has_scheduler else ranks


def with_cores(plans: Sequence[RankPlan], cores: Sequence[tuple[int, ...]], how: str = "") -> tuple[RankPlan, ...]:
    """Return the plans with the CPU cores of each rank. The scheduler, which comes last, may use all cores.

    Args:
        plans: the plans of the ranks of this server, in their order.
        cores: the cores of each rank.
        how: how they were chosen, for the logs of the ranks; "": nothing is logged.
    """
    ranks = tuple(replace(plan, cores=share, first_line=f"CPU cores: {ranges(share)}, {how}" if how else "")
                  for plan, share in zip(plans, cores))
    return (*ranks, *plans[len(ranks):])


def msrun_command(nodes: Nodes, python: str, log_dir: str, worker: Sequence[str]) -> tuple[str, ...]:
    """Return the command that starts msrun. `worker` is the command of each rank, without Python at its start."""
    return (python, "-m", "mindspore.parallel.cluster.run", f"--worker_num={nodes.worker_num}",
            f"--local_worker_num={nodes.local_worker_num}", f"--master_addr={nodes.master_addr}",
            f"--master_port={nodes.master_port}", f"--node_rank={nodes.node_rank}", f"--log_dir={log_dir}",
            f"--cluster_time_out={TIME_OUT}", "--join=True", "--tail_worker_log=-1", *worker)


def plan_standalone(name: str, device: int, job: LaunchJob, log_name: str) -> RankPlan:
    """Plan a single process that belongs to no group."""
    folder = str(PurePath(job.log_root, f"LOG{device}"))
    flags = ("--save_checkpoint_path", str(PurePath(folder, "ckpt_0"))) if job.own_checkpoints else ()
    return RankPlan(name, device, folder, _logging(folder, job.target), (*job.command, *flags), log_name=log_name)


def _rank_plan(rank: Rank, size: int, job: LaunchJob, variables: Mapping[str, str]) -> RankPlan:
    folder = str(PurePath(job.log_root, f"LOG{rank.device}"))
    flags = ["--distribute", "true", "--device_num", str(size), "--device_id", str(rank.device)]
    if job.own_checkpoints:
        flags += ["--save_checkpoint_path", str(PurePath(folder, f"ckpt_{rank.rank}"))]
    environment = {"RANK_ID": str(rank.rank), "RANK_SIZE": str(size), "DEVICE_ID": str(rank.device), **variables,
                   **_logging(folder, job.target)}
    return RankPlan(f"rank {rank.rank}", rank.device, folder, environment, (*job.command, *flags))


def _scheduler_plan(nodes: Nodes, job: LaunchJob) -> RankPlan:
    """Plan the scheduler. It runs the same program as the ranks and stays in init() until the ranks have ended."""
    folder = str(PurePath(job.log_root, "LOG_scheduler"))
    command = (*job.command, "--distribute", "true", "--device_num", str(nodes.worker_num))
    return RankPlan("scheduler", 0, folder, _logging(folder, job.target), command)


def _logging(folder: str, target: str) -> dict[str, str]:
    """Return variables that send the logs of MindSpore and CANN to files, and make Python flush its output at once."""
    ours = {"GLOG_logtostderr": "0", "GLOG_log_dir": str(PurePath(folder, "ms_log")), "PYTHONUNBUFFERED": "1"}
    return ours if target == "CPU" else {**ours, "ASCEND_PROCESS_LOG_PATH": str(PurePath(folder, "plog"))}
