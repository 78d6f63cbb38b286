"""Run a converter of another program, for convert_lite_ascend.py and convert_om.py."""
from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from centernet.errors import UserError


def run_converter(command: Sequence[str], result: Path, environment: Mapping[str, str] | None = None,
                  remedy: str = "") -> None:
    """Print and run a command. Raise UserError, with the remedy, if it fails or does not write the file `result`."""
    print(shlex.join(command), flush=True)
    status = subprocess.run(command, env=environment, check=False).returncode
    if status or not result.is_file():
        raise UserError(f"{Path(command[0]).name} failed (exit status {status}): see its messages above{remedy}")
