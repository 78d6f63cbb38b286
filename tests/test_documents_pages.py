"""The pages of docs/: flags of ours that they name exist, the index is complete, both READMEs have equal commands."""
import re
from pathlib import Path

import pytest

from centernet.config.declared import SETTINGS, aliases
from centernet.config.shorthands import SHORTHANDS

ROOT = Path(__file__).parents[1]
CELL = re.compile(r"(?<!\\)\|")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def our_cells(text):
    """Yield the second cells of the tables "theirs | ours | what differs"."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in CELL.split(line)[1:-1]]
        if len(cells) == 3 and cells[0] not in ("theirs", "---"):
            yield cells[0] if cells[1] == "same" else cells[1]


def names(cell):
    """Return the flags and keys in a cell, without their dashes."""
    words = [word for code in re.findall("`([^`]+)`", cell) for word in code.split()]
    return [word.removeprefix("--") for word in words
            if word.startswith("--") or re.fullmatch(r"(dataset|net|train|eval)_config\.[\w.]+", word)]


def test_the_flags_of_the_migration_page_exist():
    known = {*SETTINGS, *(item.name for item in SHORTHANDS), *aliases("train"), "config_path"}
    found = [name for cell in our_cells(read("docs/migration.md")) for name in names(cell)]
    assert len(found) > 80
    assert [name for name in found if name not in known] == []


def test_the_model_zoo_has_a_row_for_each_preset():
    rows = [line.split("|")[1] for line in read("docs/model_zoo.md").splitlines() if line.startswith("| `")]
    presets = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == presets
