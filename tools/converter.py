"""Run a converter of another program, for convert_lite_ascend.py and convert_om.py."""
from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from centernet.errors import UserError


def given(name: str, kind: Callable[[str], Any] = Path) -> Callable[[str], Any]:
    """Return a type for add_argument: kind, but an empty word, as of an unset variable of a shell, is a UserError."""
    def convert(word: str) -> Any:
        if not word.strip():
            raise UserError(f"{name} is empty: give a value" + ", or leave the flag out" * name.startswith("--"))
        return kind(word)
    return convert


def run_converter(command: Sequence[str], result: Path, environment: Mapping[str, str] | None = None,
                  remedy: str = "") -> None:
    """Print and run a command. Raise UserError, with the remedy, if it fails or does not write the file `result`."""
    print(shlex.join(command), flush=True)
    status = subprocess.run(command, env=environment, check=False).returncode
    if status or not result.is_file():
        raise UserError(f"{Path(command[0]).name} failed (exit status {status}): see its messages above{remedy}")
