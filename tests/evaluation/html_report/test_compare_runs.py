"""centernet compare: two folders on one page, whatever files they have; and what it says of wrong ones."""
import json

import pytest

from centernet.cli import compare, main
from centernet.evaluation.html_report.compare_runs import comparison_page, read_run
from centernet.evaluation.html_report.error_types import TYPES
from centernet.evaluation.metrics import STATS


def write_run(folder, ap, rate, report=True, training=True, name="cell"):
    """A run folder: results of eval in results/val, run.json and metrics.jsonl of a training."""
    results = folder / "results" / "val"
    results.mkdir(parents=True)
    row = {"name": name, "AP": ap, "AP50": ap + 0.1}
    (results / "metrics.json").write_text(json.dumps({**dict.fromkeys(STATS, ap), "AP_small": -1, "classes": [row]}))
    if report:
        (results / "report.json").write_text(json.dumps({
            "errors": {"gains": dict.fromkeys(TYPES, 0.01)}, "settings": {"eval_config.K": {"value": 100}}}))
    if training:
        (folder / "run.json").write_text(json.dumps({"runs": [
            {"settings": {"seed": 1, "train_config": {"lr": 9}}},
            {"settings": {"seed": 1, "train_config": {"lr": rate}, "note": "<b>"}}]}))
        rows = [{"kind": "epoch", "epoch": 0, "step": 9, "loss": 3.0}, {"kind": "epoch", "epoch": 1, "loss": None},
                {"kind": "evaluation", "epoch": 0, "step": 9, "AP": ap}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows) + '{"kind": "st')
    return folder


def test_the_page_has_differences_settings_and_curves(tmp_path, capsys):
    first, second = write_run(tmp_path / "a", 0.25, 0.1), write_run(tmp_path / "<i>b", 0.375, 0.2, name="<script>")
    assert main(["compare", str(first), str(second), "--out", str(tmp_path / "page.html")]) == 0
    assert "(AP 0.250)" in capsys.readouterr().out
    text = (tmp_path / "page.html").read_text()
    assert '<td>0.250</td><td>0.375</td><td class="better">+0.125</td>' in text
    assert "train_config.lr" in text and ">seed<" not in text and "data:image/svg+xml" in text
    assert "<i>" not in text and "<script>" not in text and "&lt;script&gt;" in text
    assert comparison_page(read_run(second), read_run(first)).count('class="worse">-0.125') >= 10
    assert read_run(first).losses == [(1.0, 3.0)] and read_run(first).precisions == [(1.0, 0.25)]
    assert read_run(first).settings == {"seed": 1, "train_config.lr": 0.1, "note": "<b>", "eval_config.K": 100}


def test_a_run_without_an_evaluation_and_one_without_a_training(tmp_path):
    first, second = write_run(tmp_path / "a", 0.25, 0.1, training=False, report=False), tmp_path / "b"
    second.mkdir()
    (second / "metrics.jsonl").write_text('{"kind": "step", "loss": 1}\n')
    text = comparison_page(read_run(first), read_run(second))
    assert "Run B has no metrics.json" in text and "Neither folder has a metrics.jsonl with epochs" in text
    assert "Not known of both runs" in text and "--report true to compare them" in text


@pytest.mark.parametrize("name, text, message", [
    ("metrics.json", '{"AP": 1}', "metrics.json: the key 'AP50' is missing: name a folder that"),
    ("metrics.json", "[1]", "metrics.json"), ("metrics.json", "{", "metrics.json"),
    ("run.json", '{"runs": 4}', "run.json: runs must be a list, found 4"),
    ("run.json", '{"runs": [{"settings": 4}]}', r"settings must be an object, found 4"),
    ("report.json", '{"errors": {"gains": {}}}', "the key 'errors.gains.localisation' is missing")])
@pytest.mark.fault("damaged files of a compared run", "metrics.json, run.json, report.json of other forms",
                   "an error that names the file and the key")
def test_damaged_files(tmp_path, capsys, name, text, message):
    run = write_run(tmp_path / "a", 0.25, 0.1)
    place = run if name == "run.json" else run / "results" / "val"
    (place / name).write_text(text)
    assert compare.main([str(run), str(run), "--out", str(tmp_path / "page.html")]) == 2
    error = capsys.readouterr().err
    assert message in error and not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("words, message", [
    ([], "needs two folders, found 0"), (["a", "b", "c"], "needs two folders, found 3"),
    (["a", "b", "--no"], "unknown argument --no"), (["--out"], "expected one argument"),
    (["missing", "missing"], "missing is not a folder")])
def test_wrong_words(words, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert compare.main(words) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_a_run(tmp_path, capsys):
    assert compare.main([str(tmp_path), str(tmp_path)]) == 2
    assert "has no metrics.json, run.json or metrics.jsonl" in capsys.readouterr().err
