"""The exception that commands print as a message for the user."""


class UserError(Exception):
    """A mistake that the user can correct: a wrong flag, path, file or value.

    The message says which file, key or flag is wrong, what was found, what is allowed and what to do. Commands print
    it without a traceback and exit with status 2 (cli/entry.py).
    """
