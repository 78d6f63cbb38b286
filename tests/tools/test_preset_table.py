"""The table of all presets' ONNX files."""
import pytest
from tiny_model import tiny_config

from centernet.runtimes.onnx_session import has_deform_conv
from tools.preset_table import HEADER, PRECISIONS, main, rows

pytest.importorskip("onnx", reason="onnx is not installed (requirements-onnx.txt)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (requirements-onnx.txt)")

LARGEST_ERROR = {"fp32": 1e-4, "fp16": 5e-3, "int8": 0.3}


@pytest.mark.slow
def test_rows_have_every_form_and_precision(tmp_path):
    found = [[cell.strip() for cell in row.strip("|").split("|")]
             for row in rows(tiny_config(tmp_path, neck="deform"), (64, 64), PRECISIONS)]
    forms = ["native", "gather"] if has_deform_conv() else ["gather"]
    assert [row[:3] for row in found] == [["tiny", form, precision] for form in forms for precision in PRECISIONS]
    assert all(len(row) == HEADER.splitlines()[0].count("|") - 1 for row in found)
    for form in forms:
        sizes = [float(row[5]) for row in found if row[1] == form]
        assert 0 < sizes[2] < sizes[1] < sizes[0]
    for *_, precision, nodes, opset, _, error in found:
        assert int(nodes) > 30 and int(opset) >= 17
        assert 0 < float(error) < LARGEST_ERROR[precision]


@pytest.mark.parametrize("words, message", [(["none.yaml"], "none.yaml is neither a file nor a preset"),
                                            pytest.param(["configs/official_hourglass.yaml", "--input_res", "96", "96"],
                                                         "128", marks=pytest.mark.slow),
                                            (["official_hourglass", "--input_res", "96", "96"], "128")])
def test_a_preset_that_cannot_be_measured_is_named(words, message, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["official_dla34", "official_hourglass", "official_resdcn50"])
def test_large_presets(preset, capsys):
    assert main([f"configs/{preset}.yaml", "--precisions", *PRECISIONS]) == 0
    assert f"| {preset} |" in capsys.readouterr().out
