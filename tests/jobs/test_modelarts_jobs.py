"""ModelArts jobs for real, the object store a folder behind a fake moxing.

A job of each kind and what signals do run in processes of their own, other jobs in this one.
"""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from centernet.cli import convert_dataset, evaluate, train
from centernet.config.load import load_config
from tests.tiny_coco import make_coco
from tests.tiny_group import started, wait_for
from tests.tiny_training import TINY

ROOT = Path(__file__).parents[2]
MOXING = str(ROOT / "tests/fake_moxing")
SMALL = (*TINY, "--train_config.batch_size=2", "--num_workers=1")


def job_flags(disk, *flags):
    return ["--enable_modelarts=True", "--device_target=CPU", f"--data_path={disk}/data",
            f"--output_path={disk}/train", f"--load_path={disk}/checkpoint_path", *flags]


def start(entry, disk, store, *flags, **environment):
    """Start a job; disk is the server's local disk, store what obs:// stands for."""
    command = [sys.executable, str(ROOT / entry), *job_flags(disk, *flags)]
    environment = {**os.environ, "PYTHONPATH": MOXING, "FAKE_OBS": str(store), **environment}
    disk.mkdir(exist_ok=True)
    return subprocess.Popen(command, cwd=disk, env=environment, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def finish(process, status=0):
    """The printed text of a job, which must end with this status."""
    try:
        text = process.communicate(timeout=600)[0]
    finally:
        process.kill()
    assert process.returncode == status, text
    return text


@pytest.fixture
def here(store, monkeypatch, capsys):
    """Runs a job in this process: here(module of the entry, disk, *flags, status=0, **environment) gives its text."""
    def run(entry, disk, *flags, status=0, moxing=True, **environment):
        disk.mkdir(exist_ok=True)
        with monkeypatch.context() as patch:
            for name, value in {**environment, "FAKE_OBS": str(store)}.items():
                patch.setenv(name, value)
            if moxing:
                patch.syspath_prepend(MOXING)
            patch.chdir(disk)
            found = entry.main(job_flags(disk, *flags))
        printed = "".join(capsys.readouterr())
        assert found == status, printed
        return printed
    return run


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """obs://b/coco, and obs://b/shards made from it by a real job."""
    folder = tmp_path_factory.mktemp("obs")
    make_coco(folder / "b" / "coco", 5)
    make_coco(folder / "b" / "coco", 2, split="val", seed=1)
    text = finish(start("src/dataset.py", folder / "disk1", folder, "--data_url=s3://b/coco/", "--shard_num=2",
                        "--train_url=obs://b/shards/", "--log_file=convert.log", "--num_gpus=1"))
    assert "downloaded obs://b/coco/: 9 files" in text and "--num_gpus 1" in text
    return folder


@pytest.fixture(scope="module")
def trained(store):
    """obs://b/run: the results of two steps, with the flags as the console's fields give them."""
    text = finish(start("train.py", store / "disk2", store, "--data_url=/b/shards/", "--train_url=s3://b/run", *SMALL,
                        "--train_steps=2", "--save_checkpoint_path=./checkpoints", "--distribute=true",
                        "--log_file=train.log", "--init_method=tcp://a:1", "--rank=0", "--world_size=1"))
    assert "step: 2, outputs are" in text
    return store / "b" / "run"


def test_converting_uploads_shards_and_log(store):
    shards = {f"coco_det.train.mind{end}" for end in ("0", "0.db", "1", "1.db", ".info.json")}
    assert names(store / "b" / "shards") == {*shards, "convert.log"}
    assert "boxes written" in (store / "b" / "shards" / "convert.log").read_text()


def test_training_uploads_checkpoints_and_log(store, trained):
    files = {"last.ckpt", "centernet-1_2.ckpt", "metrics.jsonl", "config.yaml", "loss.png", "run.json"}
    assert names(trained) == {"train.log", *(f"checkpoints/{name}" for name in files)}
    assert "step: 2, outputs are" in (trained / "train.log").read_text()
    reread = load_config("train", ["--config_path", str(trained / "checkpoints" / "config.yaml")], "")
    assert not reread.enable_modelarts and reread.mindrecord_dir == str(store / "disk2" / "data")


@pytest.mark.usefixtures("checkpoints_layer_by_layer")
def test_evaluating_the_documented_way(store, trained, here, tmp_path):
    disk = tmp_path / "disk"
    text = here(evaluate, disk, "--data_url=obs://b/coco", "--train_url=obs://b/eval", *TINY,
                "--num_workers=1", "--run_mode=val", "--eval_config.keep_res=false",
                f"--load_checkpoint_path='{disk}/checkpoint_path/last.ckpt'", "--eval_config.K=20",
                "--checkpoint_url=/b/run/checkpoints/", "--dataset_config.input_res_test=[64,64]")
    assert "Average Precision" in text
    assert "AP" in json.loads((store / "b" / "eval" / "results" / "val" / "metrics.json").read_text())


@pytest.mark.slow  # the other jobs here copy data, run and upload in the same way
def test_exporting_from_a_single_checkpoint_file(store, trained, tmp_path):
    flags = ("--train_url=obs://b/export/", "--checkpoint_url=obs://b/run/checkpoints/last.ckpt", "--input_res=[64,64]",
             "--export_name=centernet", "--data_url=s3://b/coco/", "--eval_config.K=20", *TINY)
    finish(start("export.py", tmp_path, store, *flags))
    assert names(store / "b" / "export") == {"centernet.mindir", "centernet.json"}
    assert not (tmp_path / "data").exists()  # export.py reads no data


def test_a_failed_job_keeps_its_status_and_uploads(store, trained, here, tmp_path):
    """--resume with another seed: an error after the log and the folders exist."""
    flags = ("--data_url=s3://b/shards/", "--train_url=s3://b/failed/", *SMALL, "--train_steps=4", "--resume=true",
             "--checkpoint_url=s3://b/run/checkpoints/", "--load_checkpoint_path=last.ckpt", "--seed=1",
             "--log_file=train.log")
    text = here(train, tmp_path, *flags, status=2)
    assert "error: --resume true" in text and "uploaded" in text
    assert "the job ended early: UserError: --resume true" in (store / "b" / "failed" / "train.log").read_text()


def test_an_upload_that_fails_is_an_error_but_never_hides_the_jobs_own(here, tmp_path):
    flags = ("--data_url=s3://b/coco/", "--train_url=s3://b/locked/", "--shard_num=2")
    text = here(convert_dataset, tmp_path, *flags, status=2, FAKE_MOXING_REFUSE_COPY="b/locked")
    assert "boxes written" in text
    assert "error: --train_url obs://b/locked/: the upload of" in text and "403 Forbidden" in text
    text = here(convert_dataset, tmp_path, *flags, "--strict=true", "--annotation_file=no.json",
                "--image_dir=train2017", "--log_file=a.log", status=2, FAKE_MOXING_REFUSE_COPY="b/locked")
    assert "error: --train_url obs://b/locked/: the upload of" in text
    assert text.splitlines()[-1].startswith("error: --annotation_file")


def test_a_wrong_output_address_fails_before_the_work(store, tmp_path):
    text = finish(start("src/dataset.py", tmp_path, store, "--data_url=s3://b/coco/", "--train_url=s3://closed/x",
                        FAKE_MOXING_REFUSE="closed"), 2)
    assert text.startswith("error: --train_url obs://closed/x cannot be written to") and "downloading" not in text


@pytest.mark.parametrize("steps_seen", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_sigterm_uploads_what_there_is(store, tmp_path, steps_seen):
    """During the compilation of the first step, and between steps; a second SIGTERM does not cut the upload short."""
    url = f"b/stopped{steps_seen}"
    job = start("train.py", tmp_path, store, "--data_url=s3://b/shards/", f"--train_url=s3://{url}", *SMALL,
                "--train_steps=100000", "--log_file=train.log", "--save_checkpoint_steps=100000",
                FAKE_MOXING_SLEEP="0.2")
    log, wanted = tmp_path / "train" / "train.log", "step: 1, outputs" if steps_seen else "steps: 0 done"
    for line in (wanted, "uploading"):
        wait_for(lambda text=line: log.exists() and text in log.read_text(), 300, line)
        job.send_signal(signal.SIGTERM)
    text = finish(job, 143)
    assert "uploaded" in text
    uploaded = (store / url / "train.log").read_text()
    assert wanted in uploaded
    told = "the job ended early: Interrupted: interrupted by SIGTERM"
    assert told in uploaded or not steps_seen and "a signal arrived" in uploaded  # the compilation may take seconds


def test_ranks_of_one_server_share_the_inputs_and_not_the_upload(store, tmp_path):
    """Four processes as ModelArts starts them; converting is the work of rank 0 alone."""
    jobs = [start("src/dataset.py", tmp_path, store, "--data_url=s3://b/coco/", "--train_url=s3://b/four/",
                  "--shard_num=2", "--log_file=convert.log", RANK_ID=str(rank), RANK_SIZE="4",
                  ASCEND_DEVICE_ID=str(rank)) for rank in range(4)]
    texts = [finish(job) for job in jobs]
    assert "boxes written" in texts[0]
    assert all("runs only in the process of rank 0" in text for text in texts[1:])
    assert "convert.log" in names(store / "b" / "four")


def test_mounted_folders_need_no_moxing(store, here, tmp_path):
    text = here(convert_dataset, tmp_path / "disk", f"--data_url={store}/b/coco", "--shard_num=2",
                f"--train_url={tmp_path}/mounted/out", "--log_file=convert.log", moxing=False)
    assert "is a local folder: it is used without a copy" in text and "upload" not in text
    assert {"convert.log", "coco_det.train.mind.info.json"} <= names(tmp_path / "mounted" / "out")
    text = finish(start("src/dataset.py", tmp_path / "disk", store, "--data_url=s3://b/coco/", "--train_url=s3://b/no",
                        PYTHONPATH=""), 2)
    assert text.startswith("error: obs://b/no needs the package moxing") and "Traceback" not in text


# Run as each of two ranks: the job of train.py, whose ranks meet again and again as in steps, but with no network.
MEET = """
import logging, sys
sys.path[:0] = ['tests/fake_moxing', 'src']
import centernet.jobs.modelarts as modelarts
from centernet.cli.entry import run_entry
from centernet.device import set_up_group
from centernet.group import gather

def run(config):
    group = set_up_group(config)
    while gather(b'x', group):
        logging.getLogger('centernet').info('the ranks met')

modelarts.GRACE = 2.0
sys.exit(run_entry('train', '', run, sys.argv[1:]))
"""


def test_two_cards_copy_once_and_the_first_uploads_although_the_second_hangs(store, tmp_path, monkeypatch):
    """Rank 0 waits for rank 1 in a collective, where no handler of Python's runs, when it is told to end."""
    monkeypatch.setenv("FAKE_OBS", str(store))
    flags = job_flags(tmp_path, "--data_url=s3://b/shards/", "--train_url=s3://b/hang", "--log_file=train.log")
    log = tmp_path / "train" / "train.log"
    with started(["-c", MEET, *flags], tmp_path) as processes:
        wait_for(lambda: log.exists() and "the ranks met" in log.read_text(), 300, "the first meeting")
        processes["rank1"].send_signal(signal.SIGSTOP)
        time.sleep(1)  # until rank 0 has nothing left to do without it
        processes["rank0"].send_signal(signal.SIGTERM)
        assert processes["rank0"].wait(timeout=300) == 143
    printed = "".join((tmp_path / f"{name}.log").read_text() for name in processes)
    assert printed.count("downloaded obs://b/shards/") == 1
    assert "the ranks met" in (store / "b" / "hang" / "train.log").read_text()
    assert not any("rank_" in name for name in names(store / "b" / "hang"))  # a stopped process uploads nothing
