"""The scripts as commands, for the fixtures and the tests of the C++ program."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def bash(script, *words, cwd=None, **environment):
    """Run one of our scripts; of the variables that it reads, it gets only those that are given."""
    foreign = ("MS_LITE_HOME", "LITE_HOME", "NLOHMANN_JSON_HOME", "DEVICE_TARGET")
    kept = {key: value for key, value in os.environ.items() if key not in foreign}
    given = {key: str(value) for key, value in environment.items()}
    return subprocess.run(["bash", ROOT / script, *map(str, words)], cwd=cwd, capture_output=True, text=True,
                          env={**kept, "PYTHON": sys.executable, **given})
