"""Plans of groups on Ascend servers that do not exist: what is found in /dev and what npu-smi prints is replaced."""
import os
from types import SimpleNamespace

import pytest

from centernet.errors import UserError
from centernet.jobs import start_job
from centernet.jobs.launch import arguments, preflight
from centernet.jobs.launch.arguments import read_arguments
from centernet.jobs.launch.cores import ranges
from centernet.jobs.launch.plan import LaunchJob
from centernet.jobs.start_job import plan_group
from tests.jobs.launch import topologies
from tests.jobs.launch.rank_tables import write_table


@pytest.fixture
def server(monkeypatch):
    """A function that replaces this server by one with these device files, cores and topology."""
    def replace(files=range(8), cpus=192, topology=topologies.PAIRS, visible=""):
        for module in (arguments, preflight):
            monkeypatch.setattr(module, "ascend_devices", lambda: list(files))
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)))
        monkeypatch.setattr(start_job, "read_topology", lambda: topology)
        monkeypatch.setattr(preflight, "port_problems", lambda ports, advice: [])
        monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
    return replace


def planned(*words, target="Ascend", **variables):
    """What plan_group finds: the device and the cores of each rank, the first lines of their logs, hints, problems."""
    given = read_arguments("distribute", ["shards", *words, "--device_target", target], variables)
    ready, problems = plan_group(given, LaunchJob(("python", "train.py"), target))
    ranks = [plan for plan in ready.plans if plan.name != "scheduler"]
    return SimpleNamespace(ranks=[(plan.device, ranges(plan.cores)) for plan in ranks], hints=ready.hints,
                           first_lines=[plan.first_line for plan in ranks], problems=problems)


def test_all_devices_of_a_server_with_the_cores_near_them(server):
    server()
    found = planned()
    assert found.problems == [] and found.hints == ()
    assert found.ranks == list(enumerate(["144-155", "156-167", "96-107", "108-119", "0-11", "12-23", "48-59",
                                          "60-71"]))
    assert found.first_lines[1] == "CPU cores: 156-167, near the device (npu-smi info -t topo)"


def test_a_container_has_the_devices_0_to_n(server):
    server(files=[4, 5, 7], cpus=96, topology=topologies.CONTAINER)
    found = planned()
    assert found.problems == [] and found.ranks == [(0, "0-15"), (1, "64-79"), (2, "16-31,80-95")]
    assert "there are 3 devices" in found.hints[0]


def test_visible_devices_have_the_cores_of_their_own_numbers(server):
    server(visible="4,5")
    found = planned()
    assert found.problems == [] and found.ranks == [(0, "0-11"), (1, "12-23")]
    assert "no device 2, 3; it has 0, 1 (0 is /dev/davinci4, 1 is /dev/davinci5, because ASCEND" in planned(
        "--device_num", "4").problems[0]


def test_a_wrong_variable_is_told_before_devices_are_counted(server):
    server(visible="4, 5")
    with pytest.raises(UserError, match="ASCEND_RT_VISIBLE_DEVICES is '4, 5', but it must be numbers"):
        planned()


def test_without_a_topology_the_cores_are_divided_equally(server):
    server(files=range(2), topology="", cpus=8)
    found = planned()
    assert found.ranks == [(0, "0-3"), (1, "4-7")]
    assert found.first_lines[0] == "CPU cores: 0-3, an equal share: npu-smi info -t topo names no cores"


def test_a_rank_table_keeps_the_numbers_of_the_server(server, tmp_path):
    table = write_table(tmp_path / "hccl.json", [4, 5])
    server()
    assert planned(table).ranks == [(4, "0-11"), (5, "12-23")]
    server(visible="4,5")
    assert "unset ASCEND_RT_VISIBLE_DEVICES, or leave out the rank table" in planned(table).problems[0]
    server(files=[4, 5, 7])
    found = planned(table)
    assert found.problems == [] and found.hints[0].startswith("hint: this container has the devices /dev/davinci4, ")


def test_the_index_of_the_server_may_come_from_the_environment(server, tmp_path):
    server(topology="")
    two, one = write_table(tmp_path / "two.json", [0], [1]), write_table(tmp_path / "one.json", [0])
    assert [rank[0] for rank in planned(two, SERVER_ID="1").ranks] == [1]
    assert [rank[0] for rank in planned(two, "--server_id", "10.0.0.1", SERVER_ID="1").ranks] == [0]
    assert [len(planned(one, target=target, SERVER_ID="0").ranks) for target in ("Ascend", "CPU")] == [1, 1]
    for target in ("Ascend", "CPU"):
        with pytest.raises(UserError, match="the environment variable SERVER_ID is '1', but"):
            planned(one, target=target, SERVER_ID="1")
        with pytest.raises(UserError, match="--server_id 0: rank table"):
            planned(one, "--server_id", "0", target=target)


@pytest.mark.parametrize("words, variables, named", [
    ([], {"NODE_RANK": "1"}, "--worker_num 2 --local_worker_num 2 NODE_RANK=1: "),
    (["--node_rank", "1"], {"WORKER_NUM": "2", "NODE_RANK": "0"}, "WORKER_NUM=2 --local_worker_num 2 --node_rank 1: ")])
def test_a_wrong_number_is_named_as_it_was_given(server, words, variables, named):
    server()
    with pytest.raises(UserError, match=f"^{named}each server must have the same number"):
        planned("--device_num", "2", *words, **variables)


def test_on_cpu_nothing_is_asked_and_nothing_is_told(server, monkeypatch):
    server(cpus=4)
    monkeypatch.setattr(start_job, "read_topology", None)
    found = planned("--device_num", "2", target="CPU")
    assert (found.ranks, found.first_lines, found.hints, found.problems) == ([(0, "0-1"), (1, "2-3")], ["", ""], (), [])
