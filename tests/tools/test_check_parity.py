"""tools/check_parity.py: its verdicts and messages; the slow tests are what we promise of converted weights."""
import shutil

import pytest

from centernet.weights.name_maps import SOURCES
from tests.conftest import GOLDEN
from tools import check_parity
from tools.golden_archive import PRESET_OF

FINE, BAD = {"hm": 1e-5, "wh": 2e-5, "reg": 3e-5}, {"hm": 1e-5, "wh": float("nan"), "reg": 2e-4}


def run(capsys, *arguments):
    """Exit status and the lines of standard output and of standard error."""
    status = check_parity.main([*map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out.splitlines(), printed.err


def test_errors_that_are_not_allowed_are_bold_and_end_with_status_1(monkeypatch, capsys):
    rows = {"res_18": [("", FINE, FINE)], "resdcn_18": [("native", FINE, FINE), ("gather", FINE, BAD)],
            "res_50": [("", FINE, FINE)]}
    monkeypatch.setattr(check_parity, "measure", lambda name, golden, work: rows[name])
    status, lines, _ = run(capsys, "res_18")
    assert status == 0
    assert lines[2:] == ["| res_18 | official_res18 |  | 1.0e-05 2.0e-05 3.0e-05 | 1.0e-05 2.0e-05 3.0e-05 | 1e-04 |"]
    status, lines, _ = run(capsys, "res_18", "resdcn_18", "res_50")
    assert status == 1 and lines[4] == ("| resdcn_18 | official_resdcn18 | gather | 1.0e-05 2.0e-05 3.0e-05 | "
                                        "1.0e-05 **nan** **2.0e-04** | 1e-04 |")


def test_changed_tensors_end_with_status_1(monkeypatch, capsys):
    monkeypatch.setattr(check_parity, "round_trip", lambda source, preset, *_: (185, preset != "official_dla34"))
    status, lines, _ = run(capsys, "--round_trip", "dla")
    assert status == 1
    assert lines[2:] == ["| dla | official_dla34 | 185 | 12 | **changed** |",
                         "| dla | official_dlav0_34 | 185 | 12 | bit-identical |"]


def test_every_source_has_a_round_trip():
    assert {source for source, *_ in check_parity.cases()} == set(SOURCES)


@pytest.mark.parametrize("arguments, words", [
    (["res18"], "error: there is no golden network 'res18'; there are res_18, res_50, "),
    (["--round_trip", "caffe"], "error: there is no source 'caffe'; there are official, mmdet, "),
    (["res_18", "--golden", "absent"], "error: golden archive absent/res_18.json: there is no such file. Give its ")])
def test_mistakes(capsys, arguments, words):
    status, lines, message = run(capsys, *arguments)
    assert status == 2 and not lines and message.startswith(words)


def test_archives_are_looked_for_where_the_environment_says(monkeypatch, capsys, tmp_path):
    (tmp_path / "golden").mkdir()
    shutil.copy(GOLDEN / "res_18.json", tmp_path / "golden")
    monkeypatch.setenv("CENTERNET_SHARED", str(tmp_path))
    assert f"{tmp_path}/golden/res_18.npz: there is no such file" in run(capsys, "res_18")[2]
    (tmp_path / "golden" / "res_18.npz").write_bytes((GOLDEN / "res_18.npz").read_bytes()[:9999])
    status, _, message = run(capsys, "res_18")
    assert status == 2 and "golden/res_18.npz is cut off or is not an .npz file" in message


def test_a_command_that_fails_is_shown_with_its_message(monkeypatch, capsys):
    monkeypatch.setitem(PRESET_OF, "res_18", "absent")
    pytest.importorskip("torch", reason="PyTorch is not installed (requirements-convert.txt)")
    status, _, message = run(capsys, "res_18")
    assert status == 2 and "error: `python convert_weights.py --source official --config_path " in message
    assert "ended with status 2:\nerror: --config_path" in message


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESET_OF)
def test_networks_give_the_outputs_of_their_programs(capsys, name):
    pytest.importorskip("torch", reason="PyTorch is not installed (requirements-convert.txt)")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (requirements-onnx.txt)")
    status, lines, message = run(capsys, name)
    assert status == 0 and len(lines) >= 3, (lines, message)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_weights_come_back_unchanged(capsys, source):
    pytest.importorskip("torch", reason="PyTorch is not installed (requirements-convert.txt)")
    status, lines, message = run(capsys, "--round_trip", source)
    assert status == 0 and len(lines) >= 3, (lines, message)
