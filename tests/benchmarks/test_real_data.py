import json
import os

import pytest
from tiny_coco import make_coco

from benchmarks import real_data
from benchmarks.real_data_report import table
from benchmarks.real_data_rows import read_rows
from centernet.config.load import HOME
from centernet.errors import UserError

ROWS = """
seeds: [1, 2]
flags: {device_target: CPU, train_config.batch_size: 4, dataset_config.input_res_train: [64, 64]}
budgets:
    2: {train_config.MultiDecay.multi_epochs: [1]}
    3: {}
rows:
    - {name: paper, config: official_res18}
    - {name: in PyTorch, config: official_res18, engine: torch, flags: {train_config.batch_size: 8}}
"""


def write(folder, text=ROWS):
    path = folder / "rows.yaml"
    path.write_text(text)
    return path


def test_runs_by_seed_and_flags_of_the_row_count_last(tmp_path):
    runs = read_rows(write(tmp_path))
    assert [run.key for run in runs] == ["paper-2-1", "in_PyTorch-2-1", "paper-3-1", "in_PyTorch-3-1",
                                         "paper-2-2", "in_PyTorch-2-2", "paper-3-2", "in_PyTorch-3-2"]
    assert [run.config.train_config.batch_size for run in runs[:2]] == [4, 8]
    assert runs[0].config.train_config.MultiDecay.multi_epochs == (1,)
    assert runs[2].config.train_config.MultiDecay.multi_epochs == (90, 120)
    assert (runs[0].config.seed, runs[0].config.epoch_size) == (1, 2)


def test_null_takes_a_flag_of_the_budget_away_and_a_result_names_only_settings(tmp_path):
    schedule = "train_config.lr_schedule: CosineDecay, train_config.MultiDecay.multi_epochs: null"
    runs = read_rows(write(tmp_path, ROWS.replace("{train_config.batch_size: 8}", f"{{{schedule}}}")))
    assert runs[1].as_json()["settings"]["train_config.lr_schedule"] == "CosineDecay"
    assert runs[1].config.train_config.MultiDecay.multi_epochs == (90, 120)
    assert not {"preset", "given", "named"} & set(runs[1].as_json()["settings"])


@pytest.mark.parametrize("name", ["paper", "plus"])
def test_our_rows_files(name):
    assert read_rows(HOME / f"benchmarks/rows/{name}.yaml")


@pytest.mark.parametrize("old, new, words", [
    ("seeds: [1, 2]", "seeds: 1", "seeds must be a list"), ("    2: {", "    two: {", "budgets must map"),
    ("engine: torch", "engine: jax", "row 'in PyTorch': engine must be one of ours, torch; found 'jax'"),
    ("train_config.batch_size: 8", "batch: 8", "row 'in PyTorch': train.py: unknown argument '--batch'"),
    ("in PyTorch", "paper", "the same folder: paper-2-1"), ("official_res18}", "res19}", "config res19 is neither"),
    ("name: paper, ", "", "name and config are needed"), ("rows:", "rovs:", "unknown key rovs"), (ROWS, "[", "YAML")])
def test_wrong_rows_files(tmp_path, old, new, words):
    with pytest.raises(UserError) as error:
        read_rows(write(tmp_path, ROWS.replace(old, new)))
    assert words in str(error.value)


def result(run, average):
    return {**run.as_json(), "images": 24, "loss": 1.5, "seconds": 61.2, "curve": [[8, 0.1], [24, average]],
            "metrics": {"AP": average, "AP50": 0.5, "AP75": 0.25, "AP_small": -1, "AP_medium": 0.2, "AP_large": 0.3}}


@pytest.fixture
def worker(monkeypatch):
    """The first run is another command's; the others give an AP of 0.1, 0.2, ..."""
    calls = []

    def run(self, run):
        calls.append(run.key)
        if len(calls) == 1:
            return None
        line = result(run, len(calls) / 10)
        with (self.work / "results.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        return line
    monkeypatch.setattr(real_data.Worker, "run", run)
    monkeypatch.setattr(real_data.Worker, "convert", lambda self: None)
    return calls


def test_finished_runs_are_not_repeated_and_the_report_compares_rows(tmp_path, worker, capsys):
    make_coco(tmp_path, split="train")
    make_coco(tmp_path, split="val")
    command = [str(write(tmp_path)), "--data_dir", str(tmp_path), "--work", str(tmp_path / "work")]
    assert real_data.main(command) == 0
    assert "another command does this run" in capsys.readouterr().out
    assert len(worker) == 8
    assert real_data.main(command) == 0
    assert worker[8:] == ["paper-2-1"]
    text = (tmp_path / "work/results.md").read_text()
    assert "| in PyTorch | 2 | 24 | 2 | 40.0 ± 28.3 | 50.0 ± 0.0 | 25.0 ± 0.0 | - | 20.0 ± 0.0 | 30.0 ± 0.0 |" in text
    assert (tmp_path / "work/ap.png").read_bytes()[:4] == b"\x89PNG"
    changed = write(tmp_path, ROWS.replace("batch_size: 8", "batch_size: 2"))
    assert real_data.main([str(changed), *command[1:]]) == 2
    assert "train_config.batch_size was 8, now 2. Give the row another name" in capsys.readouterr().err


def test_difference_has_its_standard_error(tmp_path):
    runs = [run for run in read_rows(write(tmp_path)) if run.epochs == 2]
    lines = table([result(run, ap) for run, ap in zip(runs, (0.30, 0.34, 0.32, 0.38))], ["paper", "in PyTorch"], "")
    # means 31 and 36; standard deviations 1.41 and 2.83; sqrt(2 / 2 + 8 / 2) = 2.24
    assert "| +5.0 ± 2.2 | 1.500 | 61 |" in lines


def test_a_failed_command_shows_the_end_of_its_log(tmp_path):
    worker = real_data.Worker(tmp_path / "nowhere", tmp_path, "", False)
    with pytest.raises(UserError, match=r"status 2: (?s:.*)dataset.py(?s:.*)nowhere does not exist"):
        worker.convert()


@pytest.mark.parametrize("cores", ["a", "0-", "9999", ""])
def test_wrong_cores(cores):
    with pytest.raises(UserError, match="--cores"):
        real_data.core_numbers(cores)


def test_cores():
    first = min(os.sched_getaffinity(0))
    assert real_data.core_numbers(f"{first}") == real_data.core_numbers(f"{first}-{first}") == [first]


def test_one_run_at_a_time(tmp_path):
    worker = real_data.Worker(tmp_path, tmp_path, "", False)
    with worker._locked("a.lock") as first, worker._locked("a.lock") as second, worker._locked("b.lock") as other:
        assert (first, second, other) == (True, False, True)


def test_an_interrupted_training_goes_on_and_a_finished_one_is_only_evaluated(tmp_path, monkeypatch):
    """Three starts: the first is interrupted in the training, the second in the evaluation."""
    run, folder, calls = read_rows(write(tmp_path))[0], tmp_path / "runs/paper-2-1", []
    worker, metrics = real_data.Worker(tmp_path, tmp_path, "", False), folder / "metrics.jsonl"

    def call(words, log, watched=None):
        calls.append((words[0], "--resume" in words))
        if words[0] == "train.py":
            (folder / "last.ckpt").touch()
            with metrics.open("a") as file:
                file.write(json.dumps({"kind": "epoch", "epoch": 0, "step": 5, "loss": 1.0, "seconds": 2}) + "\n")
        elif len(calls) > 3:
            (folder / "results/val").mkdir(parents=True)
            (folder / "results/val/metrics.json").write_text("{}")
            return
        if len(calls) in (1, 3):
            raise KeyboardInterrupt
    monkeypatch.setattr(worker, "_call", call)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            worker.run(run)
    assert worker.run(run)["seconds"] == 4
    assert calls == [("train.py", False), ("train.py", True), ("eval.py", False), ("eval.py", False)]
