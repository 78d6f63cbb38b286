"""Tables in documents that a tool writes, between two comment lines."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from centernet.errors import UserError

END = "<!-- end of the table -->"


def begin_of(tool: str) -> str:
    """Return the line before the table of a module of tools/."""
    return f"<!-- python -m tools.{tool} writes this table -->"


def rows_between(text: str, begin: str, document: Path) -> list[str]:
    """Return the rows of the table after the line `begin`, without its header.

    Raises:
        UserError: the text has no place for the table; `document` is its file, for the message.
    """
    return _parts(text, begin, document)[1].strip().splitlines()[2:]


def with_rows(text: str, begin: str, document: Path, header: str, rows: Iterable[str]) -> str:
    """Return the text with these rows in the table after the line `begin`. Raise UserError as rows_between."""
    head, _, tail = _parts(text, begin, document)
    return "\n".join([head + begin, header, *rows, END + tail])


def _parts(text: str, begin: str, document: Path) -> tuple[str, str, str]:
    head, found, rest = text.partition(begin)
    table, end, tail = rest.partition(END)
    if not found or not end:
        raise UserError(f"{document}: the lines '{begin}' and '{END}' must be there, in this order")
    return head, table, tail
