"""The first day on a card: parsers of what the commands find, and the comparison with golden numbers."""
import math

import numpy as np
import pytest

from tools.first_day.environment import cann_version, chips, driver_version, nodes
from tools.first_day.golden import compare, limit, summary
from tools.first_day.operators import CPU_TYPES, KERNEL_DETAILS, OP_SUMMARY, Operator, by_engine, parse, read_profile
from tools.first_day.prepare import first_images, padded

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
    assert found[1] == Operator("Conv2D", "AI_CORE", 1.0, pytest.approx(1.00025))
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
