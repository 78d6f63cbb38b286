"""The one exception that an entry turns into a message for its user."""


class UserError(Exception):
    """Something that the user can mend: a wrong flag, path, file or value.

    The message says which file, key or flag it is about, what was found, what
    is allowed and what to do. Entries print it without a traceback and exit
    with status 2 (runtime/entry.py).
    """
