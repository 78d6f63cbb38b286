"""Compare this device's forward pass, decode, losses and training step with numbers stored in golden.json.

    python -m tools.first_day.golden --device_target Ascend --mode float16
    python -m tools.first_day.golden --device_target CPU --write        writes golden.json anew, in float32

The exit status is 1 if a difference is larger than allowed.
"""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from centernet.cli import run_process
from centernet.device import prepare_environment, set_up
from centernet.errors import UserError, reports_errors
from centernet.files import read_json, write_json
from tools.first_day.golden_network import CASES, case_config
from tools.first_day.simulation import is_simulated

GOLDEN = Path(__file__).with_name("golden.json")
# Mode -> flags of train.py.
MODES = {"float32": ("--train_config.amp_level", "O0"),
         "exact_fp32": ("--train_config.amp_level", "O0", "--exact_fp32", "true"),
         "float16": ("--train_config.amp_level", "O2"),
         "bfloat16": ("--train_config.amp_level", "O2", "--train_config.amp_type", "bfloat16")}
# Mode -> largest allowed difference as a fraction of the stored value: forward pass and losses; gradients. On a CPU
# float16 has 9e-3 and 0.24; HF32 has as many bits, bfloat16 three bits fewer. Gradients differ more, because a small
# change lets some units of a ReLU, and some taps of a deformable layer, take another branch.
LIMITS = {"float32": (3e-2, 0.5), "exact_fp32": (1e-3, 1e-2), "float16": (3e-2, 0.5), "bfloat16": (0.2, 1.0)}
LIMITS_CPU = (1e-4, 1e-2)    # float32. Gradients: the number of threads changes sums; 3e-4 with two, 1.4e-3 with one
LIMIT_DECODE = 1e-4          # output cells; in any mode
DECODE = "made-up maps"
DIGITS = 8


def compare(stored: dict[str, Any], found: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Return (name, relative difference, largest difference) for everything that is stored.

    Relative: of an array, the estimated norm of the difference, as a fraction of its norm; of a list of numbers, the
    largest difference as a fraction of the largest number. What is missing or not finite has an infinite difference.
    """
    return [(name, *_difference(expected, found.get(name))) for name, expected in stored.items()]


def _difference(expected: Any, found: Any) -> tuple[float, float]:
    if found is None:
        return np.inf, np.inf
    if isinstance(expected, list):
        largest = _largest(expected, found)
        return largest / max(map(abs, expected)), largest
    moved = np.subtract(found["projections"], expected["projections"])
    distance = max(float(np.sqrt(np.mean(moved ** 2))), abs(found["norm"] - expected["norm"]))
    return _finite(distance / expected["norm"]), _largest(expected["samples"], found["samples"])


def _largest(expected: list[float], found: list[float]) -> float:
    return _finite(float(np.abs(np.subtract(found, expected)).max()))


def _finite(value: float) -> float:
    return value if np.isfinite(value) else np.inf


def limit(mode: str, device_target: str, name: str) -> float:
    """Return the largest allowed relative difference."""
    limits = LIMITS_CPU if device_target == "CPU" and mode in ("float32", "exact_fp32") else LIMITS[mode]
    return limits[name.startswith("gradient")]


def summary(rows: list[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Return rows with one for all gradients: that of the largest relative difference, with its group's name."""
    gradients = [row for row in rows if row[0].startswith("gradient")]
    worst = max(gradients, key=lambda row: row[1])
    return [row for row in rows if row not in gradients] + [(f"{worst[0]} (the worst)", *worst[1:])]


def run_mode(mode: str, device_target: str, device_id: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run the decode of made-up maps and all cases in a mode. Yield the name and the numbers of each."""
    flags = [*MODES[mode], "--device_id", str(device_id)]
    configs = {case: case_config(case, device_target, *flags) for case in CASES}
    prepare_environment(device_target)
    set_up(configs["small"], device_id)
    from tools.first_day.golden_run import decode_error, run_case

    yield DECODE, {"error": decode_error()}
    for case, config in configs.items():
        yield case, run_case(config)


def differences(case: str, found: dict[str, Any], mode: str, device_target: str) -> list[tuple]:
    """Return rows (case, what, relative difference, largest difference, allowed relative difference) of a case."""
    if case == DECODE:
        return [(case, "decode against NumPy", found["error"], found["error"], LIMIT_DECODE)]
    rows = summary(compare(read_json(GOLDEN)["cases"][case], found))
    skipped = [(case, "the step was skipped: overflow", np.inf, np.inf, 0.0)] if found["overflow"] else []
    return [*((case, *row, limit(mode, device_target, row[0])) for row in rows), *skipped]


def check(words: argparse.Namespace) -> list[tuple]:
    """Run a mode, print the table of differences and return it. The file of --out has what has been compared so far."""
    table: list[tuple] = []
    for case, found in run_mode(words.mode, words.device_target, words.device_id):
        if is_simulated():
            print(f"{case}: compiled in {words.mode}. A dry run computes nothing, so nothing is compared", flush=True)
            continue
        for row in differences(case, found, words.mode, words.device_target):
            print("{:<13} {:<40} {:9.1e} {:9.1e}  allowed {:.0e}".format(*row), flush=True)
            table.append(row)
        if words.out:
            write_json(words.out, {"mode": words.mode, "rows": table})
    return table


def write(found: dict[str, dict[str, Any]]) -> None:
    """Write golden.json."""
    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: short(each) for key, each in value.items()}
        return [short(each) for each in value] if isinstance(value, list) else float(f"{value:.{DIGITS}g}")
    cases = {case: {name: short(value) for name, value in found[case].items() if name != "overflow"} for case in CASES}
    write_json(GOLDEN, {"made with": f"MindSpore {metadata.version('mindspore')} on a CPU in float32", "cases": cases})


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Run, compare, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.first_day.golden", description=__doc__.splitlines()[0],
                                     allow_abbrev=False)
    parser.add_argument("--device_target", choices=("Ascend", "CPU"), default="Ascend")
    parser.add_argument("--device_id", type=int, default=0)
    parser.add_argument("--mode", choices=list(MODES), default="float32", help="precision (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="also write the differences to this JSON file")
    parser.add_argument("--write", action="store_true", help="write golden.json anew instead of comparing with it")
    words = parser.parse_args(argv)
    if words.write and (words.device_target, words.mode) != ("CPU", "float32"):
        raise UserError("--write needs --device_target CPU and --mode float32: the stored numbers are those of a CPU")
    if words.write:
        write(dict(run_mode(words.mode, words.device_target, words.device_id)))
        return 0
    wrong = [f"{case}: {what}" for case, what, relative, _, allowed in check(words) if not relative <= allowed]
    if wrong:
        print(f"error: these differ by more than allowed: {', '.join(wrong)}")
    return int(bool(wrong))


if __name__ == "__main__":
    run_process(main)
