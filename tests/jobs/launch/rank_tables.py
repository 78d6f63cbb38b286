"""Rank tables for tests (`from tests.jobs.launch.rank_tables import ...`)."""
import json


def table(*servers, **changes):
    """The document of a rank table: servers as lists of device ids; server k has the id 10.0.0.<k+1>."""
    rows, rank = [], 0
    for number, devices in enumerate(servers, start=1):
        row = []
        for device in devices:
            row.append({"device_id": str(device), "device_ip": f"192.168.{number}.{100 + device}",
                        "rank_id": str(rank)})
            rank += 1
        rows.append({"server_id": f"10.0.0.{number}", "device": row, "host_nic_ip": "reserve"})
    return {"version": "1.0", "server_count": str(len(servers)), "server_list": rows, "status": "completed", **changes}


def write_table(path, *servers, **changes):
    """Write one; its path as a string."""
    path.write_text(json.dumps(table(*servers, **changes)))
    return str(path)
