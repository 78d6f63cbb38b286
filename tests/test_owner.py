"""One owner of a folder: the second one is told who it is; what a dead one left is taken over."""
import fcntl
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from centernet import owner
from centernet.cli import evaluate, export, infer, postprocess, preprocess
from centernet.errors import UserError
from centernet.files import folder_beside, sha256
from centernet.owner import OWNER, owned
from centernet.runtimes.manifest import manifest_path, write_manifest
from tests.tiny_coco import make_coco
from tests.tiny_group import ROOT
from tests.tiny_model import read_config, tiny_checkpoint, tiny_config, tiny_manifest

HOLD = """
import sys, time
from pathlib import Path
from centernet.owner import owned
with owned(Path(sys.argv[1]), "--out"):
    print("mine", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """A process that owns tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "centernet")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.fault("two runs write into one folder", "a process owns the folder, a second one starts",
                   "the second one ends with the host, process and time of the first one")
def test_the_second_one_is_told_and_the_first_one_stays(tmp_path, other):
    left = (tmp_path / OWNER).read_bytes()
    for _ in range(2):
        with pytest.raises(UserError, match=rf"--out {tmp_path}: process {other.pid} on {socket.gethostname()} writes "
                                            r"to this folder since 20.*\.owner\.json"), owned(tmp_path, "--out"):
            pass
    assert (tmp_path / OWNER).read_bytes() == left and other.poll() is None


@pytest.mark.fault("the owner of a folder was killed", "SIGKILL to the owner", "the next run takes the folder")
def test_a_killed_one_is_followed_by_the_next(tmp_path, other, lines):
    other.kill()
    other.wait()
    assert (tmp_path / OWNER).exists()
    with owned(tmp_path, "--out"):
        assert json.loads((tmp_path / OWNER).read_text())["pid"] == os.getpid()
        assert lines() == [f"--out {tmp_path}: process {other.pid} on {socket.gethostname()}, which wrote to this "
                           "folder, has ended without an end in order; this process takes the folder over"]
        with pytest.raises(UserError, match=f"process {os.getpid()} on"), owned(tmp_path, "--out"):
            pass
    assert not (tmp_path / OWNER).exists()


def test_after_an_error_nothing_is_left(tmp_path):
    with pytest.raises(ZeroDivisionError), owned(tmp_path / "new", "--out"):
        raise ZeroDivisionError
    with owned(tmp_path / "new", "--out"), owned(tmp_path / "new", "--out", ".other"):
        pass
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize("left", [b"", b"{", b"[1]", b'{"pid": "x", "host": 3}', b'{"pid": 1e400}', b"\xff",
                                  b"[" * 9999])
def test_a_file_without_meaning_does_not_stop_a_run(tmp_path, monkeypatch, left):
    monkeypatch.setattr(owner, "HEARTBEAT", 0.01)
    (tmp_path / OWNER).write_bytes(left)
    with owned(tmp_path, "--out"):
        pass


@pytest.mark.fault("a network disk without locks", "locks that always fail, or that a child holds",
                   "the process number decides")
@pytest.mark.parametrize("locks", [True, False])
def test_an_inherited_lock_of_a_dead_process_and_a_disk_without_locks(tmp_path, other, monkeypatch, locks):
    """A child may keep the lock of its dead parent; some network file systems have no locks at all."""
    monkeypatch.setattr(owner, "HEARTBEAT", 0.02)
    if locks:
        held = os.open(tmp_path / OWNER, os.O_RDWR)
    else:
        def none(*_):
            raise OSError("no locks available")
        monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(UserError, match=f"process {other.pid} on"), owned(tmp_path, "--out"):
        pass
    other.kill()
    other.wait()
    if locks:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with owned(tmp_path, "--out"):
        pass
    if locks:
        os.close(held)


@pytest.mark.fault("the owner is on another host", "a lock file of another host, renewed or not",
                   "renewed: refused; not renewed: taken over")
@pytest.mark.parametrize("alive", [True, False])
def test_an_owner_on_another_host_is_alive_if_it_renews_the_file(tmp_path, monkeypatch, lines, alive):
    """The lock of another host is not seen on every network file system. Its clock does not matter."""
    monkeypatch.setattr(owner, "HEARTBEAT", 0.1)
    path, over = tmp_path / OWNER, threading.Event()
    path.write_text(json.dumps({"host": "elsewhere", "pid": 7, "start": "1", "since": "noon", "command": "train.py"}))
    os.utime(path, (1e9, 1e9))

    def renew():
        while not over.wait(0.05):
            os.utime(path, (1e9, 1e9 + time.monotonic()))
    thread = threading.Thread(target=renew)
    if alive:
        thread.start()
        with pytest.raises(UserError, match=r"process 7 on elsewhere writes to this folder since noon \(train.py\)"), \
                owned(tmp_path, "--out"):
            pass
        over.set()
        thread.join()
    else:
        with owned(tmp_path, "--out"):
            assert "takes the folder over" in lines()[-1]
            before = path.stat().st_mtime_ns
            deadline = time.monotonic() + 5
            while path.stat().st_mtime_ns == before:
                assert time.monotonic() < deadline


@pytest.mark.fault("a folder that cannot be made", "a file of that name in its path", "an error that names the folder")
def test_a_folder_that_is_not_writable_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out .*file/x: [^ ]*file is a file: name a folder"), \
            owned(tmp_path / "file" / "x", "--out"):
        pass


@pytest.mark.fault("two exports to one file", "a second export starts", "it ends at its start")
def test_two_exports_do_not_write_one_file(tmp_path, capsys):
    flags = ("--config_path", str(tiny_config(tmp_path)), "--input_res", "64", "64", "--export_load_ckpt",
             str(tmp_path / "a.ckpt"), "--export_name", str(tmp_path / "out" / "model"))
    tiny_checkpoint(tmp_path / "a.ckpt", read_config(tmp_path / "tiny.yaml"))
    with owned(tmp_path / "out", "--export_name", f".model.mindir{OWNER}"):
        assert export.main(list(flags)) == 2
    assert f"--export_name {tmp_path / 'out'}: process {os.getpid()} on" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.fault("folders of a killed export", "such folders", "removed by the next export")
def test_folders_that_a_killed_export_left_are_removed(tmp_path, lines):
    for name in (".export-model.mindir-abc", ".export-other.mindir-abc"):
        (tmp_path / name).mkdir()
    (tmp_path / ".export-model.mindir-abc" / "model.mindir").write_bytes(b"half")
    with folder_beside(tmp_path / "model.mindir", "--export_name") as folder:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([folder.name, ".export-other.mindir-abc"])
    assert lines() == [f"removed {tmp_path / '.export-model.mindir-abc'}, which an interrupted run left"]


COMMANDS = {  # module, its flags, the flag of the folder, the folder of the results in it
    "eval": (evaluate, ("--device_target", "CPU", "--load_checkpoint_path", "a.ckpt", "--data_dir", "."),
             "--save_result_dir", "val"),
    "infer": (infer, ("--device_target", "CPU", "--model_path", "a.ckpt", "--image", "val2017"), "--save_result_dir",
              ""),
    "preprocess": (preprocess, ("--model_path", "m.mindir", "--val_data_dir", "."), "--predict_dir", ""),
    "postprocess": (postprocess, ("--model_path", "m.mindir", "--result_path", "raw", "--meta_path", "prepared"),
                    "--save_path", "")}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The current folder: a data set, the manifest of a model, and the set prepared for it."""
    monkeypatch.chdir(tmp_path)
    make_coco(tmp_path, num_images=1, split="val")
    (tmp_path / "m.mindir").write_bytes(b"")
    (tmp_path / "a.ckpt").touch()
    (tmp_path / "raw").mkdir()
    write_manifest(tiny_manifest((64, 64), sha256=sha256(tmp_path / "m.mindir")), manifest_path(tmp_path / "m.mindir"))
    assert preprocess.main(["--model_path", "m.mindir", "--val_data_dir", ".", "--predict_dir", "prepared"]) == 0
    return tmp_path


@pytest.mark.fault("two evaluations, detections or preparations into one folder", "a second eval, infer, preprocess or "
                   "postprocess starts", "it ends at its start and writes nothing")
@pytest.mark.parametrize("command", COMMANDS)
def test_results_of_two_runs_do_not_mix(data, capsys, command):
    module, flags, flag, inner = COMMANDS[command]
    folder = data / "out" / inner
    with owned(folder, flag, f".{command}{OWNER}"):
        assert module.main([*flags, flag, str(data / "out")]) == 2
        assert [path.name for path in folder.iterdir()] == [f".{command}{OWNER}"]
    assert f"error: {flag} {folder}: process {os.getpid()} on" in capsys.readouterr().err
