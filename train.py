"""Train a detector on MindRecord shards.

The code is src/centernet/cli/train.py; `centernet train` is the same command.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from centernet.cli import run_command, run_process

if __name__ == "__main__":
    run_process(run_command, "train")
