import json
import mmap

import pytest

from benchmarks import run as runner
from benchmarks.machine import describe_machine
from benchmarks.measure import Options, PeakMemory, Row, median_ratio, paired
from benchmarks.report import markdown, shown
from centernet.errors import UserError


def test_pairs_run_in_turns_and_the_first_round_does_not_count():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = paired(functions, repeats=3, before=lambda: calls.append("-"))
    assert "".join(calls) == "-a-b" + "-b-a" + "-a-b" + "-b-a"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}
    assert all(second >= 0 for times in seconds.values() for second in times)


def test_the_ratio_is_of_each_round():
    assert median_ratio({"a": [1.0, 8.0, 30.0], "b": [1.0, 4.0, 10.0]}, "a", "b") == 2.0


def test_peak_memory_sees_what_is_freed_again():
    with PeakMemory() as memory:
        before = memory.mib
        with mmap.mmap(-1, 100 << 20) as block:  # pages of its own: the heap would reuse what earlier tests gave back
            block[::mmap.PAGESIZE] = bytes(len(block) // mmap.PAGESIZE)
            memory._look()
    assert 95 < memory.mib - before < 130


@pytest.mark.parametrize("argv, words", [
    (["nonsense"], "unknown benchmark nonsense; there are conversion"),
    (["conversion"], "conversion: images are needed"),
    ([], "images are needed"),
    (["conversion", "--data_dir", "/no/such"], "--data_dir /no/such: there is no such folder"),
    (["start_up", "--repeats", "0"], "--repeats 0")])
def test_wrong_usage(argv, words, capsys):
    assert runner.main(argv) == 2
    assert words in capsys.readouterr().err


def fake(name, options):
    assert options.work.is_dir() and not list(options.work.iterdir())
    (options.work / "left").write_text("")
    return [Row("ours", 412.4, "images/s", 1.5, "theirs", ">= 280 images/s", True), Row("other", None, "s", note="a|b")]


def test_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "measure_alone", fake)
    assert runner.main(["inference", "evaluation", "--data_dir", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "[2/2] evaluation ..." in printed
    assert "| ours | 412 images/s | 1.50 of theirs | >= 280 images/s | yes |  |" in printed
    assert "| other | not measured |  |  |  | a\\|b |" in printed
    document = json.loads((tmp_path / "out/results.json").read_text())
    assert document["benchmarks"]["evaluation"][0]["value"] == 412.4
    assert document["machine"]["mindspore"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["results.json", "results.md"]


def test_a_killed_benchmark_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "_measure", killed)
    with pytest.raises(UserError, match="inference: its process was killed"):
        runner.measure_alone("inference", Options(None, 1, tmp_path))


def killed(name, options):
    import os
    import signal
    os.kill(os.getpid(), signal.SIGKILL)


def test_each_benchmark_names_what_it_measures():
    for name in runner.NAMES:
        assert callable(__import__(f"benchmarks.{name}", fromlist=["measure"]).measure)


def test_machine_and_digits():
    machine = describe_machine()
    assert machine["numpy"].startswith("1.")
    assert "processor: " in markdown(machine, {})
    assert [shown(value) for value in (1234.5, 0.01234, 5.0)] == ["1234", "0.0123", "5"]
