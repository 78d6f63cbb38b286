"""How messages name a command: in a form that the reader can start.

A checkout has train.py, eval.py, ... at its top. Who installed the wheel has only `centernet COMMAND`. Commands without
such a file are `python -m centernet COMMAND` in a checkout that is not installed.
"""
from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of a checkout
DISTRIBUTION = "centernet-mindspore"  # the name of the installed package, as in pyproject.toml
# Commands without a file such as train.py at the top of a checkout.
WITHOUT_FILE = ("import_dataset", "check_data", "compare")


def by_console() -> bool:
    """Return whether commands are named `centernet COMMAND`: the user started one so, or there is no checkout.

    Who started `python -m centernet` in a checkout that is not installed has no command centernet.
    """
    started = Path(sys.argv[0])
    return started.stem == "centernet" or not in_checkout() or by_module(started) and _installed()


def by_module(started: Path) -> bool:
    """Return whether a process was started as `python -m centernet`; started is its sys.argv[0]."""
    return started.name == "__main__.py" and started.parent.name == "centernet"


def _installed() -> bool:
    """Return whether the user can start the command centernet: it started this process, or it is on PATH."""
    return Path(sys.argv[0]).stem == "centernet" or shutil.which("centernet") is not None


def in_checkout() -> bool:
    """Return whether the code lies in a checkout, which has train.py, scripts/ and the requirements files."""
    return (ROOT / "train.py").is_file() and (ROOT / "src/dataset.py").is_file()


def program(entry: str) -> str:
    """Return the name of a command (an entry of config.setting) for a text: "centernet eval" or "eval.py"."""
    if entry in WITHOUT_FILE or by_console():
        name = "convert-dataset" if entry == "dataset" else entry.replace("_", "-")
        return f"{'' if _installed() else 'python -m '}centernet {name}"
    return f"{entry}.py"


def command(entry: str) -> str:
    """Return the words that start a command from the current folder: "centernet eval" or "python eval.py"."""
    if entry in WITHOUT_FILE or by_console():
        # Without an installation, Python finds the package only in src.
        return f"PYTHONPATH={_near('src')} " * (in_checkout() and not _installed()) + program(entry)
    return f"python {_near('src/dataset.py' if entry == 'dataset' else f'{entry}.py')}"


def _near(name: str) -> str:
    """Return a path of the checkout from the current folder; the absolute one if the folder is outside."""
    path = ROOT / name
    try:
        near = os.path.relpath(path)
    except OSError:  # the current folder was deleted
        near = ".."
    return shlex.quote(str(path) if near.startswith("..") else near)


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
