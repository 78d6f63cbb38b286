"""Rank tables, arguments and device lists that nobody means: a value, or a UserError."""
import json
from functools import partial

import hostile
import pytest
from hostile import FILES, variants

from centernet.errors import UserError
from centernet.jobs.launch.arguments import read_arguments, read_hyper_parameters
from centernet.jobs.launch.devices import visible_devices
from centernet.jobs.launch.rank_table import read_rank_table

TABLE = {"version": "1.0", "server_count": "2", "status": "completed", "server_list": [
    {"server_id": f"10.0.0.{server}", "device": [
        {"device_id": str(device), "device_ip": f"192.168.{server}.10{device}", "rank_id": str(2 * server + device)}
        for device in range(2)]} for server in range(2)]}


message_of = partial(hostile.message_of, most=12_000)  # a list of problems


@pytest.mark.fault("a hostile rank table", "each value replaced", "read, or a short error, never a traceback")
def test_rank_tables(tmp_path):
    path = tmp_path / "hccl.json"
    for text in variants(TABLE):
        path.write_text(text)
        message_of(read_rank_table, str(path))
    for data in FILES:
        path.write_bytes(data)
        assert "hccl.json" in message_of(read_rank_table, str(path))


@pytest.mark.parametrize("key, value, message", [
    ("device_id", "9" * 5000, r"device\[0\].device_id must be a number from 0 to 15, found '999"),
    ("rank_id", "1" * 5000, r"device\[0\].rank_id must be a number, found '111"),
    ("rank_id", "1048576", r"device\[0\].rank_id must be a number"),
    ("device_ip", 5, r"device\[0\].device_ip must be an IP address, found 5"),
])
def test_numbers_of_rank_tables(tmp_path, key, value, message):
    document = json.loads(json.dumps(TABLE))
    document["server_list"][0]["device"][0][key] = value
    path = tmp_path / "hccl.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=message):
        read_rank_table(str(path))


def test_a_long_list_of_problems_is_cut(tmp_path):
    path = tmp_path / "hccl.json"
    path.write_text(json.dumps({**TABLE, "server_list": [0] * 1000}))
    with pytest.raises(UserError, match="has 2001 problems:(?s:.*)and 1981 more$"):
        read_rank_table(str(path))


@pytest.mark.parametrize("path", ["a" * 300, "a\0b", "\ud800", "/dev/zero"])
def test_paths_of_rank_tables(path):
    assert message_of(read_rank_table, path)
    assert message_of(read_hyper_parameters, path)


@pytest.mark.parametrize("flag", ["--device_num", "--master_port", "--worker_num"])
@pytest.mark.parametrize("text", ["9" * 5000, "x", "-1", "1.5", "\u00b2"])
def test_numbers_of_launchers(flag, text):
    assert f"{flag} (or the environment variable {flag[2:].upper()}) must be a number" in message_of(
        read_arguments, "distribute", [flag, text], {})


@pytest.mark.parametrize("variable", ["9" * 5000, "0," + "1" * 30, "0,,1", "x"])
def test_visible_devices(variable):
    with pytest.raises(UserError, match="ASCEND_RT_VISIBLE_DEVICES is .*must be numbers with commas"):
        visible_devices([0, 1], variable)
