"""The comparison of presets: its rows, and what it refuses."""
from benchmarks import presets


def test_the_first_preset_is_the_one_to_compare_with():
    called = []
    rows = presets.rows_of("an image", {"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 3)
    assert [(row.what, row.unit, row.to) for row in rows] == [("an image, a", "s", "a"), ("an image, b", "s", "a")]
    assert rows[0].ratio == 1 and rows[1].ratio > 0 and called.count("a") == called.count("b") >= 3


def test_an_unknown_preset_ends_before_anything_is_measured(capsys):
    assert presets.main(["official_res18", "plus_res81"]) == 2
    assert "plus_res18" in capsys.readouterr().err
