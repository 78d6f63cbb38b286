import os
from pathlib import Path

import mindspore as ms
import pytest

from centernet import device
from centernet.config.load import load_config
from centernet.device import choose_device, set_up_compilation, set_up_device, set_up_group
from centernet.errors import UserError
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


@pytest.mark.fault("--device_target Ascend without an Ascend device", "this machine, and messages of MindSpore",
                   "an error that says what is missing and how devices count")
@pytest.mark.parametrize("number, error", [(0, None), (-1, ValueError("The device id must bigger than or equal to 0.")),
                                           (9, RuntimeError("Invalid device_id 9.\n---\nC++ Call Stack: x.cc:1"))])
def test_a_missing_device_is_told(monkeypatch, number, error):
    if error:
        monkeypatch.setattr(ms, "set_device", refusal(error))
    elif any(Path("/dev").glob("davinci[0-9]*")):
        pytest.skip("there is an Ascend device")
    with pytest.raises(UserError, match=f"there is no device for --device_target Ascend --device_id {number}. .* use "
                                        "--device_target CPU. Message of MindSpore: ") as told:
        choose_device("Ascend", number)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("text, advice", [
    ("The 'mindspore.set_device' can not be modified.", "A process keeps its first device: start another process"),
    ("The runtime has been initialized", "A process keeps its first device"),
    ("out of memory\n---\nC++ Call Stack: x.cc:1", "MindSpore's log says more: set GLOG_v=1"), ("", "MindSpore's log")])
def test_another_error_of_mindspore_is_no_missing_device(monkeypatch, text, advice):
    monkeypatch.setattr(ms, "set_device", refusal(RuntimeError(text)))
    with pytest.raises(UserError) as told:
        choose_device("Ascend", 1)
    first = text.partition("\n")[0].rstrip(".")
    assert str(told.value).startswith("MindSpore cannot set --device_target Ascend --device_id 1: "
                                      f"{first}. {advice}") and "no device" not in str(told.value)


def refusal(error):
    def refuse(*_):
        raise error
    return refuse
