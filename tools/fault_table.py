"""Write the table of faults in docs/reliability.md from the tests that inject them.

    python -m tools.fault_table

A row is a test with the marker `fault`: @pytest.mark.fault("the fault", "how it is injected", "what happens"). So the
table has no row without a test, and the name of a test cannot be an old one.
"""
from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from centernet.errors import UserError, reports_errors
from centernet.files import write_text
from tools.document_table import begin_of, with_rows

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN = begin_of("fault_table")
HEADER = "| fault | how it is injected | what happens | test |\n|---|---|---|---|"
CELLS = 3


def rows(folder: Path) -> list[str]:
    """Return the lines of the table for all tests below a folder, in the order of files and lines.

    Raises:
        UserError: a marker does not have three texts.
    """
    return [row for path in sorted(folder.rglob("test_*.py")) for row in _rows_of(path)]


def _rows_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault":
                yield _row(path, node.name, call)


def _row(path: Path, name: str, call: ast.Call) -> str:
    try:
        cells = [ast.literal_eval(argument) for argument in call.args]
    except ValueError:
        cells = []
    place = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    if len(cells) != CELLS or call.keywords or not all(isinstance(cell, str) and "|" not in cell for cell in cells):
        raise UserError(f"{place}, {name}: the marker fault needs three texts without '|': the fault, how it is "
                        "injected, what happens")
    return f"| {' | '.join(cells)} | `{place}::{name}` |"


def merged(text: str, table: list[str]) -> str:
    """Return the document's text with this table. Raise UserError if the text has no place for it."""
    return with_rows(text, BEGIN, DOCUMENT, HEADER, table)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Write the document and return the exit status: 0, or 2 after a UserError."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    write_text(DOCUMENT, merged(DOCUMENT.read_text(encoding="utf-8"), rows(ROOT / "tests")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
