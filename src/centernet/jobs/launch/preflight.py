"""Checks before a job starts, so that a mistake is shown at once, and not later in the log of a background process.

Each function returns messages for the problems that it finds.
"""
from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from centernet.config.schema import Config
from centernet.data.info_file import info_path, read_info
from centernet.errors import UserError
from centernet.files import is_file
from centernet.jobs.launch.devices import VISIBLE, ascend_devices, describe_numbers, visible_devices

CONVERT = "scripts/convert_dataset_to_mindrecord.sh"
# Size of a checkpoint in MB: weights and both moments of Adam, 12 bytes for each parameter.
CHECKPOINT_MB = {"resnet18": 200, "resnet34": 320, "resnet50": 420, "resnet101": 650, "resnet152": 850,
                 "dla34": 250, "dlav0_34": 230, "hourglass104": 2400}
HCCL_PORTS = tuple(range(60000, 60016))


def environment_problems() -> list[str]:
    """Check that this Python has MindSpore, which includes msrun."""
    if find_spec("mindspore") is None:
        return ["this Python does not have MindSpore: activate the project's environment, or set PYTHON"]
    return []


def shard_problems(folder: Path, prefix: str) -> list[str]:
    """Check that all files in the shards' info file exist with the correct size. The training checks their content."""
    if not folder.is_dir():
        return [f"MINDRECORD_DIR {folder} is not a folder: create the shards with {CONVERT}"]
    info = info_path(folder, prefix)
    if not info.exists():
        first = folder / f"{prefix}0"
        return [] if first.is_file() else [f"MINDRECORD_DIR {folder} has no shards {prefix}0, {prefix}1, ...: create "
                                           f"them with {CONVERT}, or set --mindrecord_prefix for other names"]
    try:
        files = [(folder / row["name"], row["size"]) for row in read_info(info, ("complete", "files"))["files"]]
    except UserError as error:
        return [str(error)]
    return [f"shard {path} {'has another size than in its info file' if path.is_file() else 'is missing'}; run "
            f"{CONVERT} again" for path, size in files if not path.is_file() or path.stat().st_size != size]


def checkpoint_problems(config: Config) -> list[str]:
    """Check that the checkpoints to load are files."""
    named = (("LOAD_CHECKPOINT_PATH", config.load_checkpoint_path),
             ("--backbone_checkpoint", config.backbone_checkpoint))
    return [f"{name} {path} is not a file" for name, path in named if path and not is_file(Path(path))]


def device_problems(target: str, devices: Iterable[int], by_table: bool = False) -> list[str]:
    """Check that a process sees the devices.

    Args:
        target: Ascend or CPU.
        devices: numbers by which a process knows the devices (see devices.py); with by_table, numbers of a rank table,
            which are those of the server.
    """
    if target == "CPU":
        return []
    files, wanted = ascend_devices(), sorted(set(devices))
    if not files:
        return ["this server has no Ascend device (/dev/davinci0, ...); to run on CPU, set DEVICE_TARGET=CPU"]
    try:
        visible = seen_devices()
    except UserError as error:
        return [str(error)]
    if by_table:
        return _table_problems(files, visible, wanted)
    missing = [str(device) for device in wanted if device >= len(visible)]
    if missing:
        return [f"this server has no device {', '.join(missing)}; it has {_listed(range(len(visible)))}"
                f"{describe_numbers(visible, os.environ.get(VISIBLE, ''))}"]
    return []


def _table_problems(files: list[int], visible: tuple[int, ...], wanted: list[int]) -> list[str]:
    missing = [str(device) for device in wanted if device not in files and device >= len(files)]
    if missing:
        return [f"this server has no device {', '.join(missing)}; it has {_listed(files)}"]
    if os.environ.get(VISIBLE) and any(visible[device:device + 1] != (device,) for device in wanted):
        return [f"the rank table has the devices {_listed(wanted)} in the server's numbers, but {VISIBLE} is "
                f"{os.environ[VISIBLE]}, and a process counts these devices from 0: unset {VISIBLE}, or leave out the "
                "rank table"]
    return []


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def table_hints(devices: Iterable[int]) -> list[str]:
    """Return a hint if this is a container whose devices may have other numbers than in the rank table."""
    files = ascend_devices()
    if files == list(range(len(files))):
        return []
    return [f"hint: this container has the devices {', '.join(f'/dev/davinci{number}' for number in files)}, and a "
            f"process counts them from 0, but the rank table has {_listed(sorted(set(devices)))}. If a rank "
            "does not find its device, leave out the rank table: msrun needs none"]


def seen_devices() -> tuple[int, ...]:
    """Return the file number of each device that a process sees: of device 0, device 1, ... See visible_devices."""
    return visible_devices(ascend_devices(), os.environ.get(VISIBLE, ""))


def crowd_problems(target: str, ranks: int, cpus: int) -> list[str]:
    """Check that there are not too many processes for the CPU cores of this server, with device_target CPU."""
    if target != "CPU" or ranks <= 4 * cpus:
        return []
    return [f"{ranks} processes on the {cpus} CPU cores of this server are too many: use at most {4 * cpus} (4 for "
            "each core)"]


def port_problems(ports: Iterable[int], advice: str) -> list[str]:
    """Check that the ports are free on this server."""
    used = []
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except (OSError, OverflowError) as error:
                used.append(f"{port} ({getattr(error, 'strerror', None) or error})")
    return [f"port{'s' * (len(used) > 1)} {', '.join(used)} cannot be used: {advice}"] if used else []


def disk_problems(config: Config, folder: Path) -> list[str]:
    """Check that the disk of a folder has space for the checkpoints of a training."""
    if not config.enable_save_ckpt:
        return []
    while not folder.exists():
        folder = folder.parent
    # Two more than save_checkpoint_num: a new checkpoint is written before the oldest one is deleted, and best.ckpt.
    needed = CHECKPOINT_MB.get(config.net_config.backbone, 1000) * (config.save_checkpoint_num + 2)
    free = shutil.disk_usage(folder).free // 10**6
    if free >= needed:
        return []
    return [f"{folder} has {free} MB of free space, but the checkpoints of {config.net_config.backbone} may need "
            f"{needed} MB: free some space, set --save_checkpoint_path or --log_root to another disk, or lower "
            "--save_checkpoint_num"]
