"""Run the benchmarks on this machine. Comparisons use alternating runs, so that ratios are valid on a loaded machine.

python -m benchmarks.run --data_dir COCO                    all benchmarks
python -m benchmarks.run inference evaluation --data_dir COCO --out FOLDER
"""
from __future__ import annotations

import argparse
import importlib
import multiprocessing
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.measure import Options, Row
from benchmarks.report import shown, write_report
from centernet.device import prepare_environment
from centernet.errors import UserError, reports_errors

# Benchmark -> it needs --data_dir.
NAMES = {"conversion": True, "start_up": False, "input_pipeline": True, "training_step": True, "inference": True,
         "evaluation": True}


def measure_alone(name: str, options: Options) -> list[Row]:
    """Run one benchmark in its own process, so that memory, threads and graphs of other benchmarks do not affect it.

    Raises:
        UserError: the benchmark cannot run, or its process was killed.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_measure, name, options).result()
        except BrokenProcessPool as error:
            raise UserError(f"{name}: its process was killed. Is there too little memory?") from error


def _measure(name: str, options: Options) -> list[Row]:
    prepare_environment()
    return importlib.import_module(f"benchmarks.{name}").measure(options)


def run(names: list[str], data_dir: Path | None, out: Path, repeats: int) -> dict[str, list[Row]]:
    """Run benchmarks one after the other, and write the report after each."""
    results: dict[str, list[Row]] = {}
    machine = describe_machine()
    work = (out / "work").resolve()
    try:
        for number, name in enumerate(names, 1):
            print(f"[{number}/{len(names)}] {name} ...", flush=True)
            start = time.monotonic()
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            results[name] = measure_alone(name, Options(data_dir, repeats, work))
            for row in results[name]:
                print(f"    {row.what}: {row.note if row.value is None else f'{shown(row.value)} {row.unit}'}")
            print(f"    {time.monotonic() - start:.0f} s in total", flush=True)
            text = write_report(out, machine, results)
    except OSError as error:
        raise UserError(f"--out {out}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"\n{text}\nwritten to {out / 'results.json'} and {out / 'results.md'}")
    return results


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line. Raise UserError for benchmarks that cannot run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"benchmarks (default: all): {', '.join(NAMES)}")
    parser.add_argument("--data_dir", type=Path, help="data set in COCO's layout with train2017 and val2017")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"),
                        help="folder of results.json and results.md (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of every comparison (default %(default)s)")
    arguments = parser.parse_args(argv)
    arguments.names = arguments.names or list(NAMES)
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        raise UserError(f"unknown benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if arguments.repeats < 1:
        raise UserError(f"--repeats {arguments.repeats} is not allowed: use at least 1")
    needing = [name for name in arguments.names if NAMES[name]]
    if needing and arguments.data_dir is None:
        raise UserError(f"{', '.join(needing)}: images are needed. Give a data set in COCO's layout with --data_dir")
    if arguments.data_dir and not arguments.data_dir.is_dir():
        raise UserError(f"--data_dir {arguments.data_dir}: there is no such folder")
    return arguments


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks and return the exit status: 0, or 2 after a UserError."""
    prepare_environment()
    arguments = parse(argv)
    run(arguments.names, arguments.data_dir, arguments.out, arguments.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
