"""The first day on a card: the order of the settings, and which one is recommended."""
import math
from dataclasses import replace

import pytest

from tools.first_day.parts import measured_of
from tools.first_day.settings import (
    BASE,
    SINGLE,
    VALUES,
    Measured,
    Setting,
    deviation,
    measure,
    next_setting,
    possible,
    recommended,
)
from tools.first_day.task import FAILED, PASSED, TIMED_OUT, Outcome

DEFAULT = BASE["Ascend"]
HALF, WHOLE = DEFAULT._replace(amp="float16"), DEFAULT._replace(jit_level="O2")


def trained(speed, loss=2.0, steps=30):
    return Measured(speed, (loss,) * steps, 0, 1.0)


def order(device_target, speeds, number):
    """The first settings that are measured if each has the speed that speeds(setting) tells."""
    measured = {}
    for _ in range(number):
        setting = next_setting(measured, device_target)
        measured[setting] = trained(speeds(setting))
    return list(measured)


# Plan of the settings

def test_the_default_comes_first_then_one_change_at_a_time():
    found = order("Ascend", lambda setting: 10.0, 8)
    assert found[0] == DEFAULT and found[1:3] == [HALF, WHOLE]
    assert all(sum(a != b for a, b in zip(setting, DEFAULT)) == 1 for setting in found[1:])
    assert {factor for factor, _ in SINGLE} == set(VALUES) == set(Setting._fields)


def test_combinations_of_what_was_fast_alone_come_next_and_of_what_failed_last():
    factors = {"float16": 2.0, "O2": 1.5, "native": 0.0, "host": 0.9}

    def speeds(setting):
        return 10 * math.prod(factors.get(value, 1.0) for value in setting)
    found = order("Ascend", speeds, len(possible("Ascend")))
    assert found[8] == Setting("O2", "float16", "gather", "device")
    assert len(set(found)) == len(found) == 48
    natives = [index for index, setting in enumerate(found[8:]) if setting.deform_op == "native"]
    assert natives == list(range(40 - len(natives), 40))


def test_all_settings_are_measured_even_if_the_default_fails():
    assert len(order("CPU", lambda setting: 0.0, 32)) == 32
    assert next_setting(dict.fromkeys(possible("CPU"), trained(1)), "CPU") is None
    assert not any(setting.amp == "bfloat16" for setting in possible("CPU"))


def test_flags_of_a_setting_are_flags_of_a_training():
    from centernet.config.load import load_config
    for setting in order("Ascend", lambda setting: 10.0, 8):
        config = load_config("train", setting.flags(), "")
        train = config.train_config
        assert (config.jit_level, config.net_config.deform_op) == (setting.jit_level, setting.deform_op)
        assert (train.amp_type if train.amp_level == "O2" else "float32") == setting.amp
        assert config.dataset_config.heatmap_on_device == (setting.heatmap == "device")


# Results of trainings

def row(loss, speed, overflow=False):
    return {"kind": "step", "loss": loss, "images_per_second": speed, "overflow": overflow}


def test_steps_and_first_step_of_a_training():
    rows = [row(4.0, None), row(None, 1.0, True), row(3.0, 1.0), row(2.0, 8.0), row(2.0, 10.0), row(1.0, 90.0)]
    found = measure(rows, "x\nfirst step (with compilation) took 12.5 s\n")
    assert (found.speed, found.skipped, found.first_step) == (10.0, 1, 12.5)
    assert found.losses[0] == 4.0 and math.isnan(found.losses[1]) and len(found.losses) == 6
    assert measure([], "Traceback") == Measured(0.0, (), 0, 0.0)


@pytest.mark.parametrize("others, best", [
    ({HALF: trained(20)}, HALF), ({HALF: trained(20, 2.03)}, HALF), ({HALF: trained(20, 2.05)}, DEFAULT),
    ({HALF: trained(20, 1.95)}, DEFAULT), ({HALF: trained(20, math.nan)}, DEFAULT), ({HALF: trained(9)}, DEFAULT),
    ({HALF: trained(20, steps=3)}, DEFAULT), ({HALF: trained(20, steps=10), WHOLE: trained(15)}, HALF),
    ({HALF: Measured(0.0, (), 0, 0.0)}, DEFAULT)])
def test_the_fastest_setting_with_the_losses_of_float32_is_recommended(others, best):
    assert recommended({DEFAULT: trained(10), **others}, DEFAULT) == best


def test_without_losses_of_the_default_nothing_is_recommended():
    assert recommended({HALF: trained(20)}, DEFAULT) is None
    assert recommended({HALF: trained(20), DEFAULT: Measured(0.0, (), 0, 0.0)}, DEFAULT) is None
    assert recommended({HALF: trained(20), DEFAULT: trained(10, steps=2)}, DEFAULT) is None, "two steps prove nothing"
    assert recommended({HALF: replace(trained(20), skipped=9), DEFAULT: trained(10)}, DEFAULT) == DEFAULT
    assert deviation(trained(1, 2.1, 4), trained(1, 2.0, 30)) == pytest.approx(0.05)


def test_a_failed_training_has_no_speed():
    values = {"speed": 5.0, "losses": [1.0], "skipped": 0, "first_step": 1.0}
    assert measured_of(Outcome("settings", "a", FAILED, values=values)).speed == 0
    assert measured_of(Outcome("settings", "a", TIMED_OUT, values=values)).speed == 5.0
    assert measured_of(Outcome("settings", "a", PASSED, values=values), dry_run=True).speed == 1.0
