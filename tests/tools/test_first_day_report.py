"""The first day on a card: its report, also of failures, a dry run and an interrupted run."""
import json
import math
from dataclasses import asdict

import pytest

from tools.first_day.operators import Operator
from tools.first_day.parts import Day
from tools.first_day.report import finite, write_report
from tools.first_day.settings import BASE, Measured
from tools.first_day.task import FAILED, INTERRUPTED, PASSED, Outcome, Task, skipped

TRAINED, FASTER = Measured(10.0, (2.0,) * 30, 0, 1.0), Measured(15.0, (2.01,) * 30, 0, 1.0)


@pytest.fixture
def day(tmp_path):
    return Day("CPU", 0, 0, "small", "", False, tmp_path / "out")


def filled(day):
    def values(one):
        return {"speed": one.speed, "losses": list(one.losses), "skipped": one.skipped, "first_step": one.first_step}
    base = BASE[day.device_target]
    day.out.mkdir()
    day.outcomes = [
        Outcome("environment", "versions", PASSED, seconds=1, command="x", log=str(day.out / "environment/log.txt"),
                values={"rows": [["CANN", "8.5 | beta"]]}),
        Outcome("golden", "float32", FAILED, "status 1: a | b", 2, "x", values={
            "rows": [["small", "hm", 0.5, 1.0, 0.1], ["small", "gradient neck.0 (the worst)", math.inf, 1.0, 0.1]]}),
        Outcome("golden", "float16", PASSED, "", 2, "x", values={"rows": [["small", "hm", 0.01, 1.0, 0.1]]}),
        Outcome("operators", "float32", PASSED, "", 2, "x", values={"source": "kernel_details.csv", "engines": {
            "AI_CPU": 3.0, "AI_CORE": 1.0}, "operators": [asdict(Operator("A", "AI_CPU", 2, 3.0)),
                                                          asdict(Operator("B", "AI_CORE", 1, 1.0))]}),
        Outcome("settings", str(base), PASSED, "", 2, "x", values=values(TRAINED)),
        Outcome("settings", str(base._replace(jit_level="O1")), PASSED, "", 2, "x", values=values(FASTER)),
        Outcome("settings", str(base._replace(amp="float16")), FAILED, "status 1", 2, "x"),
        skipped(Task("export", "C++ program", skip="no Lite"))]
    return base


def test_the_report_has_the_setting_what_failed_and_the_tables(day):
    base = filled(day)
    path = write_report(day, 5, 60, False)
    text, data = path.read_text(), json.loads((day.out / "first_day.json").read_text())
    best = base._replace(jit_level="O1")
    assert f"Recommended setting: **{best}**, 15.0 images/s, 1.50 times" in text and " ".join(best.flags()) in text
    assert data["recommended"]["setting"]["jit_level"] == "O1" and len(data["outcomes"]) == 8
    assert "**Made on a CPU**" in text and "first_day.sh" not in text
    failures = [line for line in text.splitlines() if line.startswith("  - ")]
    assert failures == ["  - golden, float32: failed: status 1: a \\| b", f"  - settings, "
                        f"{base._replace(amp='float16')}: failed: status 1"]
    assert "| small | hm | **5.0e-01 (1.0e+00)**, allowed 1e-01 | 1.0e-02 (1.0e+00) |" in text
    assert "| CANN | 8.5 \\| beta |" in text and "On the AI CPU: A." in text
    assert "| A | AI_CPU | 2 | 3.00 | 75.0% |" in text
    assert "| O1 | float32 | native | device | 15.0 | 1.50 | +0.50% | 30 | 0 | 1.0 |" in text
    assert "| auto | float16 | native | device | - | - | - | 0 | 0 | - |" in text
    assert "| export | C++ program | skipped: no Lite |" in text
    assert data["outcomes"][1]["values"]["rows"][1][2] is None


def test_the_report_of_a_dry_run_compares_nothing(day):
    filled(day)
    day.device_target, day.dry_run = "Ascend", True
    day.outcomes[0].values.update(kernels=12, peak=34)
    text = write_report(day, 5, 60, False).read_text()
    assert "**A dry run**" in text and "No setting is recommended: a dry run" in text and "images/s |" not in text
    assert "| environment | versions | 12 | 34 |" in text


def test_the_report_of_an_interrupted_run(day):
    day.out.mkdir()
    day.outcomes = [Outcome("golden", "float32", INTERRUPTED, "interrupted", 1, "x")]
    text = write_report(day, 5, 60, True).read_text()
    assert "**interrupted**" in text and "No setting is recommended" in text
    assert finite({"a": [math.nan, (math.inf, 1.0)]}) == {"a": [None, [None, 1.0]]}
