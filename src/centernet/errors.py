"""The exception that commands print as a message for the user, and how they print it."""
from __future__ import annotations

import functools
import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake that the user can correct: a wrong flag, path, file or value.

    The message says which file, key or flag is wrong, what was found, what is allowed and what to do. Commands print
    it without a traceback and exit with status 2 (reports_errors).
    """


def reports_errors(command: Callable[..., int]) -> Callable[..., int]:
    """Decorate a function that returns an exit status.

    After a UserError it prints the message to standard error and returns 2. After an interrupt (Ctrl-C) it prints
    "interrupted" and returns 130.
    """
    @functools.wraps(command)
    def reporting(*args: object, **options: object) -> int:
        try:
            return command(*args, **options)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
    return reporting
