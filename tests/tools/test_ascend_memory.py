"""The table of simulated peak memory in docs/ascend.md."""
import pytest

from centernet.config.load import PRESETS
from centernet.errors import UserError
from tools.ascend_memory import BEGIN, DEFAULT, DOCUMENT, HEADER, main, merged
from tools.document_table import END


def test_rows_are_replaced_and_added():
    text = f"head\n{BEGIN}\n{HEADER}\n| a | 1 |\n| c | 1 |\n{END}\ntail\n"
    assert merged(text, ["| c | 2 |", "| b | 2 |"]) == (
        f"head\n{BEGIN}\n{HEADER}\n| a | 1 |\n| b | 2 |\n| c | 2 |\n{END}\ntail\n")


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}"])
def test_a_document_without_the_table_is_refused(text):
    with pytest.raises(UserError, match="must be there, in this order"):
        merged(text, [])


def test_the_document_has_every_preset():
    text = DOCUMENT.read_text()
    assert merged(text, []) == text
    rows = text.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == [DEFAULT, *sorted(path.stem for path in PRESETS.glob("*"))]


def test_an_unknown_preset_is_refused(capsys):
    assert main(["none"]) == 2
    assert "none is neither a file nor a preset" in capsys.readouterr().err
