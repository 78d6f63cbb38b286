"""Start-up time: --help of every command, and the parts of the time to the end of the first training step."""
from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.measure import Options, Row, median, paired
from centernet.config.load import DEFAULT_CONFIG, PRESETS
from centernet.config.setting import ENTRIES
from centernet.program import WITHOUT_FILE

ROOT = DEFAULT_CONFIG.parent
LIMIT = 1.0  # seconds
IMAGES = 8
WITH_FILE = [name for name in ENTRIES if name not in WITHOUT_FILE]
# Flags of the trainings whose first step is measured.
TRAININGS = {
    "demo (ResNet-18, 128 x 128, batch 8)": ["--config_path", str(PRESETS / "demo_cpu.yaml")],
    "ResNet-50 plain, 256 x 256, batch 2": [
        "--config_path", str(PRESETS / "resnet50_plain.yaml"), "--train_config.batch_size", "2",
        "--dataset_config.input_res_train", "256", "256", "--dataset_config.output_res", "64", "64"],
}
PARTS = {"import": "imports", "data": "opening the shards (SHA-256), first batch", "build": "network, optimizer, step",
         "first": "first step with compilation", "second": "second step"}


def entry_file(entry: str) -> Path:
    """Return the file of an entry that a user starts."""
    return ROOT / "src/dataset.py" if entry == "dataset" else ROOT / f"{entry}.py"


def measure(options: Options) -> list[Row]:
    """Return rows about --help, a wrong flag, and first training steps."""
    return [*_help_rows(options.repeats), *_first_step_rows(options)]


def _help_rows(repeats: int) -> list[Row]:
    commands = {f"{name}.py --help": [str(entry_file(name)), "--help"] for name in WITH_FILE}
    commands["eval.py with a wrong flag"] = [str(entry_file("eval")), "--no_such_flag", "1"]
    seconds = paired({name: partial(subprocess.run, [sys.executable, *words], capture_output=True)
                      for name, words in commands.items()}, repeats)
    return [Row(name, median(times), "s", target=f"< {LIMIT:g} s", met=median(times) < LIMIT)
            for name, times in seconds.items()]


def _first_step_rows(options: Options) -> list[Row]:
    shards = options.work / "shards"
    _run("_make_shards", str(options.work / "coco"), str(shards))
    rows = []
    for title, flags in TRAININGS.items():
        print(f"    first step of {title} ...", flush=True)
        parts = json.loads(_run("_time_first_step", *flags, "--mindrecord_dir", str(shards)))
        rows.append(Row(f"{title}: to the end of the first step", sum(parts.values()) - parts["second"], "s",
                        note="; ".join(f"{PARTS[name]} {value:.1f} s" for name, value in parts.items())))
    return rows


def _run(function: str, *arguments: str) -> str:
    """Call a function of this file in a new Python process. Return the last line of its output."""
    code = f"import sys; from benchmarks.start_up import {function} as run; run(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                          check=True)
    return done.stdout.strip().rpartition("\n")[2]


def _make_shards(arguments: list[str]) -> None:
    from centernet.config.schema import Config
    from centernet.data.coco import locate, read_coco
    from centernet.data.convert import convert
    from tools.synthetic import make_dataset

    coco, shards = map(Path, arguments)
    make_dataset(coco, IMAGES, 1)
    convert(read_coco(*locate(str(coco), "train")), shards, Config().mindrecord_prefix, 1)


def _time_first_step(flags: list[str]) -> None:
    """Print the seconds of each of PARTS as JSON."""
    import time

    marks = [time.perf_counter()]
    from centernet.config.load import load_config
    from centernet.config.threads import input_threads
    from centernet.device import prepare_environment, set_up_device
    from centernet.group import ALONE

    config = load_config("train", [*flags, "--device_target", "CPU"], "")
    prepare_environment()
    from centernet.data.pipeline import open_training_data
    from centernet.training.loop import run_step
    from centernet.training.setup import make_plan, start

    set_up_device("CPU", 0, 1)
    marks.append(time.perf_counter())
    data = open_training_data(config.mindrecord_dir, config.mindrecord_prefix, config.dataset_config,
                              config.train_config.batch_size, 1, num_workers=input_threads(config))
    batch = next(iter(data.epoch(0)))
    marks.append(time.perf_counter())
    plan = make_plan(config, data.steps_per_epoch(), data.num_images, 1)
    step, _ = start(config, data.categories, plan, ALONE)
    marks.append(time.perf_counter())
    for _ in range(2):
        run_step(step, batch).asnumpy()
        marks.append(time.perf_counter())
    print(json.dumps({name: after - before for name, before, after in zip(PARTS, marks, marks[1:])}))
