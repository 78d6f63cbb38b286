"""How messages name a command: in a form that the reader can start.

A checkout has train.py, eval.py, ... at its top. Who installed the wheel has only `centernet COMMAND`.
"""
from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of a checkout
WITHOUT_FILE = ("import_dataset", "check_data")  # commands without a file such as train.py at the top of a checkout


def by_console() -> bool:
    """Return whether commands are named `centernet COMMAND`: the user started one so, or there is no checkout."""
    started = Path(sys.argv[0])
    module = started.name == "__main__.py" and started.parent.name == "centernet"
    return started.stem == "centernet" or module or not in_checkout()


def in_checkout() -> bool:
    """Return whether the code lies in a checkout, which has train.py, scripts/ and the requirements files."""
    return (ROOT / "train.py").is_file() and (ROOT / "src/dataset.py").is_file()


def program(entry: str) -> str:
    """Return the name of a command (an entry of config.setting) for a text: "centernet eval" or "eval.py"."""
    if entry in WITHOUT_FILE or by_console():
        return "centernet " + ("convert-dataset" if entry == "dataset" else entry.replace("_", "-"))
    return f"{entry}.py"


def command(entry: str) -> str:
    """Return the words that start a command from the current folder: "centernet eval" or "python eval.py"."""
    if entry in WITHOUT_FILE or by_console():
        return program(entry)
    file = ROOT / ("src/dataset.py" if entry == "dataset" else f"{entry}.py")
    near = os.path.relpath(file)
    return f"python {file if near.startswith('..') else near}"


def convert_again() -> str:
    """Return the advice for shards that cannot be used. It begins with a small letter."""
    return f"run `{command('dataset')}` again"


def install(extra: str, packages: str) -> str:
    """Return the pip command for packages: with a checkout's file requirements-EXTRA.txt, or with their names."""
    name = f"requirements-{extra}.txt" if extra else "requirements.txt"
    return f"pip install -r {name}" if in_checkout() else f"pip install {packages}"


def prepare_again() -> str:
    """Return the advice for a prepared set that cannot be used. It begins with a small letter."""
    return f"run {program('preprocess')} again"
