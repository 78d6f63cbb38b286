"""Copying from and to the object store: once per server, never hanging, never half; real processes, fake moxing."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from centernet.errors import UserError
from centernet.jobs.object_store import fetch_once, is_remote, require_writable, resolve, upload

ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests" / "fake_moxing"
PROGRAM = """
import logging, os, sys, time
from pathlib import Path
from centernet.errors import UserError
from centernet.jobs.object_store import fetch_once
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
url, folder, timeout, job = sys.argv[1:]
try:
    fetch_once(url, Path(folder), "data_url", float(timeout), job)
except UserError as error:
    sys.exit(f"error: {error}")
print("copied", flush=True)
time.sleep(float(os.environ.get("STAY", 0)))
"""


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The folder that obs:// stands for, with three files in obs://b/data; moxing is the fake one."""
    folder = tmp_path / "obs"
    (folder / "b" / "data" / "sub").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "sub/c.txt"):
        (folder / "b" / "data" / name).write_text(name)
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("FAKE_OBS", str(folder))
    yield folder
    for name in ("moxing", "moxing.file"):
        sys.modules.pop(name, None)


def start(store, folder, url="obs://b/data", timeout=20.0, job="", **environment):
    environment = {**os.environ, "PYTHONPATH": f"{os.environ['PYTHONPATH']}:{FAKE}", "FAKE_OBS": str(store),
                   **environment}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, url, str(folder), str(timeout), job], env=environment,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ends(processes, timeout=30):
    """(status, stdout, stderr) of each."""
    try:
        texts = [process.communicate(timeout=timeout) for process in processes]
        return [(process.returncode, out, err) for process, (out, err) in zip(processes, texts)]
    finally:
        for process in processes:
            process.kill()


def copies(store):
    return [line for line in (store / "calls.log").read_text().splitlines() if line.startswith("copy")]


def content(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def held(folder):
    """Wait until a process copies into folder."""
    deadline = time.monotonic() + 20
    while not folder.with_name(folder.name + ".json").exists() or not any(folder.rglob("*.txt")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_addresses(tmp_path):
    assert resolve("s3://b/in/", "data_url") == resolve("S3://b/in/", "data_url") == "obs://b/in/"
    assert resolve("/a-bucket/in/", "data_url") == "obs://a-bucket/in"
    assert resolve(str(tmp_path / "not yet"), "train_url") == str(tmp_path / "not yet")
    assert is_remote("obs://b/in") and not is_remote(str(tmp_path))


@pytest.mark.parametrize("url", ["", "obs://", "http://b/in", "relative/nowhere", "/"])
def test_what_is_no_address(url):
    with pytest.raises(UserError, match="--data_url .* obs://bucket/folder/"):
        resolve(url, "data_url")


def test_four_processes_copy_once(store, tmp_path):
    jobs = [start(store, tmp_path / "data", FAKE_MOXING_SLEEP="0.4") for _ in range(4)]
    results = ends(jobs)
    assert [status for status, *_ in results] == [0, 0, 0, 0]
    assert len(copies(store)) == 1 and content(tmp_path / "data") == content(store / "b" / "data")
    assert sum("downloaded obs://b/data: 3 files" in out for _, out, _ in results) == 1


def test_when_the_copying_process_is_killed_the_others_end_with_an_error(store, tmp_path):
    folder = tmp_path / "data"
    first = start(store, folder, FAKE_MOXING_SLEEP="5")
    held(folder)
    others = [start(store, folder) for _ in range(3)]
    time.sleep(2)
    assert all(other.poll() is None for other in others)
    first.send_signal(signal.SIGKILL)
    begin = time.monotonic()
    for status, out, err in ends(others):
        assert (status, "waiting for the process" in out) == (1, True)
        assert "ended before the copy was complete" in err
    assert time.monotonic() - begin < 5 and len(copies(store)) == 1
    ends([first])


def test_waiting_has_an_end(store, tmp_path):
    folder = tmp_path / "data"
    first = start(store, folder, FAKE_MOXING_SLEEP="30")
    held(folder)
    [(status, _, err)] = ends([start(store, folder, timeout=1)])
    first.kill()
    ends([first])
    assert status == 1 and "for 1 s" in err and "--download_timeout" in err


def test_a_restarted_job_neither_waits_for_a_dead_one_nor_uses_its_half(store, tmp_path):
    folder = tmp_path / "data"
    [(status, *_)] = ends([start(store, folder, FAKE_MOXING_DIE="1")])
    assert status == -signal.SIGKILL and len(content(folder)) == 1  # and lock file and record are left behind
    (folder / "half.txt").write_text("of a file that is gone")
    fetch_once("obs://b/data", folder, "data_url", 1.0, "")
    assert content(folder) == content(store / "b" / "data")


def test_a_whole_copy_is_used_by_its_own_job_only(store, tmp_path):
    folder = tmp_path / "data"
    for _ in range(2):
        fetch_once("obs://b/data", folder, "data_url", 1.0, "job-1")
    assert len(copies(store)) == 1
    fetch_once("obs://b/data", folder, "data_url", 1.0, "job-2")
    assert len(copies(store)) == 2
    fetch_once("obs://b/data/sub", folder, "data_url", 1.0, "job-2")
    assert content(folder) == {"c.txt": "sub/c.txt"}
    assert json.loads((tmp_path / "data.json").read_text()) == {"source": "obs://b/data/sub", "job": "job-2",
                                                                "complete": True}


def test_without_the_jobs_name_a_copy_is_used_while_another_process_uses_it(store, tmp_path):
    folder, source = tmp_path / "data", store / "b" / "data"
    rank = start(store, folder, STAY="60")
    while rank.stdout.readline() != "copied\n":
        assert rank.poll() is None
    (source / "a.txt").write_text("of the next start")
    [(status, out, _)] = ends([start(store, folder)])  # a rank that is later than the others
    assert status == 0 and "is already in" in out and len(copies(store)) == 1
    rank.kill()
    rank.communicate()
    for text in ("of the next start", "of the one after it"):
        (source / "a.txt").write_text(text)
        fetch_once("obs://b/data", folder, "data_url", 1.0, "")
        assert content(folder) == content(source)
    assert len(copies(store)) == 3


def test_a_copy_whose_removal_has_begun_is_not_complete(store, tmp_path, monkeypatch):
    """A process that waits must not take the rest of it for the copy."""
    fetch_once("obs://b/data", tmp_path / "data", "data_url", 1.0, "")
    monkeypatch.setattr("centernet.jobs.object_store._clear", lambda folder: os.stat("/nowhere"))
    with pytest.raises(UserError, match="cannot be copied to"):
        fetch_once("obs://b/data", tmp_path / "data", "data_url", 1.0, "")
    assert json.loads((tmp_path / "data.json").read_text())["complete"] is False


def test_files_of_the_users_are_not_removed(store, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="contains files that are not from a download, for example mine.txt"):
        fetch_once("obs://b/data", tmp_path / "data", "data_url", 1.0, "")
    assert content(tmp_path / "data") == {"mine.txt": "mine"}


def test_a_single_file(store, tmp_path):
    fetch_once("obs://b/data/a.txt", tmp_path / "model", "checkpoint_url", 1.0, "")
    assert content(tmp_path / "model") == {"a.txt": "a.txt"}


@pytest.mark.parametrize("url, words", [("obs://b/none", "there is nothing at this address"),
                                        ("obs://b/empty", "the folder is empty")])
def test_inputs_that_are_not_there(store, tmp_path, url, words):
    (store / "b" / "empty").mkdir()
    with pytest.raises(UserError, match=f"--data_url {url}.*{words}"):
        fetch_once(url, tmp_path / "data", "data_url", 1.0, "")


def test_a_disk_that_cannot_be_written(store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--data_url obs://b/data cannot be copied to .*file/data: "):
        fetch_once("obs://b/data", tmp_path / "file" / "data", "data_url", 1.0, "")


def test_nothing_to_upload_is_no_error(store, tmp_path, caplog):
    caplog.set_level("INFO", "centernet")
    upload(tmp_path / "none", "obs://b/out")
    assert "nothing to upload" in caplog.text and not (store / "b" / "out").exists()


def test_without_moxing(tmp_path):
    with pytest.raises(UserError, match="obs://b/out needs the package moxing.*docs/modelarts.md"):
        require_writable("obs://b/out")
    require_writable(str(tmp_path / "mounted"))
    assert (tmp_path / "mounted").is_dir()
