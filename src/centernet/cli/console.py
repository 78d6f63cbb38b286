"""Log lines on standard output and in the log file. That one of them cannot be written never ends the work."""
from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from tqdm import tqdm

from centernet.files import user_errors
from centernet.interrupt import say


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
