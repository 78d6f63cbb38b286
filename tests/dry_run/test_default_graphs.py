"""The default network and the newer recipe compile for Ascend: each operator of their graphs has a kernel there."""
from pathlib import Path

import pytest
from operators import GOLDEN, GRAPHS, golden, kernels

from tools.dry_run import dry_environment, dry_run

PROGRAMS = Path(__file__).with_name("programs.py")


@pytest.mark.parametrize("graph", [pytest.param(name, marks=[pytest.mark.slow] if "plus" in name else [])
                                   for name in GRAPHS])
def test_operators_and_kinds_of_kernels_are_those_of_the_list(graph, compiled):
    done = compiled(graph)
    assert done.returncode == 0, done.stderr
    assert not done.stderr and "simulated peak memory: " in done.stdout
    found = set(kernels(done.stdout))
    assert len(found) > 20 and {kind for _, kind in found} <= {"aclnn", "aclop", "runtime", "view"}
    if golden() is None:
        pytest.skip(f"the list is that of {GOLDEN.read_text().splitlines()[0]}")
    # After a wanted change: python tests/dry_run/operators.py
    assert found == golden()[graph]


@pytest.fixture
def run_program(cann, tmp_path, monkeypatch):
    """The report of a dry run of programs.py."""
    monkeypatch.setenv("ASCEND_HOME_PATH", str(cann))
    monkeypatch.chdir(tmp_path)

    def run(name, **variables):
        return dry_run([str(PROGRAMS), name], {**dry_environment(tmp_path), **variables}, tmp_path / "log")
    return run


def test_eight_devices_level_o1_and_the_first_chip(run_program):
    report = run_program("eight_devices", RANK_SIZE="8", RANK_ID="0", MS_SUBMODULE_LOG_v="{DEVICE:1,ANALYZER:2}")
    assert report.status == 0, report.messages
    assert report.kernels["AllReduce", "hccl"] == 1, "one message for all values"
    assert report.kernels["AllFinite", "aclnn"] == 1
    assert [kind for name, kind in report.kernels if name.startswith("GraphKernel_")] == ["fused"]
    assert report.kernels["NPUGetFloatStatusV2", "aclop"] == report.kernels["NPUClearFloatStatusV2", "aclop"] == 1
    assert "Some side effect nodes were eliminated" not in report.log


def test_an_operator_without_a_kernel_is_found(run_program):
    """Otherwise the other tests would prove nothing."""
    report = run_program("median")
    assert report.status == 1
    assert report.without_kernel == ("Default/Median",)
