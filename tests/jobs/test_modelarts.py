"""The local paths that a ModelArts job's entry gets, and the flags that the platform adds."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from centernet.cli.entry import run_entry
from centernet.config.load import load_config
from centernet.errors import UserError
from centernet.jobs.modelarts import CODE, plan, run_job, split_platform_flags

JOBS = sorted((CODE / "scripts" / "modelarts").glob("*.json"))


def planned(entry, *flags, **environment):
    flags = ("--enable_modelarts=True", "--data_url=s3://b/in/", "--train_url=obs://b/out/", *flags)
    return plan(entry, load_config(entry, list(flags), ""), environment)


@pytest.mark.parametrize("entry, flags, paths", [
    ("dataset", (), {"coco_data_dir": "/cache/data", "mindrecord_dir": "/cache/train", "annotation_file": ""}),
    ("dataset", ("--annotation_file=boxes.json", "--image_dir=pictures", "--mindrecord_dir=shards"),
     {"annotation_file": "/cache/data/boxes.json", "image_dir": "/cache/data/pictures",
      "mindrecord_dir": "/cache/train/shards"}),
    ("train", ("--save_checkpoint_path=./checkpoints",),
     {"mindrecord_dir": "/cache/data", "save_checkpoint_path": "/cache/train/checkpoints", "save_result_dir": "",
      "data_dir": "", "profiler_path": ""}),
    ("train", ("--mindrecord_dir=shards", "--data_dir=coco", "--eval_interval=1", "--save_result_dir=log",
               "--log_file=train.log"),
     {"mindrecord_dir": "/cache/data/shards", "data_dir": "/cache/data/coco", "save_result_dir": "/cache/train/log",
      "log_file": "/cache/train/train.log"}),
    ("train", ("--mindrecord_dir=/mounted/shards",), {"mindrecord_dir": "/mounted/shards"}),
    ("eval", (), {"data_dir": "/cache/data", "save_result_dir": "/cache/train/results"}),
    ("export", ("--export_name=centernet",), {"export_name": "/cache/train/centernet"}),
    ("preprocess", (), {"val_data_dir": "/cache/data", "predict_dir": "/cache/train/prepared"}),
    ("infer", ("--image=*.jpg",), {"image": ("/cache/data/*.jpg",), "predict_dir": ""}),
    ("infer", ("--data_url=", "--image=rtsp://cam/1"), {"image": ("rtsp://cam/1",)}),
    ("infer", ("--image", "'https://host/a?b=1'", "a.jpg"), {"image": ("https://host/a?b=1", "/cache/data/a.jpg")}),
    ("postprocess", (), {"result_path": "/cache/data/result_Files", "meta_path": "/cache/data/meta",
                         "save_path": "/cache/train"})])
def test_paths_of_each_entry(entry, flags, paths):
    config = planned(entry, *flags).config
    assert {name: getattr(config, name) for name in paths} == paths
    assert not config.enable_modelarts


def test_short_names_and_presets():
    job = planned("train", "--data=shards", "--out=run", "--config_path=official_res18")
    assert job.config.mindrecord_dir == "/cache/data/shards" and job.config.preset == "official_res18"
    assert job.config.save_checkpoint_path == "/cache/train/run"


def test_mounted_inputs_and_outputs_are_used_where_they_are(tmp_path):
    for name in ("in", "models"):
        (tmp_path / name).mkdir()
    job = planned("train", f"--data_url={tmp_path}/in", f"--train_url={tmp_path}/out", "--log_file=train.log",
                  f"--checkpoint_url={tmp_path}/models", "--mindrecord_dir=/cache/data/shards", RANK_ID="3")
    assert job.config.mindrecord_dir == f"{tmp_path}/in/shards"
    assert job.config.save_checkpoint_path == f"{tmp_path}/out/checkpoints"
    assert job.config.log_file == f"{tmp_path}/out/rank_3/train.log"
    assert job.models == tmp_path / "models"


def test_ranks_upload_different_folders_to_different_places():
    jobs = [planned("train", "--log_file=train.log", RANK_ID=str(rank), RANK_SIZE="8", ASCEND_DEVICE_ID=str(rank % 8))
            for rank in (0, 9)]
    assert [job.config.save_checkpoint_path for job in jobs] == ["/cache/train/checkpoints"] * 2
    assert [str(job.output) for job in jobs] == ["/cache/train", "/cache/train_rank_9"]
    assert [job.train_url for job in jobs] == ["obs://b/out/", "obs://b/out/rank_9"]
    assert jobs[1].config.log_file == "/cache/train_rank_9/train.log"


def test_the_scheduler_of_msrun_has_no_results():
    job = planned("train", "--log_file=train.log", RANK_ID="0", MS_ROLE="MS_SCHED", RANK_SIZE="2")
    assert (job.train_url, job.config.log_file) == ("", "") and job.config.mindrecord_dir == "/cache/data"
    seen = []
    run_job(planned("dataset", MS_ROLE="MS_SCHED"), seen.append)
    assert not seen


@pytest.mark.parametrize("flags, environment, device", [
    ((), {}, 0), ((), {"DEVICE_ID": "5"}, 5), ((), {"ASCEND_DEVICE_ID": "6"}, 6),
    (("--device_id=2",), {"DEVICE_ID": "5"}, 2)])
def test_the_device_is_the_platforms_unless_the_user_names_one(flags, environment, device):
    assert planned("eval", *flags, **environment).config.device_id == device


@pytest.mark.parametrize("entry, flags, words", [
    ("train", ("--data_url=",), "--data_url is not set, but train.py reads from it"),
    ("eval", ("--train_url=",), "--train_url is not set"),
    ("eval", ("--data_url=ftp://b/in",), "--data_url 'ftp://b/in' is not an address in the object store"),
    ("eval", ("--checkpoint_url=model.ckpt",), "--checkpoint_url 'model.ckpt' is not an address")])
def test_addresses_that_are_missing_or_wrong(entry, flags, words):
    with pytest.raises(UserError, match=words):
        planned(entry, *flags)


def test_no_data_url_is_needed_without_data():
    assert planned("export", "--data_url=").data_url == ""
    assert planned("train", "--data_url=", "--mindrecord_dir=/mounted/shards").data_url == ""


@pytest.fixture
def models(tmp_path):
    for name in ("last.ckpt", "old.ckpt", "note.txt"):
        (tmp_path / "models" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "models" / name).write_text("")
    (tmp_path / "in").mkdir()
    return tmp_path / "models"


def chosen(entry, key, models, *flags):
    """The model file that the entry gets."""
    seen = []
    run_job(planned(entry, f"--data_url={models.parent}/in", f"--train_url={models.parent}/out", *flags),
            lambda config: seen.append(getattr(config, key)))
    return seen[0]


@pytest.mark.parametrize("entry, key, value, name", [
    ("eval", "load_checkpoint_path", "'/cache/checkpoint_path/last.ckpt'", "last.ckpt"),
    ("export", "export_load_ckpt", "./la*.ckpt", "last.ckpt"),
    ("train", "backbone_checkpoint", "old.ckpt", "old.ckpt")])
def test_named_model_files(models, entry, key, value, name):
    assert chosen(entry, key, models, f"--{key}={value}", f"--checkpoint_url={models}") == str(models / name)


@pytest.mark.parametrize("word, name", [(".", "last.ckpt"), ("run", "run/ckpt_0/last.ckpt"), ("old.ckpt", "old.ckpt"),
                                        ("/cache/checkpoint_path/run", "run/ckpt_0/last.ckpt")])
def test_a_run_of_checkpoint_url_is_resumed(models, word, name):
    (models / "run" / "ckpt_0").mkdir(parents=True)
    (models / "run" / "ckpt_0" / "last.ckpt").touch()
    assert chosen("train", "load_checkpoint_path", models, f"--checkpoint_url={models}", f"--resume={word}") == str(
        models / name)
    with pytest.raises(UserError, match="--load_checkpoint_path nowhere: 0 files match"):
        chosen("train", "load_checkpoint_path", models, f"--checkpoint_url={models}", "--resume=nowhere")


def test_the_only_model_file_needs_no_name(models):
    assert chosen("eval", "load_checkpoint_path", models, f"--checkpoint_url={models}/old.ckpt") == f"{models}/old.ckpt"
    (models / "old.ckpt").unlink()
    assert chosen("train", "load_checkpoint_path", models, f"--checkpoint_url={models}") == f"{models}/last.ckpt"
    assert chosen("train", "load_checkpoint_path", models) == ""


def test_a_model_file_in_the_code_folder(models, monkeypatch):
    monkeypatch.setattr("centernet.jobs.modelarts.CODE", models.parent)
    assert chosen("export", "export_load_ckpt", models, "--export_load_ckpt=./models/l*.ckpt") == f"{models}/last.ckpt"


@pytest.mark.parametrize("value, words", [
    ("*.ckpt", "2 files match, but it must be one. These match: .*last.ckpt, .*old.ckpt"),
    ("/cache/checkpoint_path/best.ckpt", "0 files match, but it must be one. .* contains: .*last.ckpt, .*old.ckpt"),
    ("", "is not set: 2 files match")])
def test_model_files_that_are_not_one(models, value, words):
    with pytest.raises(UserError, match=f"--export_load_ckpt .*{words}"):
        chosen("export", "export_load_ckpt", models, f"--export_load_ckpt={value}", f"--checkpoint_url={models}")


def test_flags_of_the_platform_count_only_in_a_job(tmp_path, capsys):
    flags = ["--num_gpus=8", "--init_method", "tcp://a:1", "--rank", "0", "--world_size=1"]
    assert split_platform_flags(["--seed", "-1", *flags])[0] == ["--seed", "-1"]
    assert run_entry("export", "", lambda config: None, flags) == 2
    assert "unknown argument '--num_gpus=8'" in capsys.readouterr().err
    job = ["--enable_modelarts=True", f"--train_url={tmp_path}", *flags]
    assert run_entry("export", "", lambda config: None, job) == 0
    assert "--init_method tcp://a:1" in capsys.readouterr().out
    assert run_entry("export", "", lambda config: None, [*job, "--train_ur=x"]) == 2
    assert "did you mean --train_url?" in capsys.readouterr().err


def test_results_are_uploaded_from_beside_a_call_that_blocks(tmp_path):
    """SIGTERM while the main thread is where no Python handler runs: here, waiting for a mutex that it holds."""
    program = ("import sys; from pathlib import Path; import centernet.jobs.modelarts as m\n"
               "from centernet.config.load import load_config\nm.GRACE = 1.0\n"
               "job = m.plan('export', load_config('export', sys.argv[1:], ''), {})\n"
               "def run(config):\n"
               "    Path(config.export_name).write_text('kept'); print('blocked', flush=True)\n"
               "    import ctypes; mutex = ctypes.create_string_buffer(64)\n"
               "    for _ in range(2): ctypes.CDLL(None).pthread_mutex_lock(mutex)\n"
               "m.run_job(job, run)\n")
    (tmp_path / "obs").mkdir()
    (tmp_path / "disk").mkdir()
    environment = {**os.environ,
                   "PYTHONPATH": f"{os.environ['PYTHONPATH']}:{CODE}/tests/fake_moxing",
                   "FAKE_OBS": str(tmp_path / "obs")}
    job = subprocess.Popen([sys.executable, "-c", program, "--enable_modelarts=True", "--train_url=obs://b/out",
                            f"--output_path={tmp_path}/disk", "--export_name=model"], env=environment, text=True,
                           stdout=subprocess.PIPE)
    try:
        assert job.stdout.readline() == "blocked\n"
        time.sleep(0.2)
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=120) == 143
    finally:
        job.kill()
    assert (tmp_path / "obs" / "b" / "out" / "model").read_text() == "kept"


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
@pytest.mark.parametrize("by_platform", [True, False])
def test_the_shipped_jobs_give_flags_that_the_entry_knows(path, by_platform, tmp_path):
    """As the platform calls the boot file: it copies inputs and passes local paths, or passes addresses."""
    algorithm = json.loads(path.read_text())["algorithm"]
    boot_file = algorithm["boot_file"].removeprefix(algorithm["code_dir"])
    assert (CODE / boot_file).is_file()
    flags = [f"--{parameter['name']}={parameter['value']}" for parameter in algorithm["parameters"]]
    for place in (*algorithm.get("inputs", ()), *algorithm["outputs"]):
        url = str(tmp_path / place["name"]) if by_platform else "obs:/" + place["remote"]["obs"]["obs_url"]
        flags.append(f"--{place['name']}={url}")
    entry = Path(boot_file).stem
    config = load_config(entry, flags, "")
    assert config.enable_modelarts
    job = plan(entry, config, {})
    assert str(job.output) == (str(tmp_path / "train_url") if by_platform else "/cache/train")


def test_there_is_a_job_for_each_step():
    assert [path.stem for path in JOBS] == ["convert", "eval", "export", "train_1card", "train_8cards"]
