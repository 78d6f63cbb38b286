"""The command that started a training: the one that goes on after an interruption, and passwords in it."""
from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from centernet import program
from centernet.run_files import without_passwords

PROGRAMS = ("train.py", "centernet")
STARTS = ("resume", "load_checkpoint_path", "model", "backbone_checkpoint", "partial_backbone", "fine_tune")


def how_to_go_on(command: Sequence[str], environment: Mapping[str, str], checkpoint: Path) -> str:
    """Return a text: how to go on from a checkpoint, if possible with the whole command.

    Of one process among several, its command does not start the job. One with a password is not repeated in a log.

    Args:
        command: sys.argv of this process.
        environment: its variables. With several processes, a launcher sets RANK_SIZE or MS_WORKER_NUM.
        checkpoint: the last checkpoint.
    """
    flags = f"--resume true --load_checkpoint_path {shlex.quote(str(checkpoint))}"
    started = Path(command[0])
    by_module = program.by_module(started)
    secret = any(without_passwords(word) != word for word in command)
    if not (by_module or started.name in PROGRAMS) or {"RANK_SIZE", "MS_WORKER_NUM"} & set(environment) or secret:
        return f"To go on, start the same command with {flags}"
    if started.name == "train.py":
        start, words = ["python", command[0]], command[1:]
    else:
        start = shlex.split(program.command("train")) if by_module else ["centernet", "train"]
        words = command[2:]
    return f"To go on:\n  {shlex.join([*start, *_without_start(words)])} {flags}"


def _without_start(words: Sequence[str]) -> list[str]:
    """Return the words of a command line without the flags that say with which weights a training starts."""
    kept, skips = [], False
    for word in words:
        if word.startswith("--"):
            skips = word.partition("=")[0].lstrip("-") in STARTS
        if not skips:
            kept.append(word)
    return kept
