"""Detect objects in images, or run an exported model on prepared inputs.

The code is src/centernet/cli/infer.py; `centernet infer` is the same command.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from centernet.cli import run_command, run_process

if __name__ == "__main__":
    run_process(run_command, "infer")
