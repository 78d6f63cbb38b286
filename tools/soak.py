"""Soak: train for a long time, and see whether memory, threads, file handles and speed stay as they are.

    python -m tools.soak WORK                                        1,000 steps; after every 100 an evaluation, and
                                                                     then a new process resumes
    python -m tools.soak WORK --one_process --windows 50 --steps 20  50 evaluations in one process

A window is the time up to the end of an evaluation. WORK gets soak.jsonl (a line for each window), soak.txt (the
verdict), soak.png (the plot), and the files of the run. The verdict compares the first third of the windows with the
last third, without the very first window, which compiles. The exit status is 1 if a limit is exceeded.

The training is small (ResNet with one block a stage, 64x64, generated images), but it is train.py with all its parts:
shards, augmentation, average of the weights, checkpoints, evaluation.
"""
from __future__ import annotations

import argparse
import json
import math
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import psutil

from centernet.errors import UserError, reports_errors
from centernet.files import user_errors, write_text
from centernet.interrupt import ending_signals
from tools.soak_report import LEAST, Limits, Window, draw, judge, report
from tools.synthetic import make_dataset

ROOT = Path(__file__).resolve().parents[1]
BATCH = 2
VAL_IMAGES = 16
INTERVAL = 0.2  # seconds between two looks at the process
TRAIN = ("--config_path", "configs/demo_cpu.yaml", "--net_config.block_class", "1", "1", "1", "1",
         "--net_config.neck", "none", "--net_config.neck_filters", "8", "8", "8", "--net_config.head_conv", "8",
         "--dataset_config.input_res_train", "64", "64", "--dataset_config.output_res", "16", "16",
         "--dataset_config.input_res_test", "64", "64", "--train_config.batch_size", str(BATCH),
         "--train_config.lr_schedule", "MultiDecay", "--num_workers", "1", "--eval_interval", "1")


class Usage:
    """What a process uses: its memory and CPU seconds at the last look; largest values since `restart`."""

    def __init__(self, process: psutil.Process):
        self.process, self.rss, self.cpu, self.spent = process, 0.0, 0.0, 0.0
        self.peak, self.threads, self.handles = 0.0, 0, 0

    def look(self) -> None:
        """Measure. A process that has ended keeps the values of the last look."""
        try:
            with self.process.oneshot():
                rss, times, threads = (self.process.memory_info().rss / 2**20, self.process.cpu_times(),
                                       self.process.num_threads())
            handles = self.process.num_fds()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return
        if not rss:  # it has ended, and nobody has asked for its status yet
            return
        self.rss, self.cpu = rss, times.user + times.system
        self.peak, self.threads, self.handles = (max(self.peak, rss), max(self.threads, threads),
                                                 max(self.handles, handles))

    def restart(self) -> None:
        """Begin a new window."""
        self.spent, self.peak, self.threads, self.handles = self.cpu, self.rss, 0, 0


class Tail:
    """The new rows of a growing metrics.jsonl. A resumed run writes it anew, with the same rows at its start."""

    def __init__(self, path: Path):
        self.path, self.place, self.step, self.seconds = path, 0, 0, 0.0

    def evaluations(self) -> Iterator[tuple[int, float]]:
        """Yield each new evaluation: its step, and the seconds of a step in the epoch before."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            self.place = self.place if self.place <= self.path.stat().st_size else 0
            file.seek(self.place)
            lines = file.read().split(b"\n")[:-1]  # the last line may be incomplete
        self.place += sum(len(line) + 1 for line in lines)
        for row in map(json.loads, lines):
            if row["kind"] == "epoch":
                self.seconds = row["seconds_per_step"]
            if row["kind"] == "evaluation" and row["step"] > self.step:
                self.step = row["step"]
                yield self.step, self.seconds


def watch(command: Sequence[str], tail: Tail, log: Path, number: int) -> Iterator[Window]:
    """Run train.py and yield a window at each evaluation. number: that of the process, from 1.

    Raises:
        UserError: train.py failed.
    """
    started = begin = time.monotonic()
    step = tail.step
    with log.open("ab") as output:
        process = psutil.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    usage = Usage(process)
    try:
        while True:
            ended = process.poll() is not None
            usage.look()
            for at, seconds in tail.evaluations():
                now = time.monotonic()
                yield Window(step=at, process=number, seconds=now - begin, rss_mib=usage.rss, peak_mib=usage.peak,
                             threads=usage.threads, handles=usage.handles,
                             cpu_seconds_per_step=(usage.cpu - usage.spent) / (at - step),
                             steps_per_second=1 / seconds if seconds else 0.0)
                begin, step = now, at
                usage.restart()
            if ended:
                break
            time.sleep(INTERVAL)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        raise UserError(f"train.py ended with status {process.returncode} after {time.monotonic() - started:.0f} s: "
                        f"see the end of {log}. The command was: {shlex.join(command)}")


def soak(work: Path, windows: int, steps: int, one_process: bool, flags: Sequence[str]) -> Iterator[Window]:
    """Train windows x steps steps and evaluate after each window. Without one_process each window is a new process."""
    make_dataset(work / "coco", BATCH * steps, VAL_IMAGES)
    run, log = work / "run", work / "run.log"
    convert = [sys.executable, "src/dataset.py", "--device_target", "CPU", "--coco_data_dir", str(work / "coco"),
               "--mindrecord_dir", str(work / "shards"), "--shard_num", "1"]
    with log.open("wb") as output:
        if subprocess.run(convert, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False).returncode:
            raise UserError(f"the conversion of the generated images failed: see {log}")
    train = [sys.executable, "train.py", *TRAIN, "--mindrecord_dir", str(work / "shards"), "--data_dir",
             str(work / "coco"), "--save_checkpoint_path", str(run), "--save_checkpoint_steps", str(steps), *flags]
    tail = Tail(run / "metrics.jsonl")
    for number in range(1, 2 if one_process else windows + 1):
        last = steps * (windows if one_process else number)
        resume = ["--resume", "true", "--load_checkpoint_path", str(run / "last.ckpt")] if number > 1 else []
        yield from watch([*train, "--epoch_size", str(windows), "--train_steps", str(last), *resume], tail, log, number)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a new or empty folder")
    parser.add_argument("--windows", type=int, default=10, help="number of evaluations (%(default)s), at least 4")
    parser.add_argument("--steps", type=int, default=100, help="steps before each evaluation (%(default)s)")
    parser.add_argument("--minutes", type=float, default=0.0,
                        help="judge what is there after this time, if it is at least 4 windows; 0: no limit")
    parser.add_argument("--one_process", action="store_true", help="do not resume: one process makes all windows")
    for field in fields(Limits):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default,
                            help=f"{field.metadata['help']} (%(default)s)")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[],
                        help="all words after this one are further flags of train.py")
    options = parser.parse_args(argv)
    if options.windows < LEAST or options.steps < 1 or options.minutes < 0:
        raise UserError(f"--windows must be at least {LEAST}, because the first third of the windows is compared with "
                        f"the last third, --steps at least 1 and --minutes at least 0; found {options.windows}, "
                        f"{options.steps} and {options.minutes:g}")
    return options


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Soak, write the files, and return the exit status: 0 flat, 1 a limit is exceeded, 2 an error."""
    options = parse(argv)
    work = options.work.resolve()
    with user_errors(f"WORK {work}"):
        work.mkdir(parents=True, exist_ok=True)
        if any(work.iterdir()):
            raise UserError(f"{work} is not empty: name a new or empty folder")
    windows: list[Window] = []
    end = time.monotonic() + 60 * (options.minutes or math.inf)
    for window in soak(work, options.windows, options.steps, options.one_process, options.flags):
        windows.append(window)
        print(window.line(), flush=True)
        write_text(work / "soak.jsonl", "".join(f"{json.dumps(vars(row))}\n" for row in windows))
        if time.monotonic() > end and len(windows) >= LEAST:
            break
    checks = judge(windows, Limits(**{field.name: getattr(options, field.name) for field in fields(Limits)}))
    verdict = report(windows, checks)
    write_text(work / "soak.txt", verdict)
    draw(windows, work / "soak.png")
    print(f"\n{verdict}\nplot: {work / 'soak.png'}")
    return 0 if all(check.met for check in checks) else 1


if __name__ == "__main__":
    for ending in set(ending_signals()) - {signal.SIGINT}:
        signal.signal(ending, lambda number, _: sys.exit(128 + number))  # train.py then ends, too
    sys.exit(main())
