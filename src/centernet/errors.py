"""The exceptions that commands print as a message for the user, and how they print it."""
from __future__ import annotations

import contextlib
import functools
import os
import reprlib
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

LISTED_PROBLEMS = 20


class UserError(Exception):
    """A mistake that the user can correct: a wrong flag, path, file or value.

    The message says which file, key or flag is wrong, what was found, what is allowed and what to do. Commands print
    it without a traceback and exit with status 2 (reports_errors).

    Args:
        message: the text. A path with bytes that are not UTF-8 has halves of surrogate pairs in it: they are escaped,
            so that each message can be written to a log.
    """

    def __init__(self, message: str):
        super().__init__(message.encode(errors="backslashreplace").decode())


def shown(value: object) -> str:
    """Return a short text of a value from a file or a flag, for messages.

    It is the value's repr, but nested and long values are cut off. Without this limit, the repr of a few hundred bytes
    of YAML with aliases can take gigabytes, and that of deep lists raises RecursionError.
    """
    return _SHORT.repr(value)


def printable(text: object, most: int = 300) -> str:
    """Return a path or name for messages: as it is, or escaped and shortened if it is long or cannot be printed."""
    name = str(text)
    return name if len(name) <= most and name.isprintable() else shown(name)


def sentence(text: str) -> str:
    """Return a text with a capital first letter; the others stay as they are."""
    return text[:1].upper() + text[1:]


def without_commas(text: str, what: str = "of them") -> str:
    """Return the end of a message about a word in which commas join several words; "" if there is no comma."""
    return f". Separate several {what} by spaces, not by commas" if "," in text else ""


def is_empty(word: str) -> bool:
    """Return whether a word of a command line is empty, as that of an unset variable of a shell: --model "$MODEL"."""
    return not word.strip().strip("'\"")  # ModelArts' console keeps quotes


def refuse_empty(name: str, word: str, wanted: str = "give a value") -> None:
    """Raise UserError if a word is empty. name: of an argument, or of a flag with its dashes; wanted: what to do."""
    if is_empty(word):
        raise UserError(f"{name} is empty: {wanted}" + ", or leave the flag out" * name.startswith("--"))


def nonempty(name: str, kind: Callable[[str], Any] = str, wanted: str = "give a value") -> Callable[[str], Any]:
    """Return a type for argparse's add_argument: kind, which refuses an empty word as refuse_empty does."""
    def convert(word: str) -> Any:
        refuse_empty(name, word, wanted)
        return kind(word)
    return convert


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return names with commas between them; "..." at the end if there are more than `most`."""
    return ", ".join([*names[:most], *["..."] * (len(names) > most)])


def together(subject: str, problems: Sequence[str]) -> str:
    """Return one message about a subject: "SUBJECT: PROBLEM", or a list of problems (the first LISTED_PROBLEMS)."""
    if len(problems) == 1:
        return f"{subject}: {problems[0]}"
    return f"{subject}: {len(problems)} problems:{bullets(problems)}"


def bullets(problems: Sequence[str]) -> str:
    """Return a list of problems, each on its own line; of more than LISTED_PROBLEMS, the first and how many follow."""
    more = len(problems) - LISTED_PROBLEMS
    rows = [*problems[:LISTED_PROBLEMS], *[f"and {more} more"] * (more > 0)]
    return "".join(f"\n  - {row}" for row in rows)


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 4, 90, 90
        self.maxdict = self.maxlist = self.maxtuple = 12

    def repr_int(self, number: int, level: int) -> str:
        # Python refuses to write integers of more than 4300 digits.
        return repr(number) if number.bit_length() <= 128 else f"an integer of {number.bit_length()} bits"


_SHORT = _Short()


class Interrupted(KeyboardInterrupt):
    """A loop of this program ends because of a signal. The command's exit status is `status`, 143 for example.

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
    "interrupted", the signal and how to go on, and returns 130 (Ctrl-C), 143 (SIGTERM) or 129 (SIGHUP).
    """
    @functools.wraps(command)
    def reporting(*args: object, **options: object) -> int:
        try:
            return command(*args, **options)
        except UserError as error:
            _tell(f"error: {error}")
            return 2
        except Interrupted as stop:
            _tell(stop)
            return stop.status
        except KeyboardInterrupt:
            _tell("interrupted")
            return 130
    return reporting


def _tell(message: object) -> None:
    """Print to standard error. A terminal that is gone, as after SIGHUP, does not change the exit status.

    Python ends with status 120 if it cannot write what standard output still holds.
    """
    for stream, text in ((sys.stdout, ""), (sys.stderr, f"{message}\n")):
        try:
            print(text, end="", file=stream, flush=True)
        except OSError:
            with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
