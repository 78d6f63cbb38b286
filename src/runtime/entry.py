"""What every entry does around its work: parse, log, prepare, report user errors."""
from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from src.config import Config, load_config
from src.errors import UserError
from src.runtime.device import prepare_environment


def run_entry(entry: str, description: str, run: Callable[[Config], None], argv: list[str] | None) -> int:
    """Run an entry and return its exit status: 0, 2 for a user's error, 130 when interrupted."""
    try:
        config = load_config(entry, sys.argv[1:] if argv is None else argv, description)
        set_up_log(config.log_file)
        prepare_environment()
        run(config)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


class _Console(logging.StreamHandler):
    """Standard output, which may be a pipe whose reader (head, less) has left."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Go on without a console when nobody reads it; the log file still gets every line."""
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            super().handleError(record)


def set_up_log(log_file: str) -> None:
    """Send the log's lines to standard output, and to a file if one is named."""
    handlers: list[logging.Handler] = [_Console(sys.stdout)]
    if log_file:
        try:
            Path(log_file).parent.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.FileHandler(log_file, encoding="utf-8"))
        except OSError as error:
            raise UserError(f"--log_file {log_file}: {error.strerror or error}") from error
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=handlers, force=True)
    logging.getLogger("centernet").setLevel(logging.INFO)
