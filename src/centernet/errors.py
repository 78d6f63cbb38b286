"""The exceptions that commands print as a message for the user, and how they print it."""
from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake that the user can correct: a wrong flag, path, file or value.

    The message says which file, key or flag is wrong, what was found, what is allowed and what to do. Commands print
    it without a traceback and exit with status 2 (reports_errors).
    """


class Interrupted(KeyboardInterrupt):
    """A loop of this program ends because of a signal. The command's exit status is `status` (143 or 130).

    Args:
        number: the signal.
        advice: how to go on; the command prints it.
    """

    def __init__(self, number: int, advice: str = ""):
        super().__init__(f"interrupted by {signal.Signals(number).name}{'. ' if advice else ''}{advice}")
        self.number = number
        self.status = 128 + number


def reports_errors(command: Callable[..., int]) -> Callable[..., int]:
    """Decorate a function that returns an exit status.

    After a UserError it prints the message to standard error and returns 2. After an interrupt it prints
    "interrupted", the signal and how to go on, and returns 130 (Ctrl-C) or 143 (SIGTERM).
    """
    @functools.wraps(command)
    def reporting(*args: object, **options: object) -> int:
        try:
            return command(*args, **options)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except Interrupted as stop:
            print(stop, file=sys.stderr)
            return stop.status
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
    return reporting
