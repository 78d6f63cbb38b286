"""The command file for a rank table of two servers with eight devices each, compared with what was agreed."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.ascend_distributed_launcher.get_distribute_train_cmd import main
from tests.jobs.launch.rank_tables import write_table

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "scripts/ascend_distributed_launcher/get_distribute_train_cmd.py"
RANK = """
mkdir -p LOG{device}/ms_log
nohup env RANK_ID={rank} RANK_SIZE=16 DEVICE_ID={device} 'RANK_TABLE_FILE=my hccl.json' HCCL_CONNECT_TIMEOUT=600 \
SERVER_ID={server} GLOG_logtostderr=0 GLOG_log_dir=LOG{device}/ms_log PYTHONUNBUFFERED=1 \
ASCEND_PROCESS_LOG_PATH=LOG{device}/plog \
taskset --cpu-list {first}-{last} "${{PYTHON:-python}}" train.py --epoch_size 330 --do_shuffle true \
--enable_lossscale true --enable_save_ckpt true --save_checkpoint_steps 1000 --save_checkpoint_num 1 \
--mindrecord_prefix coco_det.train.mind --train_config.batch_size 32 \
--train_config.MultiDecay.learning_rate 0.00048 --mindrecord_dir '/data/my shards' \
--load_checkpoint_path /data/a.ckpt --distribute true --device_num 16 --device_id {device} \
--save_checkpoint_path LOG{device}/ckpt_{rank} >LOG{device}/training_log.txt 2>&1 </dev/null &
echo rank {rank}, device {device}: PID $!, log LOG{device}/training_log.txt
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    write_table(tmp_path / "my hccl.json", range(8), range(8))
    return tmp_path


@pytest.mark.parametrize("server", [0, 1])
def test_two_servers_with_eight_devices(folder, capsys, server):
    assert main(["--run_script_dir", "train.py", "--mindrecord_dir", "/data/my shards", "--hccl_config_dir",
                 "my hccl.json", "--hccl_time_out", "600", "--cmd_file", "cmd.sh", "--load_checkpoint_path",
                 "/data/a.ckpt", "--server_id", f"10.0.0.{server + 1}", "--cpu_count", "100"]) == 0
    head = f"""#!/usr/bin/env bash
# 8 of 16 ranks: server 10.0.0.{server + 1} of my hccl.json
# PYTHON names the Python to use (default: python).
set -euo pipefail
"""
    expected = head + "".join(RANK.format(rank=8 * server + device, device=device, server=server, first=12 * device,
                                          last=12 * device + 11) for device in range(8))
    assert (folder / "cmd.sh").read_text() == expected
    printed = capsys.readouterr().out
    assert f"rank {8 * server + 3}: device 3, cores 36-47, log LOG3/training_log.txt" in printed


def test_the_file_starts_its_ranks(folder):
    """With a program that prints what it got, and a Python given by PYTHON; the program runs from any folder."""
    (folder / "train.py").write_text("import os, sys\nprint(os.environ['RANK_ID'], sys.argv[-1])\n")
    write_table(folder / "two.json", [0, 1])
    subprocess.run([sys.executable, str(PROGRAM), "--mindrecord_dir", "shards", "--hccl_config_dir", "two.json",
                    "--cpu_count", "1"], check=True, cwd=folder)
    (folder / "distributed_cmd.sh").write_text((folder / "distributed_cmd.sh").read_text() + "wait\n")
    subprocess.run(["bash", "distributed_cmd.sh"], check=True, cwd=folder, timeout=30,
                   env={**os.environ, "PYTHON": sys.executable})
    for rank in (0, 1):
        assert (folder / f"LOG{rank}/training_log.txt").read_text().splitlines()[-1] == f"{rank} LOG{rank}/ckpt_{rank}"


@pytest.mark.parametrize("flag", ["run_script_dir", "hyper_parameter_config_dir", "mindrecord_dir", "hccl_config_dir",
                                  "load_checkpoint_path", "cmd_file", "server_id"])
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_flag_is_an_error(folder, capsys, flag, value):
    base = ["--mindrecord_dir", "s", "--hccl_config_dir", "my hccl.json", "--server_id", "10.0.0.1"]
    assert main([*base, f"--{flag}", value]) == 2
    assert capsys.readouterr().err == f"error: --{flag} is empty: give a value, or leave the flag out\n"
    assert not (folder / "distributed_cmd.sh").exists()


@pytest.mark.parametrize("change, message", [
    (["--run_script_dir", "none.py"], "--run_script_dir none.py is not a file"),
    (["--hccl_config_dir", "none.json"], "rank table none.json: No such file"),
    (["--server_id", "10.0.0.7"], "has the servers 10.0.0.1, 10.0.0.2"),
    (["--hyper_parameter_config_dir", "none.ini"], "none.ini: No such file"),
    (["--cmd_file", "no/such/folder.sh"], "--cmd_file no/such/folder.sh: No such file")])
def test_wrong_arguments(folder, capsys, change, message):
    base = ["--mindrecord_dir", "s", "--hccl_config_dir", "my hccl.json", "--server_id", "10.0.0.1"]
    assert main([*base, *change]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "distributed_cmd.sh").exists()
