"""The frame of every command: read the configuration, set up the log, prepare, report user errors."""
from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from centernet.cli.process import limit_arenas, print_every_text
from centernet.config.load import Config, load_config
from centernet.config.threads import input_threads
from centernet.data.image_size import set_pixel_limit
from centernet.device import prepare_environment
from centernet.errors import reports_errors
from centernet.files import user_errors
from centernet.interrupt import say, signals_set_a_flag
from centernet.jobs.modelarts import plan, run_job, split_platform_flags

LOG = logging.getLogger("centernet")


@reports_errors
def run_entry(entry: str, description: str, run: Callable[[Config], None], argv: list[str] | None) -> int:
    """Run a command and return its exit status: 0, 2 for a UserError, 130 after Ctrl-C, 143 after SIGTERM."""
    print_every_text()
    config, ignored = _read_config(entry, description, sys.argv[1:] if argv is None else argv)
    job = plan(entry, config, os.environ) if config.enable_modelarts else None
    set_up_log(job.config.log_file if job else config.log_file)
    if ignored:
        LOG.info("ignored flags of the platform: %s", ignored)
    limit_arenas(input_threads(config))
    prepare_environment(config.device_target)
    set_pixel_limit(config.max_image_pixels)
    with signals_set_a_flag():
        if job:
            run_job(job, run)
        else:
            run(config)
    return 0


def _read_config(entry: str, description: str, argv: list[str]) -> tuple[Config, str]:
    """Return the configuration, and the flags that ModelArts added to the user's, as text."""
    rest, ignored = split_platform_flags(argv)
    config = load_config(entry, rest, description)
    if ignored and not config.enable_modelarts:
        config = load_config(entry, argv, description)  # outside of ModelArts these flags are unknown, thus errors
    return config, ", ".join(f"--{flag} {value}" for flag, value in ignored.items())


class _Console(logging.Handler):
    """Standard output. Lines are printed above tqdm's bars. It is no error if the reader (head, less) ends.

    If standard output is a file on a full disk, the work goes on; the first failure is told.
    """

    warned = False

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line and flush it, so that the log of a background job is always up to date."""
        try:
            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            # Nobody reads the console any more; the log file still gets every line.
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open until the process ends)
        except OSError as error:
            if not self.warned:
                say(f"warning: cannot write to standard output: {error.strerror}. The work goes on")
            self.warned = True


class _LogFile(logging.FileHandler):
    """The log file. If it cannot be written, the work goes on; the first failure is told, later ones are not."""

    warned = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Print one line instead of a traceback for each line of the log."""
        if not self.warned:
            error = sys.exc_info()[1]
            say(f"warning: cannot write the log file {self.baseFilename}: {error}. The work goes on")
        self.warned = True


def set_up_log(log_file: str) -> None:
    """Write log lines to standard output, and to log_file unless it is empty.

    The attribute "only" of a record ("files", "console") says that it is for one of them, see training/train_log.py.
    """
    handlers: list[logging.Handler] = [_Console()]
    handlers[0].addFilter(lambda record: getattr(record, "only", "") != "files")
    if log_file:
        with user_errors(f"--log_file {log_file}"):
            Path(log_file).parent.mkdir(parents=True, exist_ok=True)
            handlers.append(_LogFile(log_file, encoding="utf-8", errors="backslashreplace"))
            handlers[1].addFilter(lambda record: getattr(record, "only", "") != "console")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=handlers, force=True)
    logging.getLogger("centernet").setLevel(logging.INFO)
