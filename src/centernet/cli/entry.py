"""What every entry does around its work: parse, log, prepare, report user errors."""
from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from centernet.config.load import Config, load_config
from centernet.device import prepare_environment
from centernet.errors import UserError
from centernet.jobs.modelarts import plan, run_job, split_platform_flags

LOG = logging.getLogger("centernet")


def run_entry(entry: str, description: str, run: Callable[[Config], None], argv: list[str] | None) -> int:
    """Run an entry and return its exit status: 0, 2 for a user's error, 130 when interrupted."""
    try:
        config, ignored = _read_config(entry, description, sys.argv[1:] if argv is None else argv)
        job = plan(entry, config, os.environ) if config.enable_modelarts else None
        set_up_log(job.config.log_file if job else config.log_file)
        if ignored:
            LOG.info("flags of the platform without a meaning here: %s", ignored)
        prepare_environment()
        if job:
            run_job(job, run)
        else:
            run(config)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _read_config(entry: str, description: str, argv: list[str]) -> tuple[Config, str]:
    """The configuration, and the flags that ModelArts appended to the user's, in words."""
    rest, ignored = split_platform_flags(argv)
    config = load_config(entry, rest, description)
    if ignored and not config.enable_modelarts:
        config = load_config(entry, argv, description)  # these flags are errors like any unknown one
    return config, ", ".join(f"--{flag} {value}" for flag, value in ignored.items())


class _Console(logging.Handler):
    """Standard output: lines go above tqdm's bars, and a reader that leaves (head, less) is no error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line at once, so that the log of a background job is never behind."""
        try:
            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            # Nobody reads the console any more; the log file still gets every line.
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open until the process ends)


def set_up_log(log_file: str) -> None:
    """Send the log's lines to standard output, and to a file if one is named."""
    handlers: list[logging.Handler] = [_Console()]
    if log_file:
        try:
            Path(log_file).parent.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.FileHandler(log_file, encoding="utf-8"))
        except OSError as error:
            raise UserError(f"--log_file {log_file}: {error.strerror or error}") from error
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=handlers, force=True)
    logging.getLogger("centernet").setLevel(logging.INFO)
