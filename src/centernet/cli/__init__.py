"""The command line: `centernet COMMAND [flags]`. train.py, eval.py, ... of a checkout run the same commands.

Only the standard library is imported here, so that a Python without the required packages can print a message.
"""
from __future__ import annotations

import difflib
import importlib
import sys
from typing import NoReturn

from centernet.cli.process import run_process

# Command -> its module in this folder, and its description.
COMMANDS = {
    "train": ("train", "train a detector on MindRecord shards"),
    "eval": ("evaluate", "evaluate a checkpoint or an exported model on a data set"),
    "export": ("export", "export a checkpoint as MINDIR or ONNX, with a manifest beside it"),
    "infer": ("infer", "detect objects in images, or run an exported model on prepared inputs"),
    "import-dataset": ("import_dataset", "import a VOC, YOLO, LabelMe, CSV or other COCO data set, without copies"),
    "check-data": ("check_data", "check a data set: numbers, pictures and advice in an HTML file"),
    "convert-dataset": ("convert_dataset", "convert a COCO-format data set to MindRecord shards"),
    "convert-weights": ("convert_weights", "convert weights of other programs into a checkpoint, or back"),
    "preprocess": ("preprocess", "prepare a COCO validation set as raw input files for an exported model"),
    "postprocess": ("postprocess", "evaluate the raw output of an exported model"),
    "compare": ("compare", "compare two runs on one page"),
}


def console() -> NoReturn:
    """Run the console script `centernet` and end the process."""
    run_process(main)


def main(argv: list[str] | None = None) -> int:
    """Run `centernet COMMAND [flags]` and return the exit status (2: the command line is wrong)."""
    words = sys.argv[1:] if argv is None else argv
    name = words[0] if words else ""
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        from centernet import __version__
        print(f"centernet {__version__}")
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        found = f"there is no command '{name}'{f'; did you mean {near[0]}?' if near else ''}" if name else \
            "a command is missing"
        print(f"{usage()}\n\nerror: {found}", file=sys.stderr)
        return 2
    return run_command(name, words[1:])


def run_command(name: str, argv: list[str] | None = None) -> int:
    """Run one of COMMANDS with its flags (None: those of this process) and return the exit status."""
    from centernet.cli.packages import missing_packages
    if message := missing_packages():
        print(f"error: {message}", file=sys.stderr)
        return 2
    return importlib.import_module(f"centernet.cli.{COMMANDS[name][0]}").main(argv)


def usage() -> str:
    """Return the text of `centernet --help`."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items())
    return ("usage: centernet COMMAND [flags]\n\nCenterNet (Objects as Points) on MindSpore.\n\ncommands:\n" + listed
            + "\n\n`centernet COMMAND --help` lists the flags of a command. `centernet --version` prints the version.")
