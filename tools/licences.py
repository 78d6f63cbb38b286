"""Write the licences of the locked packages into docs/licences.md, from the metadata of this environment.

    python -m tools.licences

A package that is not installed here keeps its row (some packages are only for Python 3.10): run it there, too.
"""
from __future__ import annotations

import argparse
import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from centernet.errors import UserError, reports_errors
from centernet.files import write_text
from tools.document_table import begin_of, rows_between, with_rows

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "licences.md"
BEGIN = begin_of("licences")
HEADER = "| package | licence | needed for | Python |\n|---|---|---|---|"
PURPOSES = {"requirements.txt": "every command", "requirements-onnx.txt": "ONNX"}  # the first one that needs a package
LONGEST = 90  # letters; a longer field is the text of the licence, not its name


def locked(path: Path) -> dict[str, tuple[str, set[str]]]:
    """Return package -> (version, the packages and requirements files that need it) of a lock file."""
    found: dict[str, tuple[str, set[str]]] = {}
    needed: set[str] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if package := re.match(r"([a-z0-9.-]+)==(\S+)", line):
            needed = set()
            found[package[1]] = package[2], needed
        elif line.startswith("    # ") and (name := line[6:].removeprefix("via").strip()):
            needed.add(name)
    return found


def closure(lock: dict[str, tuple[str, set[str]]], file: str) -> set[str]:
    """Return the packages of a lock file that a requirements file needs, directly or not."""
    found = {f"-r {file}"}
    while new := {name for name, (_, needed) in lock.items() if needed & found} - found:
        found |= new
    return found & lock.keys()


def licence(package: str) -> str:
    """Return the name of an installed package's licence; "" if the package is not installed.

    Raises:
        UserError: its metadata name no licence.
    """
    try:
        found = metadata(package)
    except PackageNotFoundError:
        return ""
    classes = [line.rpartition(" :: ")[2] for line in found.get_all("Classifier", []) if line.startswith("License ::")]
    expression, text = ("".join(found.get_all(key, [])) for key in ("License-Expression", "License"))
    names = expression or ", ".join(classes) or text.strip()
    if not names or len(names) > LONGEST or "\n" in names:
        raise UserError(f"{package}: its metadata name no licence: look at its files, and enter it by hand")
    return names


def rows(folder: Path, old: list[str]) -> list[str]:
    """Return the rows for all lock files of a folder; `old` are the document's rows, for packages not installed here.

    Raises:
        UserError: a package is neither installed nor in the document.
    """
    locks = {path.stem.removeprefix("lock-"): locked(path) for path in sorted(folder.glob("lock-*.txt"))}
    known = {cells[0]: cells[1] for cells in (row.strip("| ").split(" | ") for row in old)}
    found = []
    for name in sorted({name for lock in locks.values() for name in lock}):
        pythons = [version for version, lock in locks.items() if name in lock]
        purpose = next((text for file, text in PURPOSES.items()
                        if any(name in closure(locks[version], file) for version in pythons)), "tests")
        if not (named := licence(name) or known.get(name, "")):
            raise UserError(f"{name} is not installed, and {DOCUMENT.name} does not have it yet: run this with Python "
                            f"{pythons[0]} and the packages of requirements/lock-{pythons[0]}.txt")
        found.append(f"| {name} | {named} | {purpose} | {', '.join(pythons) if len(pythons) < len(locks) else 'all'} |")
    return found


def current(text: str) -> str:
    """Return the document's text with the licences of the lock files. Raise UserError as rows."""
    table = rows(ROOT / "requirements", rows_between(text, BEGIN, DOCUMENT))
    return with_rows(text, BEGIN, DOCUMENT, HEADER, table)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Write the document and return the exit status: 0, or 2 after a UserError."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    text = DOCUMENT.read_text(encoding="utf-8")
    write_text(DOCUMENT, current(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
