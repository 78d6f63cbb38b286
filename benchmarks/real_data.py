"""Train several settings on a data set with several seeds, and compare their AP in a table and a plot.

python -m benchmarks.real_data benchmarks/rows/paper.yaml --data_dir COCO --work FOLDER [--cores 0]

The rows file lists the trainings (see real_data_rows.read_rows). Each run is train.py (or the paper's training in
PyTorch) and eval.py as processes of their own. FOLDER gets results.jsonl (a line for each finished run), results.md,
ap.png and the logs in runs/. Start the same command again to continue: finished runs are kept, an interrupted run of
train.py goes on at its last checkpoint. Ctrl-C, SIGTERM and SIGHUP write one. Several commands may work in one FOLDER
at the same time, each with its own --cores.
"""
from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.real_data_report import write_report
from benchmarks.real_data_rows import Run, read_rows
from centernet.config.load import HOME
from centernet.data.coco import locate
from centernet.errors import UserError, reports_errors
from centernet.files import read_json, read_json_lines, user_errors
from centernet.interrupt import ending_signals

INTERVAL = 60  # seconds between two looks at a running training
SHOWN = 12  # last lines of the log in an error message
KEPT = ("config.yaml", "metrics.jsonl", "log.txt", "results", "loss.png")  # of a finished run


class Worker:
    """Runs trainings one after the other.

    Args:
        data_dir: data set in COCO's layout.
        work: folder of all results.
        cores: cores of all processes in the form of taskset; "": no limit.
        keep: keep the checkpoints of finished runs.
    """

    def __init__(self, data_dir: Path, work: Path, cores: str, keep: bool):
        self.data_dir, self.work, self.cores, self.keep = data_dir.resolve(), work.resolve(), cores, keep
        self.shards = self.work / "shards"
        self.results = self.work / "results.jsonl"

    def convert(self) -> None:
        """Write the shards, if no command has done it before. A second command waits for them."""
        with self._locked("shards.lock", wait=True):
            if not list(self.shards.glob("*.info.json")):
                self._call(["src/dataset.py", "--coco_data_dir", str(self.data_dir), "--mindrecord_dir",
                            str(self.shards)], self.work / "shards.txt")

    def run(self, run: Run) -> dict[str, Any] | None:
        """Train and evaluate. Return the line of results.jsonl, or None if another command does or did this run."""
        with self._locked(f"{run.key}.lock") as mine:
            if not mine or run.identity in identities(self.results):
                return None
            folder = self.work / "runs" / run.key
            folder.mkdir(parents=True, exist_ok=True)
            done = epochs_of(folder)
            resumed = run.engine == "ours" and (folder / "last.ckpt").exists()
            if not resumed:
                for name in ("metrics.jsonl", "log.txt"):
                    (folder / name).unlink(missing_ok=True)
            if not resumed or len(done) < run.epochs:
                self._train(run, folder, resumed)
            self._call(["eval.py", "--config_path", str(folder / "config.yaml"), "--load_checkpoint_path",
                        str(folder / "last.ckpt"), "--data_dir", str(self.data_dir), "--save_result_dir",
                        str(folder / "results")], folder / "log.txt")
            result = collect(run, folder)
            with self.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")  # one write call, so lines of several commands do not mix
            for path in folder.iterdir():
                if not self.keep and path.name not in KEPT and path.is_file():
                    path.unlink()
            return result

    def _train(self, run: Run, folder: Path, resumed: bool) -> None:
        """Train; a checkpoint of PyTorch is converted. It writes last.ckpt, config.yaml and metrics.jsonl."""
        program = ["train.py", "--mindrecord_dir", str(self.shards)]
        if resumed:
            program += ["--resume", "true", "--load_checkpoint_path", str(folder / "last.ckpt")]
        if run.engine == "torch":
            program = ["-m", "benchmarks.torch_training"]
        self._call([*program, *run.settings, "--data_dir", str(self.data_dir), "--save_checkpoint_path", str(folder),
                    "--save_result_dir", str(folder)], folder / "log.txt", folder)
        if run.engine == "torch":
            annotations, _ = locate(str(self.data_dir), "train")
            self._call(["convert_weights.py", "--config_path", str(folder / "config.yaml"), "--input",
                        str(folder / "last.pth"), "--output", str(folder / "last.ckpt"), "--category_file",
                        str(annotations)], folder / "log.txt")

    @contextmanager
    def _locked(self, name: str, wait: bool = False) -> Iterator[bool]:
        """Hold a lock that ends with this process. Without wait, give False if another process holds it."""
        path = self.work / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True

    def _call(self, words: list[str], log: Path, watched: Path | None = None) -> None:
        """Run Python with these words in the program's folder, and append its output to a log.

        Raises:
            UserError: the command failed; the message has the end of the log.
        """
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HOME / "src"), str(HOME)])}
        command = [sys.executable, *words]
        if self.cores:
            command = ["taskset", "-c", self.cores, *command]
            environment["OMP_NUM_THREADS"] = str(len(core_numbers(self.cores)))
        with log.open("a", encoding="utf-8") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=HOME, env=environment)
            try:
                _wait(process, watched)
            finally:
                process.terminate()
                process.wait()
        if process.returncode:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN:]
            listed = "\n    ".join(lines)
            raise UserError(f"this command ended with status {process.returncode}: {' '.join(command)}\n"
                            f"    ...\n    {listed}\nThe whole log is {log}")


def _wait(process: subprocess.Popen, watched: Path | None) -> None:
    """Wait for a process, and print the newest epoch that metrics.jsonl of a folder has."""
    seen = 0
    while True:
        try:
            process.wait(INTERVAL)
            return
        except subprocess.TimeoutExpired:
            epochs = epochs_of(watched) if watched else []
            if len(epochs) > seen:
                seen = len(epochs)
                print(f"    {time.strftime('%H:%M')} epoch {epochs[-1]['epoch'] + 1}, loss {epochs[-1]['loss']:.3f}, "
                      f"{epochs[-1]['seconds']:.0f} s", flush=True)


def core_numbers(cores: str) -> list[int]:
    """Return the cores of a list in the form of taskset: "0", "0,1", "2-5". Raise UserError for another form."""
    numbers: list[int] = []
    for part in cores.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UserError(f"--cores {cores}: a list of core numbers is needed, for example 0 or 0,1 or 0-3")
        numbers += range(int(first), int(last or first) + 1)
    missing = sorted(set(numbers) - os.sched_getaffinity(0))
    if missing or not numbers:
        raise UserError(f"--cores {cores}: this machine has the cores {sorted(os.sched_getaffinity(0))}")
    return numbers


def collect(run: Run, folder: Path) -> dict[str, Any]:
    """Return the line of results.jsonl of a run: losses, images seen, seconds of its steps, and COCO's numbers."""
    rows = read_lines(folder / "metrics.jsonl")
    batch = run.config.train_config.step_images
    epochs = epochs_of(folder)
    return {**run.as_json(), "images": max(row["step"] for row in rows) * batch,
            "loss": epochs[-1]["loss"] if epochs else None, "seconds": sum(row["seconds"] for row in epochs),
            "curve": [[row["step"] * batch, row["AP"]] for row in rows if row["kind"] == "evaluation"],
            "metrics": read_json(folder / "results/val/metrics.json")}


def epochs_of(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl about finished epochs."""
    return [row for row in read_lines(folder / "metrics.jsonl") if row["kind"] == "epoch"]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects of the lines of a file, without an incomplete last line; [] if there is no file."""
    return read_json_lines(path)[0]


def identities(path: Path) -> set[tuple[str, int, int]]:
    """Return row, epochs and seed of the results in a file."""
    return {(result["row"], result["epochs"], result["seed"]) for result in read_lines(path)}


def require_same_settings(runs: list[Run], path: Path) -> None:
    """Raise UserError if the file has a result of one of the runs with other settings."""
    wanted = {run.identity: run for run in runs}
    for result in read_lines(path):
        run = wanted.get((result["row"], result["epochs"], result["seed"]))
        if run is None:
            continue
        now, then = ({**one["settings"], "engine": one["engine"]} for one in (run.as_json(), result))
        other = [f"{key} was {then.get(key, 'the default')}, now {now.get(key, 'the default')}"
                 for key in sorted({*now, *then}) if now.get(key) != then.get(key)]
        if other:
            raise UserError(f"{path} has a result of row {run.row!r} ({run.epochs} epochs, seed {run.seed}) with other "
                            f"settings: {'; '.join(other)}. Give the row another name, or use another --work")


def work_through(worker: Worker, runs: list[Run], title: str) -> None:
    """Do all runs that are not finished, and write the report after each."""
    order = list(dict.fromkeys(run.row for run in runs))
    times: list[float] = []

    def report() -> str:
        return write_report(read_lines(worker.results), order, worker.work, title)

    for number, run in enumerate(runs, 1):
        name = f"[{number}/{len(runs)}] {run.row}, {run.epochs} epochs, seed {run.seed}"
        if run.identity in identities(worker.results):
            print(f"{name}: finished before", flush=True)
            continue
        print(f"{name}: log in {worker.work / 'runs' / run.key / 'log.txt'}", flush=True)
        start = time.monotonic()
        result = worker.run(run)
        if result is None:
            print("    another command does this run", flush=True)
            continue
        times.append(time.monotonic() - start)
        left = sum(times) / len(times) * (len(runs) - number) / 60
        print(f"    AP {100 * result['metrics']['AP']:.1f}, AP50 {100 * result['metrics']['AP50']:.1f}, "
              f"{times[-1] / 60:.1f} min; at most {left:.0f} min left for this command", flush=True)
        report()
    print(f"\n{report()}\nwritten to {worker.work / 'results.md'} and {worker.work / 'ap.png'}")


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Run the trainings and return the exit status: 0, or 2 after a UserError."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, metavar="ROWS", help="YAML file with the rows")
    parser.add_argument("--data_dir", type=Path, required=True, help="data set in COCO's layout (train2017, val2017)")
    parser.add_argument("--work", type=Path, required=True, help="folder of the results")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these rows")
    parser.add_argument("--cores", default="", help="cores for all processes, for example 0 or 0,1 (default: all)")
    parser.add_argument("--keep", action="store_true", help="keep the checkpoints of finished runs")
    arguments = parser.parse_args(argv)
    runs = read_rows(arguments.rows)
    names = list(dict.fromkeys(run.row for run in runs))
    if unknown := [name for name in arguments.only or () if name not in names]:
        raise UserError(f"--only {' '.join(unknown)}: the rows of {arguments.rows} are {', '.join(names)}")
    runs = [run for run in runs if not arguments.only or run.row in arguments.only]
    if arguments.cores:
        core_numbers(arguments.cores)
    for split in ("train", "val"):
        locate(str(arguments.data_dir), split)
    with user_errors(f"--work {arguments.work}"):
        arguments.work.mkdir(parents=True, exist_ok=True)
    worker = Worker(arguments.data_dir, arguments.work, arguments.cores, arguments.keep)
    require_same_settings(runs, worker.results)
    try:
        worker.convert()
        work_through(worker, runs, f"# {arguments.rows.name}")
    except KeyboardInterrupt:
        print("interrupted: start the same command again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    for ending in set(ending_signals()) - {signal.SIGINT}:
        signal.signal(ending, signal.default_int_handler)  # otherwise the training goes on without this program
    sys.exit(main())
