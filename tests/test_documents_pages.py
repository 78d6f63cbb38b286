"""The pages of docs/: flags of ours that they name exist, the index is complete, both READMEs have equal commands."""
import re
from pathlib import Path

import pytest

from centernet import __version__
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


def test_the_index_lists_each_page():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    rows = [line for line in read("docs/README.md").splitlines() if line.startswith("| [")]
    assert pages - {page for row in rows for page in re.findall(r"\]\(([\w.]+\.md)\)", row)} == set()


def test_no_page_names_a_folder_of_one_machine():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert len(pages) > 30
    assert [path.name for path in pages if re.search(r"/(tmp|root|work)/", path.read_text(encoding="utf-8"))] == []


def test_the_changes_begin_with_this_version():
    assert re.findall(r"^## \[(.+)\]", read("CHANGELOG.md"), re.MULTILINE)[0] == __version__


def blocks(text):
    return re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)


def first_difference(ours, theirs):
    """Return which fenced block of two pages differs: both texts; "" if all are equal."""
    for number, (one, other) in enumerate(zip(blocks(ours), blocks(theirs)), 1):
        if one != other:
            return f"block {number} differs: README.md has\n{one}\nREADME_CN.md has\n{other}"
    counts = len(blocks(ours)), len(blocks(theirs))
    return "" if counts[0] == counts[1] else f"README.md has {counts[0]} blocks, README_CN.md {counts[1]}"


def test_both_readmes_have_equal_blocks():
    ours = read("README.md")
    assert len(blocks(ours)) > 15
    message = first_difference(ours, read("README_CN.md"))
    assert not message, message


@pytest.mark.parametrize("other, message", [
    ("```shell\na\n```\ntext\n```text\nc\n```\n", "block 2 differs"),
    ("```shell\na\n```\n", "README.md has 2 blocks, README_CN.md 1"),
    ("Text\n```shell\na\n```\n\n```text\nb\n```", ""),
])
def test_the_comparison_names_the_block(other, message):
    found = first_difference("```shell\na\n```\n```text\nb\n```\n", other)
    assert found.startswith(message) and bool(found) == bool(message)


def test_pictures_are_small():
    assert [path.name for path in (ROOT / "docs/images").iterdir() if path.stat().st_size > 80_000] == []
