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


def test_a_page_with_the_name_of_a_folder(tmp_path, capsys):
    run = write_run(tmp_path / "a", 0.25, 0.1)
    assert compare.main([str(run), str(run), "--out", str(tmp_path)]) == 2
    assert f"cannot write {tmp_path}: this is a folder. Give the name of a file" in capsys.readouterr().err


@pytest.mark.parametrize("words, message", [
    ([], "needs two folders, found 0"), (["a", "b", "c"], "needs two folders, found 3"),
    (["a", "b", "--no"], "unknown argument --no."), (["a", "b", "--no", "--x"], "unknown arguments --no, --x."),
    (["--out"], "expected one argument"),
    (["missing", "missing"], "missing is not a folder")])
def test_wrong_words(words, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert compare.main(words) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_a_run(tmp_path, capsys):
    assert compare.main([str(tmp_path), str(tmp_path)]) == 2
    assert "has no metrics.json, run.json or metrics.jsonl" in capsys.readouterr().err


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("file, values, message", [
    ("metrics.json", {"images": 9}, "A has 7 images, B has 9"),
    ("metrics.json", {"classes": [{"name": "cell", "AP": 0.1, "AP50": 0.2, "annotated": 41}]},
     "annotated boxes of A and B: cell (40 and 41)"),
    ("metrics.json", {"classes": [{"name": name, "AP": 0.1, "AP50": 0.2} for name in ("cell", "disc", "ring")]},
     "only B has the categories disc, ring."),
    ("report.json", {"data": {"annotation_file": "/d/b.json"}},
     "the annotation file of A is /d/a.json, that of B is /d/b.json")])
@pytest.mark.fault("two runs of different data are compared", "other annotation file, images or categories in B",
                   "the console and the top of the page say in what the data differ")
def test_runs_of_different_data(tmp_path, capsys, file, values, message):
    for letter in "ab":
        results = write_run(tmp_path / letter, 0.25, 0.1, training=False) / "results" / "val"
        change(results / "metrics.json", images=7, classes=[{"name": "cell", "AP": 0.1, "AP50": 0.2, "annotated": 40}])
        change(results / "report.json", data={"annotation_file": "/d/a.json"})
    words = [str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "page.html")]
    assert compare.main(words) == 0
    assert "warning" not in capsys.readouterr().out and "Warning" not in (tmp_path / "page.html").read_text()
    change(results / file, **values)
    assert compare.main(words) == 0
    page = (tmp_path / "page.html").read_text()
    said = capsys.readouterr().out
    assert "warning: A and B were evaluated on different data" in said and message in said
    assert message in page and page.index("Warning: ") < page.index("<section")


def test_runs_that_have_nothing_in_common(tmp_path, capsys):
    for name in ("cell", "disc"):
        write_run(tmp_path / name, 0.25, 0.1, training=False, report=False, name=name)
    assert compare.main([str(tmp_path / "cell"), str(tmp_path / "disc"), "--out", str(tmp_path / "page.html")]) == 2
    error = capsys.readouterr().err
    assert "cell has an evaluation of cell" in error and "disc has an evaluation of disc" in error
    assert not (tmp_path / "page.html").exists()


def test_trainings_of_different_shards(tmp_path, capsys):
    for letter in "ab":
        record = write_run(tmp_path / letter, 0.25, 0.1) / "run.json"
        record.write_text(json.dumps({"runs": [{**json.loads(record.read_text())["runs"][-1], "data": letter}]}))
    assert compare.main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "page.html")]) == 0
    assert "warning: A and B were trained on different data" in capsys.readouterr().out


def test_metrics_and_report_come_from_one_evaluation(tmp_path):
    run = write_run(tmp_path / "a", 0.25, 0.1)
    other = write_run(tmp_path / "b", 0.5, 0.1, report=False) / "results" / "val"
    other.rename(run / "val")
    found = read_run(run)
    assert found.numbers["AP"] == 0.5 and not found.errors and "eval_config.K" not in found.settings
    assert len(found.losses) == 1


@pytest.mark.fault("two runs with other eval_config.max_dets are compared", "100 and 300",
                   "the console and the top of the page say so")
def test_runs_with_another_max_dets(tmp_path, capsys):
    for letter, max_dets in (("a", 100), ("b", 300)):
        change(write_run(tmp_path / letter, 0.25, 0.1) / "results" / "val" / "metrics.json", max_dets=max_dets)
    assert compare.main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "page.html")]) == 0
    message = "A count at most 100 detections of an image and category, those of B 300"
    assert message in capsys.readouterr().out and message in (tmp_path / "page.html").read_text()
