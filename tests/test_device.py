import os

import mindspore as ms
import pytest

from centernet import device
from centernet.config.load import load_config
from centernet.device import set_up_compilation, set_up_device, set_up_group
from centernet.group import Group


def test_the_compiler_cache_is_warned_of(monkeypatch, caplog):
    set_up_device("CPU", 0, seed=1)
    assert not caplog.records
    monkeypatch.setenv("MS_COMPILER_CACHE_ENABLE", "1")
    set_up_device("CPU", 0, seed=1)
    assert "MS_COMPILER_CACHE_ENABLE is set" in caplog.text


def chosen(*flags):
    return load_config("train", ["--device_target", "CPU", *flags], "")


@pytest.fixture
def calls(monkeypatch):
    """Calls of MindSpore's global settings, which could not be taken back."""
    found = []
    monkeypatch.setattr(ms, "set_context", lambda **options: found.append(options))
    monkeypatch.setattr(ms, "set_deterministic", found.append)
    for setting in (device._set_deterministic, device._forbid_hf32):
        setting.cache_clear()
    yield found
    for setting in (device._set_deterministic, device._forbid_hf32):
        setting.cache_clear()


@pytest.mark.parametrize("before, after", [(None, "true"), ("false", "true"), ("strict", "strict")])
def test_level_and_determinism_are_set_once_and_logged(monkeypatch, caplog, calls, before, after):
    monkeypatch.setenv("HCCL_DETERMINISTIC", before or "")
    if before is None:
        del os.environ["HCCL_DETERMINISTIC"]
    with caplog.at_level("INFO", "centernet"):
        set_up_compilation(chosen("--jit_level", "O1", "--deterministic", "true"))
        set_up_compilation(chosen("--deterministic", "true"))  # MindSpore does not accept a second set_deterministic
    assert calls == [{"jit_config": {"jit_level": "O1"}}, True] and os.environ["HCCL_DETERMINISTIC"] == after
    assert [record.getMessage() for record in caplog.records] == [
        "jit_level: O1, deterministic: true, exact_fp32: false",
        "jit_level: auto, deterministic: true, exact_fp32: false"]


def test_hf32_is_forbidden_on_ascend_alone(monkeypatch, calls):
    from mindspore.device_context.ascend import op_precision
    for name in ("conv_allow_hf32", "matmul_allow_hf32"):
        monkeypatch.setattr(op_precision, name, lambda value, name=name: calls.append((name, value)))
    set_up_compilation(chosen("--exact_fp32", "true"))
    assert not calls
    for _ in range(2):
        set_up_compilation(chosen("--exact_fp32", "true", "--device_target", "Ascend"))
    assert calls == [("conv_allow_hf32", False), ("matmul_allow_hf32", False)]


def test_the_defaults_leave_the_choice_to_mindspore(monkeypatch, caplog, calls):
    monkeypatch.delenv("HCCL_DETERMINISTIC", raising=False)
    with caplog.at_level("INFO", "centernet"):
        set_up_compilation(chosen())
    assert not calls and not caplog.records and "HCCL_DETERMINISTIC" not in os.environ


def test_determinism_is_set_before_the_group_forms(monkeypatch):
    order = []
    monkeypatch.setattr(device, "set_up_device", lambda *_: order.append("device"))
    monkeypatch.setattr(device, "set_up_compilation", lambda config: order.append(config.jit_level))
    monkeypatch.setattr(device, "join_group", lambda *_: order.append("group") or Group())
    for entry in ("train", "eval"):
        set_up_group(load_config(entry, ["--jit_level", "O2", "--deterministic", "true"], ""))
    assert order == ["device", "O2", "group"] * 2
