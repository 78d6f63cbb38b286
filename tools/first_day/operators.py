"""Time of each operator of a training step, and the engine that runs it, from MindSpore's profiler.

    python -m tools.first_day.operators --device_target Ascend [--out FILE] [flags of train.py]
"""
from __future__ import annotations

import argparse
import csv
import io
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from centernet.categories import categories_from_names
from centernet.cli import run_process
from centernet.config.load import Config, load_config
from centernet.device import prepare_environment, set_up
from centernet.errors import reports_errors
from centernet.files import write_json
from tools.dry_run_step import STEPS_PER_EPOCH
from tools.first_day.golden_network import batch
from tools.first_day.simulation import is_simulated

ACTIVE = 2  # steps that training.loop.profiler records
STEPS = 5   # it waits for two steps before, and needs another one to end
# Columns of the files: operator, engine ("" if it is known), time, its unit in ms, number of calls (each row one).
KERNEL_DETAILS = ("Type", "Accelerator Core", "Duration(us)", 0.001, "")     # MindSpore's, from CANN's op_summary
OP_SUMMARY = ("OP Type", "Task Type", "Task Duration(us)", 0.001, "")        # CANN's
CPU_TYPES = ("op_type", "", "total_compute_time", 1.0, "type_occurrences")   # MindSpore's on a CPU
FILES = (("kernel_details.csv", KERNEL_DETAILS), ("op_summary_*.csv", OP_SUMMARY),
         ("cpu_op_type_info_*.csv", CPU_TYPES))


@dataclass(frozen=True)
class Operator:
    """What the kernels of one operator take in one step: their number and their time together."""

    name: str
    engine: str
    count: float
    ms: float


def parse(text: str, columns: tuple[str, str, str, float, str], steps: int = ACTIVE) -> list[Operator]:
    """Return the operators of a profile of some steps, the slowest first.

    Raises:
        ValueError: the file has other columns.
    """
    name, engine, time, unit, calls = columns
    reader = csv.DictReader(io.StringIO(text))
    missing = [column for column in (name, engine, time, calls) if column and column not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"the profile has no column {', '.join(missing)}; it has {', '.join(reader.fieldnames or ())}")
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for row in reader:
        key = row[name].strip(), row[engine].strip() if engine else "CPU"
        count, ms = found.get(key, (0.0, 0.0))
        found[key] = count + (float(row[calls]) if calls else 1), ms + _number(row[time]) * unit
    rows = [Operator(*key, count / steps, ms / steps) for key, (count, ms) in found.items()]
    return sorted(rows, key=lambda row: -row.ms)


def _number(text: str) -> float:
    """Return a number of a CSV file of the profiler, which may have a tab at its end; N/A is 0."""
    try:
        return float(text.strip())
    except ValueError:
        return 0.0


def read_profile(folder: Path) -> tuple[list[Operator], str]:
    """Return the operators of the profile in a folder, and the file that has them, or what is there instead."""
    for pattern, columns in FILES:
        for path in sorted(folder.rglob(pattern)):
            rows = parse(path.read_text(encoding="utf-8-sig", errors="replace"), columns)
            if rows:
                return rows, path.name
    files = sorted(path.name for path in folder.rglob("*") if path.is_file())
    wanted = ", ".join(pattern for pattern, _ in FILES)
    return [], f"the profiler wrote none of {wanted} with rows; it wrote {', '.join(files) or 'no file'}"


def by_engine(rows: Iterable[Operator]) -> Mapping[str, float]:
    """Return the milliseconds of a step by engine."""
    found: dict[str, float] = {}
    for row in rows:
        found[row.engine] = found.get(row.engine, 0.0) + row.ms
    return found


def profile(config: Config, folder: Path) -> None:
    """Run some training steps, and write a profile of two of them into a folder. In a dry run, compile one step."""
    from centernet.training.loop import profiler, run_step
    from centernet.training.setup import build_step, make_plan

    train, data = config.train_config, config.dataset_config
    plan = make_plan(config, STEPS_PER_EPOCH, STEPS_PER_EPOCH * train.step_images, 1)
    step, columns = build_step(config, categories_from_names(data.coco_classes), plan, 1), batch(config)
    if is_simulated():
        run_step(step, columns).asnumpy()
        return
    with profiler(str(folder)) as after_step:
        for _ in range(STEPS):
            run_step(step, columns).asnumpy()
            if after_step:
                after_step()


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Profile, print the table, return the exit status: 1 if the profile has no operators."""
    parser = argparse.ArgumentParser(prog="python -m tools.first_day.operators", description=__doc__.splitlines()[0],
                                     allow_abbrev=False)
    parser.add_argument("--out", type=Path, help="also write the table to this JSON file")
    words, flags = parser.parse_known_args(argv)
    config = load_config("train", flags, "")
    prepare_environment(config.device_target)
    set_up(config, config.device_id)
    with tempfile.TemporaryDirectory(prefix="profile-", dir=".") as name:
        profile(config, Path(name))
        if is_simulated():
            print("MindSpore's dry run: the step has compiled; there is nothing to profile")
            return 0
        rows, source = read_profile(Path(name))
    if words.out:
        write_json(words.out, {"operators": [asdict(row) for row in rows], "source": source,
                               "engines": dict(by_engine(rows))})
    for row in rows:
        print(f"{row.name:<28} {row.engine:<16} {row.count:8.1f} {row.ms:10.3f} ms")
    print(source)
    return 0 if rows else 1


if __name__ == "__main__":
    run_process(main)
