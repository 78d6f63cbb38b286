"""The table of faults: one row for each test that has the marker, and the document has them all."""
import pytest

from centernet.errors import UserError
from tools import fault_table


def test_the_document_has_the_faults_that_are_tested():
    """After a change: python -m tools.fault_table."""
    text = fault_table.DOCUMENT.read_text(encoding="utf-8")
    rows = fault_table.rows(fault_table.ROOT / "tests")
    assert text == fault_table.merged(text, rows)
    assert len(rows) >= 40


def test_a_row_names_its_test(tmp_path):
    (tmp_path / "test_a.py").write_text('@pytest.mark.slow\n@pytest.mark.fault("a" " b", "c", "d")\ndef test_x():\n'
                                        '    pass\n\n\ndef test_y():\n    pass\n')
    assert fault_table.rows(tmp_path) == ["| a b | c | d | `test_a.py::test_x` |"]


@pytest.mark.parametrize("arguments", ['"a", "b"', '"a", "b", "c|d"', '"a", "b", 3', '"a", "b", name'])
def test_a_marker_needs_three_texts(tmp_path, arguments):
    (tmp_path / "test_a.py").write_text(f"@pytest.mark.fault({arguments})\ndef test_x():\n    pass\n")
    with pytest.raises(UserError, match="test_a.py, test_x: the marker fault needs three texts"):
        fault_table.rows(tmp_path)
