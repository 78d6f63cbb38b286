"""The scripts of the documents with wrong arguments, and for real on CPU with a tiny network."""
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_coco import make_coco

from centernet.cli import convert_dataset
from centernet.jobs.launch.processes import is_running
from centernet.models.centernet import build_centernet
from centernet.weights.checkpoint import model_record, save_checkpoint
from tests.jobs.launch.rank_tables import write_table
from tests.tiny_training import CATEGORIES, TINY, settings

SCRIPTS = Path(__file__).parents[2] / "scripts"
NETWORK = TINY[2:]  # without --device_target, which DEVICE_TARGET gives
TRAIN = (*NETWORK, "--train_steps", "2", "--train_config.batch_size", "2", "--num_workers", "1")
FROZEN = ("--train_config.freeze_stages", "4")  # the graph is smaller, so it is compiled sooner
STEP = re.compile(r"epoch: 0, current epoch percent: .*step: (\d+), outputs are \(Tensor\(shape=\[\], dtype=Float32")


def run(script, *words, cwd, **variables):
    done = subprocess.run(["bash", str(SCRIPTS / f"{script}.sh"), *map(str, words)], cwd=cwd, text=True, timeout=600,
                          capture_output=True,
                          env={**os.environ, "PYTHON": sys.executable, "DEVICE_TARGET": "CPU", **variables})
    return done.returncode, done.stdout, done.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def wait_for(path, text, seconds=600):
    end = time.monotonic() + seconds
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < end, path.read_text() if path.exists() else f"{path} was not written"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with "my coco" (train and val), "my shards" and the checkpoint tiny.ckpt."""
    folder = tmp_path_factory.mktemp("data")
    make_coco(folder / "my coco", num_images=8)
    make_coco(folder / "my coco", num_images=3, split="val")
    assert convert_dataset.main(["--coco_data_dir", str(folder / "my coco"), "--mindrecord_dir",
                                 str(folder / "my shards"), "--shard_num", "2", "--device_target", "CPU"]) == 0
    config = settings()
    save_checkpoint(folder / "tiny.ckpt", build_centernet(config.net_config, 3), model_record(config, CATEGORIES), {})
    return folder


@pytest.mark.parametrize("script", ["run_standalone_train_ascend", "run_distributed_train_ascend",
                                    "run_standalone_eval_ascend", "convert_dataset_to_mindrecord"])
def test_help_and_unknown_flags(tmp_path, script):
    code, output, _ = run(script, "--help", cwd=tmp_path)
    assert code == 0 and output.startswith(f"usage: bash scripts/{script}.sh ")
    code, _, errors = run(script, "--no_such_flag", "1", cwd=tmp_path)
    assert code == 2 and "unknown argument '--no_such_flag'" in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script, words, messages", [
    ("run_standalone_train_ascend", ["0", "no shards", "no.ckpt"],
     ["2 problems", "MINDRECORD_DIR no shards is not a folder", "LOAD_CHECKPOINT_PATH no.ckpt is not a file"]),
    ("run_standalone_eval_ascend", ["0", "val", "no coco", "no.ckpt"],
     ["2 problems", "folder no coco does not exist", "no.ckpt is not"]),
    ("run_distributed_train_ascend", ["s", "no.json"],
     ["2 problems", "rank table", "no.json: No such file", "MINDRECORD_DIR s is"]),
    ("run_distributed_train_ascend", ["s", "--device_num", "2", "--device_id", "1"], ["--device_id is set by"]),
    ("run_distributed_train_ascend", ["s", "--worker_num", "4", "--local_worker_num", "2"],
     ["several servers also need --node_rank and --master_addr"]),
    ("run_distributed_train_ascend", ["s", "--worker_num", "4", "--local_worker_num", "3"], ["the same number"]),
    ("run_distributed_train_ascend", ["no shards", "two.json", "no.ckpt"],
     ["2 problems", "MINDRECORD_DIR no shards is not a folder", "LOAD_CHECKPOINT_PATH no.ckpt is not a file"]),
    ("run_distributed_train_ascend", ["s", "two.json", "--device_num", "8"], ["device_num is 8", "has 2 ranks"]),
    ("run_distributed_train_ascend", ["s", "servers.json"],
     ["has the servers 10.0.0.1, 10.0.0.2, but only one is allowed with device_target CPU"]),
    ("run_distributed_train_ascend", ["s", "two.json", "--server_id", "b"], ["--server_id b: ", "has the servers 10"])])
def test_mistakes_show_before_anything_starts(tmp_path, script, words, messages):
    write_table(tmp_path / "two.json", [0, 1])
    write_table(tmp_path / "servers.json", [0], [0])
    code, _, errors = run(script, *words, cwd=tmp_path, MASTER_PORT=str(free_port()))
    assert code == 2
    for message in messages:
        assert message in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["servers.json", "two.json"]


def test_a_machine_without_devices_is_told_of_the_cpu(tmp_path, data):
    if any(Path("/dev").glob("davinci[0-9]*")):
        pytest.skip("this machine has Ascend devices")
    code, _, errors = run("run_standalone_train_ascend", "0", data / "my shards", cwd=tmp_path, DEVICE_TARGET="Ascend")
    assert code == 2 and "no Ascend device" in errors and "DEVICE_TARGET=CPU" in errors


def test_train_and_evaluate_on_one_device(tmp_path, data):
    """In the background, with short forms, then its checkpoint in the foreground."""
    code, output, errors = run("run_standalone_train_ascend", "0", *TRAIN, *FROZEN, cwd=tmp_path,
                               MINDRECORD_DIR=str(data / "my shards"), LOAD_CHECKPOINT_PATH=str(data / "tiny.ckpt"))
    assert code == 0, errors
    log = tmp_path / "LOG0/training_log.txt"
    assert re.search(rf"PID \d+, log {log}\n", output)
    wait_for(log, "exit status")
    assert STEP.findall(log.read_text()) == ["1", "2"] and log.read_text().endswith("exit status: 0\n")
    assert (tmp_path / "LOG0/ckpt_0/last.ckpt").is_file() and (tmp_path / "LOG0/ms_log").is_dir()
    code, output, errors = run("run_standalone_eval_ascend", "val", "--foreground", *NETWORK, cwd=tmp_path,
                               DATA_DIR=str(data / "my coco"), LOAD_CHECKPOINT_PATH="LOG0/ckpt_0/last.ckpt")
    assert code == 0, output + errors
    assert "Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all" in output
    assert output.endswith("exit status: 0\n")
    assert (tmp_path / "LOG0/eval_log.txt").is_file() and (tmp_path / "results/val/metrics.json").is_file()
    boxes = json.loads((tmp_path / "results/val/val_pred_eval.json").read_text())
    assert boxes and {"image_id", "bbox", "score"} <= set(boxes[0])


def test_a_training_that_fails_returns_its_status(tmp_path, data):
    """The categories of the shards are found out only by the training itself."""
    code, output, errors = run("run_standalone_train_ascend", "0", data / "my shards", "--foreground", *TRAIN,
                               "--backbone_checkpoint", data / "my shards/coco_det.train.mind0", cwd=tmp_path)
    assert code == 2, output + errors
    assert "error: the training ended with status 2" in output and output.endswith("exit status: 2\n")


# On CPU, msrun starts the ranks of a rank table too.
@pytest.mark.parametrize("way", [pytest.param("msrun", marks=pytest.mark.slow), "rank table"])
def test_two_ranks_train(tmp_path, data, way):
    write_table(tmp_path / "my hccl.json", [0, 1])
    words = [data / "my shards", *(["my hccl.json"] if way == "rank table" else ["--device_num", "2"])]
    code, output, errors = run("run_distributed_train_ascend", *words, "--foreground", *TRAIN, *FROZEN, cwd=tmp_path,
                               MASTER_PORT=str(free_port()), LOAD_CHECKPOINT_PATH=str(data / "tiny.ckpt"))
    assert code == 0, output + errors
    assert (f"msrun starts the 2 ranks of rank table {tmp_path}/my hccl.json" in output) == (way == "rank table")
    assert STEP.findall(output) == ["1", "2"] and output.endswith("exit status: 0\n")
    assert STEP.findall((tmp_path / "LOG0/training_log.txt").read_text()) == ["1", "2"]
    assert (tmp_path / "LOG1/training_log.txt").is_file() and (tmp_path / "LOG1/ms_log").is_dir()
    assert all((tmp_path / folder / "msrun_log.txt").is_file() for folder in ("LOG0", "LOG1", "LOG_scheduler"))
    assert (tmp_path / "LOG0/ckpt_0/last.ckpt").is_file()
    assert not list((tmp_path / "LOG1").glob("**/*.ckpt"))


@pytest.mark.slow
def test_the_loss_of_a_rank_ends_the_training_soon_and_wholly(tmp_path, data):
    code, output, errors = run("run_distributed_train_ascend", data / "my shards", "--device_num", "2", *TRAIN,
                               "--train_steps", 10**6, cwd=tmp_path, MASTER_PORT=str(free_port()))
    assert code == 0, errors
    launcher = int(re.search(r"PID (\d+)", output)[1])
    log = tmp_path / "LOG0/training_log.txt"
    wait_for(log, "step: 2, outputs")
    pids = {pid: line for pid, line in processes() if str(tmp_path) in line or "LOG1" in line}
    victim = next(pid for pid, line in pids.items() if "train.py" in line and "ckpt_1" in line)
    os.kill(victim, 9)
    began = time.monotonic()
    wait_for(log, "exit status", 30)
    assert time.monotonic() - began < 15
    assert "error: rank 1 was ended by SIGKILL" in log.read_text()
    assert log.read_text().endswith("exit status: 137\n")
    while is_running(launcher):
        assert time.monotonic() - began < 15
    assert not [line for pid, line in pids.items() if is_running(pid)]


def processes():
    """(pid, command line) of everything that runs."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
