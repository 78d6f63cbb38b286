"""Convert a COCO-format data set to MindRecord shards.

The code is src/centernet/cli/convert_dataset.py; `centernet convert-dataset` is the same command.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from centernet.cli import run_command, run_process

if __name__ == "__main__":
    run_process(run_command, "convert-dataset")
