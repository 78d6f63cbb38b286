"""Every command tells how it is used, and does nothing else."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCED = {"common.sh", "disk_space.sh", "find_python.sh", "infer_centernet.sh"}  # parts of other scripts
PATTERNS = ("scripts/*.sh", "tools/*.py", "ascend310_infer/*.sh", "benchmarks/run.py",
            "benchmarks/feed_rate.py")
COMMANDS = sorted(path.relative_to(ROOT).as_posix() for pattern in PATTERNS for path in ROOT.glob(pattern)
                  if path.name not in SOURCED and (path.suffix == ".sh" or "__main__" in path.read_text()))


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, tmp_path):
    done = subprocess.run([sys.executable if command.endswith(".py") else "bash", ROOT / command, "--help"],
                          cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "CENTERNET_VENV": str(tmp_path / "venv")})
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert len(done.stdout.splitlines()) >= 2 and "usage: " in done.stdout.lower()
    assert done.stdout.startswith("usage: ") or command.endswith(".py")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [name for name in COMMANDS if name.endswith(".sh")
                                     and "pipefail" in (ROOT / name).read_text()])
def test_sh_starts_bash(command):
    lines = (ROOT / command).read_text().splitlines()
    assert lines[lines.index("set -euo pipefail") - 1].startswith('[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"')


def test_a_script_runs_with_sh():
    done = subprocess.run(["sh", ROOT / "scripts/convert_om.sh", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("usage: ") and not done.stderr
