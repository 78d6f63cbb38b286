"""CPU cores for the ranks of this server: near their devices if the driver tells which cores these are.

A server has several NUMA nodes. A copy from the memory of one node to a device at another node is slower. The driver's
tool prints for each device the cores that are near it (the last column, CPU Affinity):

    npu-smi info -t topo
"""
from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence

COMMAND = ("npu-smi", "info", "-t", "topo")
FEWEST = 8  # cores for each device; with fewer, an equal share of all cores is better than near ones


def equal_shares(cpus: Sequence[int], ranks: int) -> list[tuple[int, ...]]:
    """Divide the CPU cores equally; each rank gets neighbouring cores. For more ranks than cores: no binding (())."""
    each = len(cpus) // ranks
    return [tuple(cpus[number * each:(number + 1) * each]) for number in range(ranks)]


def parse_topology(text: str) -> dict[int, tuple[int, ...]]:
    """Return the near cores of each device, by its number on the server. {} if the text has no such column."""
    lines = text.splitlines()
    head = next((line for line in lines if line.rstrip().endswith("CPU Affinity")), None)
    if head is None:
        return {}
    found = {}
    for line in lines:
        row = re.fullmatch(r"\s*NPU(\d+)\s+.*\s(\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)\s*", line)
        if row:
            found[int(row[1])] = _expand(row[2])
    return found


def near_shares(near: Mapping[int, Sequence[int]], devices: Sequence[int],
                cpus: Sequence[int]) -> list[tuple[int, ...]]:
    """Divide the near cores among the devices that share them.

    The cores of a device are the same for every job, also if the job does not use all devices. So two jobs on one
    server do not share cores.

    Args:
        near: near cores of every device of the server, by its number there.
        devices: numbers of the devices that need cores.
        cpus: the cores that this process may use.

    Returns:
        The cores of each device; [] if they should be divided in another way: a device is not in `near`, or gets fewer
        than FEWEST cores and fewer than with equal shares, or two groups of near cores overlap.
    """
    allowed, sharing = set(cpus), defaultdict(list)
    for device in sorted(near):
        sharing[tuple(core for core in near[device] if core in allowed)].append(device)
    every = [core for cores in sharing for core in cores]
    if len(every) != len(set(every)):
        return []
    shares = {device: share for cores, together in sharing.items()
              for device, share in zip(together, equal_shares(cores, len(together)))}
    enough = min(FEWEST, len(cpus) // len(devices))
    found = [shares.get(device, ()) for device in devices]
    return found if all(share and len(share) >= enough for share in found) else []


def read_topology() -> str:
    """Return what the driver's tool prints; "" if it is missing, fails or does not end."""
    try:
        done = subprocess.run(COMMAND, capture_output=True, text=True, errors="replace", timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def choose_cores(topology: str, devices: Sequence[int], cpus: Sequence[int]) -> tuple[list[tuple[int, ...]], str]:
    """Return the cores of each device, and how they were chosen, for a log.

    Args:
        topology: the output of COMMAND; "" if there is none.
        devices: numbers of the devices on the server.
        cpus: the cores that this process may use.
    """
    near, command = parse_topology(topology), " ".join(COMMAND)
    if shares := near_shares(near, devices, cpus):
        return shares, f"near the device ({command})"
    reason = f"{command} does not give enough cores near each device" if near else f"{command} names no cores"
    return equal_shares(cpus, len(devices)), f"an equal share: {reason}"


def ranges(cores: Sequence[int]) -> str:
    """Return cores as a short text: "0-11,24-35", or "all" for ()."""
    blocks: list[list[int]] = []
    for core in cores:
        if blocks and core == blocks[-1][1] + 1:
            blocks[-1][1] = core
        else:
            blocks.append([core, core])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in blocks) or "all"


def _expand(text: str) -> tuple[int, ...]:
    """Return the numbers of a list such as "0-3,8"."""
    parts = [part.partition("-") for part in text.split(",")]
    return tuple(number for first, _, last in parts for number in range(int(first), int(last or first) + 1))
