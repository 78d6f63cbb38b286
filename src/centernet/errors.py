"""The exception that commands print as a message for the user, and how they print it."""
from __future__ import annotations

import functools
import reprlib
import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake that the user can correct: a wrong flag, path, file or value.

    The message says which file, key or flag is wrong, what was found, what is allowed and what to do. Commands print
    it without a traceback and exit with status 2 (reports_errors).
    """


def shown(value: object) -> str:
    """Return a short text of a value from a file or a flag, for messages.

    It is the value's repr, but nested and long values are cut off. Without this limit, the repr of a few hundred bytes
    of YAML with aliases can take gigabytes, and that of deep lists raises RecursionError.
    """
    return _SHORT.repr(value)


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 4, 90, 90
        self.maxdict = self.maxlist = self.maxtuple = 12

    def repr_int(self, number: int, level: int) -> str:
        # Python refuses to write integers of more than 4300 digits.
        return repr(number) if number.bit_length() <= 128 else f"an integer of {number.bit_length()} bits"


_SHORT = _Short()


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
