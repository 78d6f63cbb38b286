"""The table of licences: every locked package has a row, and none needs a copyleft licence at run time."""
import pytest

from centernet.errors import UserError
from tools import licences

LOCK = """\
one==1.0 \\
    --hash=sha256:00
    # via -r requirements.txt
two==2.0 \\
    --hash=sha256:00
    # via
    #   one
    #   three
three==3.0 \\
    --hash=sha256:00
    # via -r requirements-test.txt
"""


@pytest.fixture
def folder(tmp_path):
    for version in ("3.10", "3.11"):
        (tmp_path / f"lock-{version}.txt").write_text(LOCK)
    return tmp_path


def test_a_lock_file_says_what_each_package_is_for(folder):
    lock = licences.locked(folder / "lock-3.11.txt")
    assert {name: version for name, (version, _) in lock.items()} == {"one": "1.0", "two": "2.0", "three": "3.0"}
    assert licences.closure(lock, "requirements.txt") == {"one", "two"}


def test_rows(folder):
    old = [f"| {name} | MIT | tests | all |" for name in ("one", "two", "three")]
    (folder / "lock-3.10.txt").write_text(LOCK[:LOCK.index("three==")])
    assert licences.rows(folder, old) == ["| one | MIT | every command | all |", "| three | MIT | tests | 3.11 |",
                                          "| two | MIT | every command | all |"]


def test_a_package_that_nobody_has_seen(folder):
    with pytest.raises(UserError, match="one is not installed, .* run this with Python 3.10"):
        licences.rows(folder, [])


def test_a_licence_is_the_name_that_the_metadata_have():
    assert licences.licence("numpy") == "BSD License" and licences.licence("pluggy") == "MIT License"
    assert licences.licence("no-such-package") == ""


def test_the_document_has_the_locked_packages():
    """After a change: python -m tools.licences. The names of licences may differ in the metadata of other versions."""
    text = licences.DOCUMENT.read_text(encoding="utf-8")
    found, expected = ([(cells[0], *cells[2:]) for cells in (row.strip("| ").split(" | ") for row in table)]
                       for table in (licences.rows_between(text, licences.BEGIN, licences.DOCUMENT),
                                     licences.rows_between(licences.current(text), licences.BEGIN, licences.DOCUMENT)))
    assert found == expected


def test_no_command_needs_a_package_under_a_copyleft_licence():
    table = licences.rows_between(licences.DOCUMENT.read_text(encoding="utf-8"), licences.BEGIN, licences.DOCUMENT)
    found = [line for line in table if "| tests |" not in line]
    assert found and not [line for line in found if "GPL" in line]
