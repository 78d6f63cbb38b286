"""Every command tells how it is used, and does nothing else."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCED = {"common.sh", "find_python.sh", "infer_centernet.sh"}  # parts of other scripts
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
