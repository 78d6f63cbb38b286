import json

import pytest

from centernet.errors import UserError
from centernet.jobs.launch.rank_table import Rank, find_server, read_rank_table
from tests.jobs.launch.rank_tables import table, write_table


def test_ranks_in_order_whatever_the_file_order(tmp_path):
    document = table([0, 1], [0, 1])
    document["server_list"].reverse()
    (tmp_path / "hccl.json").write_text(json.dumps(document))
    ranks = read_rank_table(str(tmp_path / "hccl.json"))
    assert [rank.rank for rank in ranks.ranks] == [0, 1, 2, 3]
    assert ranks.servers == ("10.0.0.1", "10.0.0.2")
    assert ranks.on_server("10.0.0.2") == (Rank(2, 0, "10.0.0.2", "192.168.2.100"),
                                           Rank(3, 1, "10.0.0.2", "192.168.2.101"))


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(UserError, match="nothing.json: No such file.* leave out the argument .unset RANK_TABLE_FILE"):
        read_rank_table(str(tmp_path / "nothing.json"))
    (tmp_path / "model.ckpt").write_bytes(b"\xff\x00weights")
    with pytest.raises(UserError, match="model.ckpt is not valid JSON.*a checkpoint, give it as the argument after"):
        read_rank_table(str(tmp_path / "model.ckpt"))
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match="must hold a JSON object, found list"):
        read_rank_table(str(tmp_path / "list.json"))


def change(document, path, value):
    *keys, last = path
    for key in keys:
        document = document[key]
    document[last] = value


@pytest.mark.parametrize("path, value, message", [
    (["version"], "1.2", "version must be \"1.0\", found '1.2'"),
    (["status"], "initializing", "status must be \"completed\""),
    (["server_list"], [], r"server_list must be a list of servers, found \[\]"),
    (["server_count"], "3", "server_count is '3', but server_list has 2 servers"),
    (["server_list", 1, "server_id"], "", r"server_list\[1\].server_id must be"),
    (["server_list", 1, "device"], None, r"server_list\[1\].device must be a list of devices, found nothing"),
    (["server_list", 0, "device", 1, "device_id"], "16", r"device\[1\].device_id must be a number from 0 to 15, found"),
    (["server_list", 0, "device", 1, "rank_id"], "-1", r"server_list\[0\].device\[1\].rank_id must be a number"),
    (["server_list", 0, "device", 1, "device_ip"], "host", r"device\[1\].device_ip must be an IP address, found"),
    (["server_list", 0, "device", 1, "rank_id"], "0", "rank_id 0 is used 2 times\n.*missing: 1$"),
    (["server_list", 1, "device", 1, "rank_id"], "4", "rank_id must run from 0 to 3; missing: 3"),
    (["server_list", 0, "device", 1, "device_id"], "0", "device_id 0 is used 2 times on server 10.0.0.1"),
    (["server_list", 0, "device", 1, "device_ip"], "192.168.1.100", "device_ip 192.168.1.100 is used 2 times"),
])
def test_each_broken_key_is_named(tmp_path, path, value, message):
    document = table([0, 1], [0, 1])
    change(document, path, value)
    (tmp_path / "hccl.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=message) as error:
        read_rank_table(str(tmp_path / "hccl.json"))
    assert str(tmp_path / "hccl.json") in str(error.value)


def test_all_problems_are_listed_together(tmp_path):
    with pytest.raises(UserError, match="has 2 problems:\n  - version.*\n  - status"):
        read_rank_table(write_table(tmp_path / "hccl.json", [0], version="2", status="x"))


def test_device_addresses_are_optional_on_one_server(tmp_path):
    document = table([4, 5])
    for device in document["server_list"][0]["device"]:
        del device["device_ip"]
    (tmp_path / "hccl.json").write_text(json.dumps(document))
    assert [rank.device for rank in read_rank_table(str(tmp_path / "hccl.json")).ranks] == [4, 5]


def test_this_server_is_found(tmp_path):
    two = read_rank_table(write_table(tmp_path / "two.json", [0, 1], [0, 1]))
    conf = tmp_path / "hccn.conf"
    conf.write_text("netmask_0=255.255.255.0\naddress_0=192.168.2.100\naddress_1 = 192.168.2.101\n")
    assert find_server(two, hccn_conf=conf) == "10.0.0.2"
    assert find_server(two, "10.0.0.1", conf) == "10.0.0.1"
    one = read_rank_table(write_table(tmp_path / "one.json", [0]))
    assert find_server(one, hccn_conf=tmp_path / "none") == "10.0.0.1"


def test_the_variable_of_the_server_is_an_id_or_an_index(tmp_path):
    two = read_rank_table(write_table(tmp_path / "two.json", [0], [0]))
    assert [find_server(two, text, by_variable=True) for text in ("0", "1", "10.0.0.1")] == [
        "10.0.0.1", "10.0.0.2", "10.0.0.1"]
    with pytest.raises(UserError, match="the environment variable SERVER_ID is '2', but rank table .* has the servers "
                                        "10.0.0.1, 10.0.0.2: set it to one of them, or to its index"):
        find_server(two, "2", by_variable=True)
    with pytest.raises(UserError, match="--server_id 0: "):
        find_server(two, "0")
    document = table([0], [0])
    for server, name in zip(document["server_list"], "10"):
        server["server_id"] = name
    (tmp_path / "numbers.json").write_text(json.dumps(document))
    assert find_server(read_rank_table(str(tmp_path / "numbers.json")), "0", by_variable=True) == "0"  # the second one


def test_a_server_that_cannot_be_found_gets_the_list(tmp_path):
    two = read_rank_table(write_table(tmp_path / "two.json", [0, 1], [0, 1]))
    listed = "has the servers 10.0.0.1, 10.0.0.2"
    with pytest.raises(UserError, match=f"--server_id 10.0.0.9: .*{listed}"):
        find_server(two, "10.0.0.9")
    with pytest.raises(UserError, match=f"{listed}.*hccn.conf: No such file.*--server_id"):
        find_server(two, hccn_conf=tmp_path / "hccn.conf")
    (tmp_path / "hccn.conf").write_text("address_0=172.16.0.1\n")
    with pytest.raises(UserError, match=f"{listed}.*172.16.0.1.* none of them"):
        find_server(two, hccn_conf=tmp_path / "hccn.conf")
    (tmp_path / "hccn.conf").write_text("address_0=192.168.1.100\naddress_1=192.168.2.100\n")
    with pytest.raises(UserError, match="belong to 10.0.0.1 and 10.0.0.2"):
        find_server(two, hccn_conf=tmp_path / "hccn.conf")
