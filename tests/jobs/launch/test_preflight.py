import dataclasses
import json
import socket

import pytest

from centernet.config.load import load_config
from centernet.jobs.launch import preflight


def config(**changes):
    return dataclasses.replace(load_config("train", [], ""), **changes)


def make_shards(folder, complete=True):
    folder.mkdir()
    for name in ("p0", "p0.db"):
        (folder / name).write_bytes(b"12345")
    files = [{"name": name, "size": 5, "sha256": ""} for name in ("p0", "p0.db")]
    (folder / "p.info.json").write_text(json.dumps({"complete": complete, "files": files}))
    return folder


def test_shards(tmp_path):
    shards = make_shards(tmp_path / "shards")
    assert preflight.shard_problems(shards, "p") == []
    assert "has no shards q0" in preflight.shard_problems(shards, "q")[0]
    assert "is not a folder" in preflight.shard_problems(tmp_path / "none", "p")[0]
    (shards / "p0").write_bytes(b"1234")
    (shards / "p0.db").unlink()
    short, missing = preflight.shard_problems(shards, "p")
    assert "p0 has another size" in short and "p0.db is missing" in missing
    assert "was interrupted" in preflight.shard_problems(make_shards(tmp_path / "half", complete=False), "p")[0]
    (shards / "p.info.json").write_text("{}")
    assert "p.info.json lacks complete, files" in preflight.shard_problems(shards, "p")[0]
    (shards / "p.info.json").unlink()
    assert preflight.shard_problems(shards, "p") == []  # shards of the model zoo have none


def test_ports():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (problem,) = preflight.port_problems([port], "choose another")
        assert f"port {port} (Address already in use) cannot be used: choose another" == problem
    assert preflight.port_problems([port], "") == []
    assert "70000" in preflight.port_problems([70000], "")[0]


def test_checkpoints(tmp_path):
    assert preflight.checkpoint_problems(config()) == []
    assert preflight.checkpoint_problems(config(load_checkpoint_path=str(tmp_path / "a.ckpt"))) == [
        f"LOAD_CHECKPOINT_PATH {tmp_path}/a.ckpt is not a file"]


def test_disk(tmp_path, monkeypatch):
    assert preflight.disk_problems(config(), tmp_path / "not/yet") == []
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10**9}))
    (problem,) = preflight.disk_problems(config(save_checkpoint_num=1), tmp_path / "not/yet")
    assert f"{tmp_path} has 1000 MB of free space" in problem and "may need 1260 MB" in problem
    assert preflight.disk_problems(config(enable_save_ckpt=False), tmp_path) == []


def test_devices(monkeypatch):
    assert preflight.device_problems("CPU", [5]) == []
    monkeypatch.setattr(preflight, "ascend_devices", lambda: [])
    assert "DEVICE_TARGET=CPU" in preflight.device_problems("Ascend", [0])[0]
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "0")
    assert "DEVICE_TARGET=CPU" in preflight.device_problems("Ascend", [0])[0]
    monkeypatch.delenv("ASCEND_RT_VISIBLE_DEVICES")
    monkeypatch.setattr(preflight, "ascend_devices", lambda: [0, 1, 2, 3])
    assert preflight.device_problems("Ascend", [0, 3]) == []
    assert preflight.device_problems("Ascend", [3, 5, 4]) == ["this server has no device 4, 5; it has 0, 1, 2, 3"]


@pytest.mark.parametrize("files, visible, devices, problem", [
    (range(4, 8), "", range(4), None),
    (range(4, 8), "", [4], "has no device 4; it has 0, 1, 2, 3 (0 is /dev/davinci4, 1 is /dev/davinci5, 2 is /dev/"),
    (range(8), "4,5", [0, 1], None),
    (range(8), "4,5", [2], "no device 2; it has 0, 1 (0 is /dev/davinci4, 1 is /dev/davinci5, because ASCEND_RT_VISI"),
    ([4, 5, 7], "0,2", [2], "no device 2; it has 0, 1 (0 is /dev/davinci4, 1 is /dev/davinci7, because ASCEND_RT_VISI"),
    (range(8), "1, 2", [0], "ASCEND_RT_VISIBLE_DEVICES is '1, 2', but it must be numbers with commas between them"),
    (range(8), "3,1", [0], "ASCEND_RT_VISIBLE_DEVICES is '3,1', but the numbers must be in ascending order, each"),
    (range(2), "4", [0], "ASCEND_RT_VISIBLE_DEVICES is '4', but there are only 2 devices: its numbers must be bel")])
def test_devices_count_from_0_among_those_that_a_process_sees(monkeypatch, files, visible, devices, problem):
    monkeypatch.setattr(preflight, "ascend_devices", lambda: list(files))
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
    found = preflight.device_problems("Ascend", devices)
    assert found == [] if problem is None else problem in found[0]


@pytest.mark.parametrize("files, visible, devices, problem", [
    (range(8), "", [4, 5], None), (range(8), "0,1,2,3,4,5,6,7", [4, 5], None), (range(4, 8), "", [4, 5], None),
    (range(4), "", [4], "this server has no device 4; it has 0, 1, 2, 3"),
    (range(8), "4,5", [4, 5], "the rank table has the devices 4, 5 in the server's numbers, but ASCEND_RT_VISIBLE_DEV"),
    (range(8), "4,5", [0, 1], "a process counts these devices from 0: unset ASCEND_RT_VISIBLE_DEVICES, or leave out")])
def test_the_devices_of_a_rank_table_keep_the_numbers_of_the_server(monkeypatch, files, visible, devices, problem):
    monkeypatch.setattr(preflight, "ascend_devices", lambda: list(files))
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
    found = preflight.device_problems("Ascend", devices, by_table=True)
    assert found == [] if problem is None else problem in found[0]


def test_a_container_with_a_rank_table_gets_a_hint(monkeypatch):
    monkeypatch.setattr(preflight, "ascend_devices", lambda: [4, 5])
    (hint,) = preflight.table_hints([4, 5])
    assert "has the devices /dev/davinci4, /dev/davinci5" in hint and "the rank table has 4, 5" in hint
    monkeypatch.setattr(preflight, "ascend_devices", lambda: [0, 1])
    assert preflight.table_hints([0, 1]) == []


def test_more_processes_than_cores_can_bear():
    assert preflight.crowd_problems("CPU", 8, 2) == preflight.crowd_problems("Ascend", 300, 2) == []
    assert "300 processes on the 2 CPU cores" in preflight.crowd_problems("CPU", 300, 2)[0]
