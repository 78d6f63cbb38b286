"""Rank tables: the device and server of each process of a distributed training.

The format is HCCL's ranktable template 1, a JSON file of the script hccl_tools:

    {"version": "1.0", "server_count": "1", "status": "completed",
     "server_list": [{"server_id": "10.0.0.1",
                      "device": [{"device_id": "0", "device_ip": "192.168.100.101", "rank_id": "0"}]}]}
"""
from __future__ import annotations

import ipaddress
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from centernet.documents import whole_number
from centernet.errors import LISTED_PROBLEMS, UserError, bullets, printable, shown
from centernet.files import exists, read_json

HCCN_CONF = Path("/etc/hccn.conf")
MOST_BYTES = 1 << 22  # of a rank table: enough for 30,000 devices
MOST_RANKS = 1 << 20
MOST_DEVICES = 16  # largest number of devices on one server; device ids are below it


@dataclass(frozen=True)
class Rank:
    """One process: its number, and its device."""

    rank: int
    device: int
    server: str
    address: str  # address of the device's network port; "" if there is none


@dataclass(frozen=True)
class RankTable:
    """A rank table after the checks: ranks are 0..N-1 in order, devices are unique on each server."""

    path: str
    ranks: tuple[Rank, ...]

    @property
    def servers(self) -> tuple[str, ...]:
        """Return the servers' ids in the order of their first ranks."""
        return tuple(dict.fromkeys(rank.server for rank in self.ranks))

    def on_server(self, server: str) -> tuple[Rank, ...]:
        """Return the ranks of one server."""
        return tuple(rank for rank in self.ranks if rank.server == server)


def read_rank_table(path: str) -> RankTable:
    """Read and check a rank table.

    Raises:
        UserError: the file cannot be read or breaks a rule; the first twenty problems are listed with their keys.
    """
    subject = f"rank table {printable(path)}"
    if not exists(Path(path)):
        raise UserError(f"{subject}: No such file or directory. Create one for this server with hccl_tools, or leave "
                        "out the argument (unset RANK_TABLE_FILE) to start without a rank table")
    document = read_json(Path(path), subject, "If it is a checkpoint, give it as the argument after the rank table, or "
                         "as --load_checkpoint_path", MOST_BYTES)
    problems: list[str] = []
    ranks = _read_servers(document, problems)
    if not problems:
        problems = _contradictions(ranks)
    if problems:
        raise UserError(f"{subject} has {len(problems)} problem{'s' * (len(problems) > 1)}:{bullets(problems)}")
    return RankTable(path, tuple(sorted(ranks, key=lambda rank: rank.rank)))


def find_server(table: RankTable, server_id: str = "", hccn_conf: Path = HCCN_CONF, by_variable: bool = False) -> str:
    """Return the id of this server in the table: the only server, server_id, or the server with our devices' addresses.

    Args:
        table: the rank table.
        server_id: a server's id; "" if it is not given.
        hccn_conf: the file with the addresses of this server's devices.
        by_variable: server_id is the environment variable SERVER_ID, which may also be an index into table.servers:
            launchers set it so (plan_rank_table does), and clusters.

    Raises:
        UserError: no server or several servers match; the message lists the servers.
    """
    listed = f"rank table {table.path} has the servers {', '.join(table.servers)}"
    if server_id:
        index = whole_number(server_id, len(table.servers)) if by_variable else None
        if server_id in table.servers:
            return server_id
        if index is not None:
            return table.servers[index]
        if by_variable:
            raise UserError(f"the environment variable SERVER_ID is {shown(server_id)}, but {listed}: set it to one of "
                            "them, or to its index (0 for the first), or unset it")
        raise UserError(f"--server_id {server_id}: {listed}")
    if len(table.servers) == 1:
        return table.servers[0]
    try:
        lines = hccn_conf.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{listed}, and it is not known which of them is this server ({hccn_conf}: "
                        f"{error.strerror or error}): give its id with --server_id") from error
    own = {match[1] for line in lines if (match := re.fullmatch(r"\s*address_\d+\s*=\s*(\S+)\s*", line))}
    found = [server for server in table.servers if own & {rank.address for rank in table.on_server(server)}]
    if len(found) != 1:
        raise UserError(f"{listed}; the addresses of this server's devices in {hccn_conf} "
                        f"({', '.join(sorted(own)) or 'none'}) belong to {' and '.join(found) or 'none of them'}: "
                        "give the id of this server with --server_id, or create a new rank table")
    return found[0]


def _read_servers(document: dict[str, Any], problems: list[str]) -> list[Rank]:
    """Read the ranks. Problems of single keys are appended to problems."""
    if str(document.get("version")) != "1.0":
        problems.append(f"version must be \"1.0\", found {shown(document.get('version'))}")
    if document.get("status") != "completed":
        problems.append(f"status must be \"completed\", found {shown(document.get('status'))}")
    servers = document.get("server_list")
    if not isinstance(servers, list) or not servers:
        problems.append(f"server_list must be a list of servers, found {_shown(servers)}")
        return []
    if "server_count" in document and str(document["server_count"]) != str(len(servers)):
        problems.append(f"server_count is {shown(document['server_count'])}, but server_list has {len(servers)} "
                        "servers")
    ranks = []
    for number, server in enumerate(servers):
        place = f"server_list[{number}]"
        name = server.get("server_id") if isinstance(server, dict) else None
        devices = server.get("device") if isinstance(server, dict) else None
        if not isinstance(name, str) or not name:
            problems.append(f"{place}.server_id must be the server's name or address, found {_shown(name)}")
        if not isinstance(devices, list) or not devices:
            problems.append(f"{place}.device must be a list of devices, found {_shown(devices)}")
            continue
        for index, device in enumerate(devices):
            ranks.append(_read_device(device, str(name), f"{place}.device[{index}]", len(servers) > 1, problems))
    return ranks


def _read_device(device: Any, server: str, place: str, address_needed: bool, problems: list[str]) -> Rank:
    device = device if isinstance(device, dict) else {}
    numbers = {}
    for key in ("device_id", "rank_id"):
        limit = MOST_DEVICES if key == "device_id" else MOST_RANKS
        number = whole_number(str(device.get(key)), limit)
        if number is None:
            allowed = f"a number from 0 to {MOST_DEVICES - 1}" if key == "device_id" else "a number"
            problems.append(f"{place}.{key} must be {allowed}, found {_shown(device.get(key))}")
        numbers[key] = -1 if number is None else number
    address = device.get("device_ip", "")
    if address or address_needed:
        try:
            ipaddress.ip_address(str(address))
        except ValueError:
            problems.append(f"{place}.device_ip must be an IP address, found {_shown(address)}")
    return Rank(numbers["rank_id"], numbers["device_id"], server, str(address))


def _contradictions(ranks: list[Rank]) -> list[str]:
    """Return problems between the ranks: numbers, devices or addresses that are used twice or missing."""
    numbers = [rank.rank for rank in ranks]
    problems = [f"rank_id {number} is used {count} times" for number, count in Counter(numbers).items() if count > 1]
    missing = sorted(set(range(len(ranks))) - set(numbers))[:LISTED_PROBLEMS]
    if missing:
        problems.append(f"rank_id must run from 0 to {len(ranks) - 1}; missing: {', '.join(map(str, missing))}")
    devices = Counter((rank.server, rank.device) for rank in ranks)
    problems += [f"device_id {device} is used {count} times on server {server}"
                 for (server, device), count in devices.items() if count > 1]
    addresses = Counter(rank.address for rank in ranks if rank.address)
    problems += [f"device_ip {address} is used {count} times" for address, count in addresses.items() if count > 1]
    return problems


def _shown(value: Any) -> str:
    return "nothing" if value is None else shown(value)
