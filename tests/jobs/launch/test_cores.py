import pytest

from centernet.jobs.launch import cores
from centernet.jobs.launch.cores import (
    choose_cores,
    equal_shares,
    near_shares,
    parse_topology,
    ranges,
    read_topology,
)
from tests.jobs.launch import topologies


def block(first, last):
    return tuple(range(first, last + 1))


@pytest.mark.parametrize("cpus, ranks, shares", [
    (range(8), 2, [(0, 1, 2, 3), (4, 5, 6, 7)]), (range(7), 3, [(0, 1), (2, 3), (4, 5)]),
    ([1, 5, 9], 3, [(1,), (5,), (9,)]), (range(2), 3, [(), (), ()])])
def test_equal_shares(cpus, ranks, shares):
    assert equal_shares(cpus, ranks) == shares


@pytest.mark.parametrize("text, first, last", [
    (topologies.PAIRS, (0, block(144, 167)), (7, block(48, 71))),
    (topologies.INTERLEAVED, (0, block(144, 167)), (7, block(48, 71))),
    (topologies.FOUR_ON_PCIE, (0, block(144, 167)), (3, block(0, 23))),
    (topologies.CONTAINER, (4, block(0, 15) + block(64, 79)), (7, block(16, 31) + block(80, 95)))])
def test_the_cores_near_each_device_are_read(text, first, last):
    found = list(parse_topology(text).items())
    assert (found[0], found[-1]) == (first, last)


@pytest.mark.parametrize("text", [topologies.WITHOUT_CORES, topologies.REFUSED, "", "command not found"])
def test_an_output_without_cores(text):
    assert parse_topology(text) == {}


def shares(text, devices, cpus=range(192)):
    return [ranges(share) for share in near_shares(parse_topology(text), devices, cpus)]


def test_devices_that_share_near_cores_divide_them():
    assert shares(topologies.PAIRS, range(8)) == ["144-155", "156-167", "96-107", "108-119", "0-11", "12-23", "48-59",
                                                  "60-71"]
    assert shares(topologies.INTERLEAVED, range(4)) == ["144-155", "0-11", "156-167", "12-23"]
    assert shares(topologies.FOUR_ON_PCIE, range(4)) == ["144-167", "96-119", "48-71", "0-23"]
    assert shares(topologies.CONTAINER, [4, 5, 7]) == ["0-15", "64-79", "16-31,80-95"]


def test_a_device_has_the_same_cores_in_every_job():
    assert shares(topologies.PAIRS, [1]) == ["156-167"]
    assert shares(topologies.PAIRS, [6, 1]) == ["48-59", "156-167"]


def test_only_cores_that_this_process_may_use():
    assert shares(topologies.PAIRS, [4, 5], range(4, 40)) == ["4-13", "14-23"]


@pytest.mark.parametrize("text, devices, cpus", [
    (topologies.PAIRS, [0, 8], range(192)),                                       # device 8 is unknown
    (topologies.PAIRS, [0, 4], range(96)),                                        # no core near device 0 may be used
    (topologies.matrix("PIX", *["0-23"] * 8), range(8), range(192)),              # 3 cores each instead of 24
    (topologies.matrix("PIX", "0-23", "12-35", width=2), range(2), range(192))])  # 12-23 belong to both
def test_other_cases_need_another_way(text, devices, cpus):
    assert shares(text, devices, cpus) == []


def test_few_near_cores_are_taken_if_equal_shares_have_as_few():
    assert shares(topologies.matrix("PIX", *["0-23"] * 8), range(8), range(24)) == [
        f"{first}-{first + 2}" for first in range(0, 24, 3)]


def test_what_was_chosen_is_told():
    found, how = choose_cores(topologies.PAIRS, [0, 1], range(192))
    assert found == [block(144, 155), block(156, 167)] and how == "near the device (npu-smi info -t topo)"
    found, how = choose_cores(topologies.PAIRS, [0, 8], range(192))
    assert found == [block(0, 95), block(96, 191)] and how.startswith("an equal share: ") and "not give enough" in how
    assert choose_cores("", [0, 1], range(4)) == (
        [(0, 1), (2, 3)], "an equal share: npu-smi info -t topo names no cores")


@pytest.mark.parametrize("script, output", [("echo found", "found\n"), ("echo found; exit 1", ""), (None, "")])
def test_the_tool_of_the_driver_may_fail_or_be_missing(tmp_path, monkeypatch, script, output):
    if script:
        (tmp_path / "npu-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "npu-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert read_topology() == output


def test_a_tool_that_hangs_is_not_waited_for(monkeypatch):
    def run(*words, timeout, **options):
        raise cores.subprocess.TimeoutExpired(words, timeout)
    monkeypatch.setattr(cores.subprocess, "run", run)
    assert read_topology() == ""


@pytest.mark.parametrize("numbers, text", [((), "all"), ((3,), "3"), ((0, 1, 2, 8, 10, 11), "0-2,8,10-11")])
def test_short_texts_of_cores(numbers, text):
    assert ranges(numbers) == text
