"""The first day on a card: its plan, its parsers, its choice and its report. test_first_day_run.py runs it."""
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tools.first_day.environment import cann_version, chips, driver_version, nodes
from tools.first_day.golden import compare, limit, summary
from tools.first_day.operators import CPU_TYPES, KERNEL_DETAILS, OP_SUMMARY, Operator, by_engine, parse, read_profile
from tools.first_day.parts import PARTS, Day, chain_reason, group_tasks, measured_of, read_evaluation, seconds_of
from tools.first_day.prepare import first_images, padded
from tools.first_day.report import finite, write_report
from tools.first_day.run import chosen_parts, main, make_day, run_part
from tools.first_day.run import parse as parse_words
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
from tools.first_day.task import FAILED, INTERRUPTED, PASSED, SKIPPED, TIMED_OUT, Outcome, Task, skipped

SCRIPT = Path(__file__).parents[2] / "scripts" / "first_day_ascend.sh"
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
    assert deviation(trained(1, 2.1, 4), trained(1, 2.0, 30)) == pytest.approx(0.05)


def test_a_failed_training_has_no_speed():
    values = {"speed": 5.0, "losses": [1.0], "skipped": 0, "first_step": 1.0}
    assert measured_of(Outcome("settings", "a", FAILED, values=values)).speed == 0
    assert measured_of(Outcome("settings", "a", TIMED_OUT, values=values)).speed == 5.0
    assert measured_of(Outcome("settings", "a", PASSED, values=values), dry_run=True).speed == 1.0


# Profiles

DETAILS = """Step ID,Name,Type,Accelerator Core,Start Time(us),Duration(us),Wait Time(us)
1,a/Conv2D1,Conv2D,AI_CORE,1\t,1500.5\t,0
1,b,DeformableOffsets,AI_CPU,2,4000,0
2,a/Conv2D1,Conv2D,AI_CORE,3,500,0
2,c,Cast,AI_VECTOR_CORE,3,N/A,0
"""


def test_operators_of_mindspores_table():
    found = parse(DETAILS, KERNEL_DETAILS)
    assert found[0] == Operator("DeformableOffsets", "AI_CPU", 0.5, 2.0)
    assert found[1][:3] == ("Conv2D", "AI_CORE", 1.0) and found[1].ms == pytest.approx(1.00025)
    assert found[2] == Operator("Cast", "AI_VECTOR_CORE", 0.5, 0.0)
    assert by_engine(found)["AI_CPU"] == 2.0


def test_operators_of_canns_table_and_of_a_cpu():
    cann = "Op Name,OP Type,Task Type,Task Duration(us)\na,MatMul,AI_CORE,10\n"
    assert parse(cann, OP_SUMMARY) == [Operator("MatMul", "AI_CORE", 0.5, 0.005)]
    cpu = "op_type,type_occurrences,total_compute_time,avg_time(ms)\nConv2D,54,100.0,1.85\n"
    assert parse(cpu, CPU_TYPES) == [Operator("Conv2D", "CPU", 27.0, 50.0)]


def test_a_profile_without_a_table_says_what_is_there(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "trace_view.json").write_text("[]")
    rows, message = read_profile(tmp_path)
    assert rows == [] and "kernel_details.csv" in message and message.endswith("it wrote trace_view.json")
    (tmp_path / "deep" / "kernel_details.csv").write_text(DETAILS)
    rows, source = read_profile(tmp_path)
    assert len(rows) == 3 and source == "kernel_details.csv"
    with pytest.raises(ValueError, match="no column Type, Duration"):
        parse("Name,Accelerator Core\n", KERNEL_DETAILS)


# Golden numbers

def fingerprints(change=0.0):
    from tools.first_day.golden_run import fingerprint
    random = np.random.default_rng(0)
    values, noise = random.normal(size=(2, 50, 40)).astype(np.float32)
    return fingerprint({"a": values + np.float32(change) * noise, "b": values[:5]})


def test_differences_of_golden_numbers_are_those_of_the_arrays():
    stored = {"hm": fingerprints(), "losses": [2.0, -4.0], "gradient x": fingerprints()}
    assert [row[1:] for row in compare(stored, stored)] == [(0.0, 0.0)] * 3
    found = {"hm": fingerprints(0.01), "losses": [2.0, -4.1], "gradient x": fingerprints(0.1)}
    rows = {name: relative for name, relative, _ in compare(stored, found)}
    assert 0.005 < rows["hm"] < 0.02 and 0.05 < rows["gradient x"] < 0.2
    assert rows["losses"] == pytest.approx(0.025)


def test_what_is_missing_or_not_finite_differs_in_any_case():
    stored = {"hm": fingerprints(), "losses": [1.0]}
    broken = {"norm": math.nan, "projections": [math.nan] * 8, "samples": [math.nan] * 16}
    for found in ({"losses": [math.nan], "hm": broken}, {}):
        assert all(row[1] == math.inf for row in compare(stored, found))


def test_limits_and_the_worst_gradient():
    rows = [("hm", 0.1, 0.1), ("gradient a", 0.2, 0.1), ("gradient b", math.inf, math.inf)]
    assert summary(rows) == [("hm", 0.1, 0.1), ("gradient b (the worst)", math.inf, math.inf)]
    assert limit("float32", "CPU", "hm") < limit("exact_fp32", "Ascend", "hm") < limit("float16", "CPU", "hm")
    assert limit("bfloat16", "Ascend", "gradient a") > limit("bfloat16", "Ascend", "losses")


# Machine

def test_versions_from_the_files_of_cann_and_the_driver(tmp_path):
    assert cann_version(str(tmp_path)) == driver_version(tmp_path / "version.info") == "not found"
    (tmp_path / "version.cfg").write_text("# version: 1.0\nruntime_running_version=[7.6.0.1:8.2.RC1]\n")
    assert cann_version(str(tmp_path)).startswith("7.6.0.1:8.2.RC1 (")
    (tmp_path / "compiler").mkdir()
    (tmp_path / "compiler" / "version.info").write_text("Version=8.5.0\nversion_dir=8.5.0\n")
    assert cann_version(str(tmp_path)).startswith("8.5.0 (")
    (tmp_path / "version.info").write_text("Version=25.5.0\nascendhal_version=7\n")
    assert driver_version(tmp_path / "version.info") == "25.5.0"


def test_chips_and_nodes(tmp_path):
    table = "| NPU   Name | Health |\n| 0     910B3     | OK   | 91.2  |\n| 1     910B3 | OK   |\n| 0  310P3 | OK |\n"
    assert chips(table) == "2 x 910B3, 1 x 310P3"
    assert chips("") == nodes(tmp_path) == "not found"
    for number, cores in ((0, "0-23"), (10, "24-47")):
        (tmp_path / f"node{number}").mkdir()
        (tmp_path / f"node{number}" / "cpulist").write_text(f"{cores}\n")
    assert nodes(tmp_path) == "node0: 0-23; node10: 24-47"


# Data

def test_generated_data_has_as_many_categories_as_coco():
    assert [row["id"] for row in padded([{"id": 1, "name": "disc"}], ("a", "b", "c"))] == [1, 2, 3]


def test_the_first_images_with_boxes():
    document = {"images": [{"id": 1}, {"id": 2}, {"id": 3}], "categories": [1],
                "annotations": [{"image_id": 2}, {"image_id": 3}, {"image_id": 3}]}
    assert first_images(document, 1) == {"images": [{"id": 2}], "categories": [1], "annotations": [{"image_id": 2}]}


# Time and commands

def test_shares_of_the_time_roll_over():
    assert sum(part.share for part in PARTS) == 100
    golden = next(part for part in PARTS if part.name == "golden")
    later = PARTS[PARTS.index(golden) + 1:]
    assert seconds_of(golden, later, 900) > 0.25 * 900, "the parts before have left their rest"
    assert seconds_of(PARTS[-1], (), 60) == 60 and seconds_of(golden, later, -5) == 0


@pytest.fixture
def day(tmp_path):
    return Day("CPU", 0, 0, "small", "", False, tmp_path / "out")


def run_apart(words, folder, seconds=5.0):
    """The outcome of a command that run_task runs, and what still ran afterwards.

    In a process of its own, because run_task ends all descendants of the process that calls it.
    """
    code = ("import dataclasses, json, os, sys; from pathlib import Path; "
            "from tools.first_day.task import Task, run_task; "
            "from centernet.jobs.launch.processes import adopt_orphans, descendants; "
            "adopt_orphans(); words, folder, seconds = json.loads(sys.argv[1]); "
            "read = lambda folder, log: {'log': float(log) if log.startswith('number') else log.strip()}; "
            "one = run_task(Task('a', 'b', tuple(words), read=read), Path(folder), os.environ, seconds); "
            "print(json.dumps([dataclasses.asdict(one), descendants(os.getpid())]))")
    done = subprocess.run([sys.executable, "-c", code, json.dumps([words, str(folder), seconds])], check=True,
                          capture_output=True, text=True)
    outcome, running = json.loads(done.stdout)
    return Outcome(**outcome), running


@pytest.mark.parametrize("code, status, reason", [
    ("print('fine')", PASSED, ""), ("print('number?')", FAILED, "its results cannot be read: could not convert"),
    ("import sys; print('error: no card'); sys.exit(3)", FAILED, "status 3: error: no card"),
    ("import os; os.abort()", FAILED, "ended by signal 6"), ("import time; time.sleep(60)", TIMED_OUT, "its share"),
    ("import subprocess as s; s.run(['sleep', '60'], start_new_session=True)", TIMED_OUT, "its share")])
def test_a_command_that_ends_in_any_way(tmp_path, code, status, reason):
    outcome, running = run_apart([sys.executable, "-S", "-c", code], tmp_path / "a", 0.5 if status == TIMED_OUT else 5)
    assert (outcome.status, running) == (status, []) and reason in outcome.reason, outcome
    assert outcome.command.startswith(f"cd {tmp_path}/a && ") and code[:6] in outcome.command
    assert (tmp_path / "a" / "log.txt").exists() and outcome.seconds < 5
    assert outcome.values == ({"log": "fine"} if status == PASSED else outcome.values)


def test_a_program_that_is_missing(tmp_path):
    assert "could not be started" in run_apart(["/no/such"], tmp_path)[0].reason


def test_a_part_goes_on_after_a_failure_and_ends_with_its_time(day, monkeypatch):
    clock, limits, took = [0.0], [], iter([(FAILED, 1.0), (PASSED, 10.0), (TIMED_OUT, 80.0)])

    def run_one(day, environments, task, seconds):
        status, spent = next(took)
        limits.append(seconds)
        clock[0] += spent
        return Outcome(task.part, task.name, status, seconds=spent, command="x")
    monkeypatch.setattr("tools.first_day.run.run_one", run_one)
    monkeypatch.setattr("tools.first_day.run.time", SimpleNamespace(monotonic=lambda: clock[0]))
    tasks = [Task("golden", name, ("x",)) for name in "abcde"]
    run_part(day, None, PARTS[2]._replace(tasks=lambda _: iter(tasks), each=0.8), 98.0)
    assert [one.status for one in day.outcomes] == [FAILED, PASSED, TIMED_OUT, SKIPPED]
    assert day.outcomes[3].name == "d, and what follows" and day.outcomes[3].reason == "the part's time was over"
    assert limits == [pytest.approx(78.4), pytest.approx(78.4), pytest.approx(78.4)]


def test_ctrl_c_ends_the_command_and_the_report_is_written(tmp_path):
    process = subprocess.Popen(["bash", str(SCRIPT), "--device_target", "CPU", "--only", "environment", "golden",
                                "--out", str(tmp_path / "out")], stdout=subprocess.PIPE, text=True, cwd=tmp_path,
                               env={**os.environ, "PYTHON": sys.executable}, start_new_session=True)
    while "Environment" not in process.stdout.readline():
        pass
    while not (tmp_path / "out" / "environment" / "versions" / "log.txt").exists():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in printed and "Golden" not in printed
    assert "**interrupted**" in (tmp_path / "out" / "first_day.md").read_text()


def test_what_needs_several_devices_or_lite_is_skipped_with_a_reason(day):
    assert [task.skip for task in group_tasks(day)] == ["a CPU has no group of devices"]
    day.device_target, day.devices = "Ascend", 1
    assert [task.skip for task in group_tasks(day)] == ["this process sees 1 device"]
    day.devices = 8
    day.outcomes.append(Outcome("prepare", "data", PASSED))
    assert [(task.name, task.skip) for task in group_tasks(day)] == [("2 devices", ""), ("8 devices", "")]
    assert "MS_LITE_HOME" in chain_reason(day, {}) and "export" in chain_reason(day, {"MS_LITE_HOME": "x"})
    day.device_target = "CPU"
    assert "CENTERNET_LITE" in chain_reason(day, {"MS_LITE_HOME": "x"})
    assert chain_reason(day, {"MS_LITE_HOME": "x", "CENTERNET_LITE": "y"}) == ""


def test_log_of_an_evaluation():
    log = ("processed 6 of 64 images, 3.0 images/s\nprocessed 64 of 64 images, 12.5 images/s\n"
           "input sizes compiled: 3, with their first runs 40.2 s; compiled before: 0\n")
    assert read_evaluation(None, log) == {"speed": 12.5, "sizes": 3, "first_runs": 40.2}


# Command line

@pytest.mark.parametrize("words, message", [
    (["--minutes", "0"], "--minutes 0"), (["--device_id", "-1"], "--device_id -1"),
    (["--device_target", "Ascend", "--device_id", "99"], "sees 0 Ascend devices"),
    (["--device_target", "CPU", "--dry_run"], "leave out --device_target CPU"),
    (["--device_target", "CPU", "--data", "/no/such/coco"], "/no/such/coco"),
    (["--device_target", "CPU", "--out", "."], "is not empty")])
def test_wrong_flags(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tools.first_day.run.seen_devices", lambda: ())
    (tmp_path / "file").touch()
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and message in captured.err and not captured.out
    assert captured.err.count("\n") == 1


def test_defaults_depend_on_the_device(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tools.first_day.run.seen_devices", lambda: (4, 5))
    monkeypatch.delenv("DEVICE_TARGET", raising=False)
    day = make_day(parse_words(["--out", "a"]))
    assert (day.device_target, day.devices, day.size) == ("Ascend", 2, "full")
    monkeypatch.setenv("DEVICE_TARGET", "CPU")
    assert (make_day(parse_words(["--out", "b"])).device_target, day.dry_run) == ("CPU", False)
    monkeypatch.setenv("MS_SIMULATION_LEVEL", "1")
    day = make_day(parse_words(["--out", "c"]))
    assert (day.device_target, day.dry_run, day.size) == ("Ascend", True, "small")


def test_parts_that_need_data_bring_its_preparation():
    assert [part.name for part in chosen_parts(["evaluation"])] == ["prepare", "evaluation"]
    assert [part.name for part in chosen_parts(["golden"])] == ["golden"] and chosen_parts(None) == list(PARTS)


# Report

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
            "AI_CPU": 3.0, "AI_CORE": 1.0}, "operators": [Operator("A", "AI_CPU", 2, 3.0)._asdict(),
                                                          Operator("B", "AI_CORE", 1, 1.0)._asdict()]}),
        Outcome("settings", str(base), PASSED, "", 2, "x", values=values(trained(10))),
        Outcome("settings", str(base._replace(jit_level="O1")), PASSED, "", 2, "x", values=values(trained(15, 2.01))),
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
