"""JSON and YAML of strangers: a value, or a UserError that names the place; in little time and memory."""
import os
import re
import resource
import time
import tracemalloc
from pathlib import Path

import pytest
from hostile import FILES

from centernet.documents import parse_json, parse_yaml, whole_number
from centernet.errors import UserError, printable, shown
from centernet.files import exists, is_file, read_bytes, read_json, read_json_lines, read_yaml
from centernet.json_value import JsonValue

ROOT = Path(__file__).parents[1]
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(ord(name) + 1)}: &{chr(ord(name) + 1)} [{', '.join([f'*{name}'] * 10)}]\n" for name in "abcdefgh")


@pytest.mark.parametrize("text, message", [
    ('{"a": [1, NaN]}', r"a\[1\] must be a finite number, found nan"),
    ('{"a": {"b": -Infinity}}', r"a\.b must be a finite number, found -inf"),
    ('{"a": 1e400}', "a must be a finite number, found inf"),
    ('{"a": 1' + "0" * 400 + "}", "a must be a number of at most 64 bits, found an integer of 1329 bits"),
    ('{"a": [18446744073709551616]}', r"a\[0\] must be a number of at most 64 bits, found 18446744073709551616"),
    ('{"a": [-9223372036854775809, 1]}', r"a\[0\] must be a number of at most 64 bits"),
    ('{"a": 1' + "0" * 5000 + "}", "not valid JSON: .*4300 digits"),
    (r'{"a": "\ud800"}', r"a must be text that can be encoded as UTF-8, found '\\ud800'"),
    (r'{"\udfff": 1}', r"'\\udfff' must be text that can be encoded"),
    (r'"\udc00"', r"the document must be text that can be encoded"),
    ("[" * 65 + "]" * 65, "not valid text for this program: it has more than 64 lists and objects in each other"),
    ("[" * 100_000, "not valid JSON for this program: it has more than 64"),
    (b"\xff{}", "not valid JSON: it is not UTF-8 text"),
    ("\N{BYTE ORDER MARK}\N{BYTE ORDER MARK}{}", "not valid JSON"),
    ("{'a': 1}", "not valid JSON: .* line 1 column 2"),
    ('{"a": [{"b": 1, "c": 2, "b": 3}]}', "not valid JSON: an object has the key 'b' twice: keep one of the two"),
])
def test_json_that_is_refused(text, message):
    with pytest.raises(UserError, match=rf"^rows.json.*{message}.*\. Write it again$"):
        parse_json(text, "rows.json", "Write it again")


def test_json_that_is_read():
    text = '{"a": [18446744073709551615, -9223372036854775808, 1e308, "\u00e9\U0001f600"]}'
    value = {"a": [2**64 - 1, -2**63, 1e308, "\u00e9\U0001f600"]}
    for data in (text, text.encode(), b"\xef\xbb\xbf" + text.encode(), "\N{BYTE ORDER MARK}" + text):
        assert parse_json(data, "x") == value
    for text in ("", '"\u00e9"', '{"\u00e9": "\u00e9"}'):
        depth = 64 - text.count("{")
        assert parse_json("[" * depth + text + "]" * depth, "x")


@pytest.mark.parametrize("text, message", [
    (BOMB, r"it has more than 100000 values; an alias"),
    ("a: &a [*a]", r"the alias \*a is inside of what it stands for"),
    ("a: &a {<<: *a}", r"the alias \*a is inside of what it stands for"),
    ("a: *b", r"the alias \*b is inside of what it stands for, or unknown"),
    ("a: " + "[" * 5000, "not valid YAML for this program: it has more than 64 lists"),
    ("- " * 100_000, "not valid YAML for this program: it has more than 64 lists"),
    ("a: " + "[" * 300 + "]" * 300, "more than 64 lists"),
    ("a: .inf", "a must be a finite number, found inf"),
    ("a: {b: [.nan]}", r"a\.b\[0\] must be a finite number, found nan"),
    (".inf: 1", "inf must be a finite number"),
    ("a: 1" + "0" * 400, "a must be a number of at most 64 bits"),
    ("a: 0x" + "f" * 9000, "a must be a number of at most 64 bits, found an integer of 36000 bits"),
    ("a: 1" + "0" * 5000, "4300 digits"),
    ("a: !!bool x", "a value does not fit its tag"),
    ("a: !!int ''", "a value does not fit its tag"),
    ("a: !!float x", "not valid YAML"),
    ("a: !!timestamp x", "could not determine a constructor for the tag"),
    ("a: !!binary x", "could not determine a constructor for the tag"),
    ("a: !!python/object/apply:os.system [id]", "could not determine a constructor for the tag"),
    ("[a]: 1\n? {a: 1}\n: 2", "not valid YAML"),
    ("a: \x01", "not valid YAML"),
    (b"a: \xff", "not valid YAML: it is not UTF-8 text"),
    ("a: 1\nb: 2\n'a': 3", "the key 'a' is on line 1 and again on line 3: keep one of the two"),
    ("x:\n  a: 1\n  b: {a: 1}\n\n  a: 2", "the key 'a' is on line 2 and again on line 5"),
    ("x: {a: 1, a: 1}", "the key 'a' is on line 1 and again on line 1"),
    ("1: a\n0x1: b", "the key 1 is on line 1 and again on line 2"),
    ("a: 1\n---\nb: 1\nb: 1", "the key 'b' is on line 3 and again on line 4"),
    ("a: &a {b: 1, b: 2}\nc: {<<: *a}", "the key 'b' is on line 1"),
])
def test_yaml_that_is_refused(text, message):
    with pytest.raises(UserError, match=f"^rows.yaml.*{message}"):
        parse_yaml(text, "rows.yaml")


def test_yaml_that_is_read():
    """Dates are texts, some aliases are welcome, and a byte order mark is skipped."""
    assert parse_yaml(b"\xef\xbb\xbfa: 2001-99-99\nb: &x [1, 0.5]\nc: [*x, *x]\n---\n", "x") == [
        {"a": "2001-99-99", "b": [1, 0.5], "c": [[1, 0.5], [1, 0.5]]}, None]
    assert parse_yaml("a: &a {b: 1}\nc: {<<: *a, d: '*'}", "x") == [{"a": {"b": 1}, "c": {"b": 1, "d": "*"}}]
    assert parse_yaml("a: &a {1: no, 2: 007}\nb: {<<: *a, 2: ~, 3: 1.0, 4: }", "x", as_text=True) == [
        {"a": {"1": "no", "2": "007"}, "b": {"1": "no", "2": "~", "3": "1.0", "4": ""}}]


def test_keys_that_are_not_twice_in_one_mapping():
    """A mapping may replace a key of its `<<`, also if an alias names it before it is built."""
    text = "a: &a {b: 1, c: 2}\nd: {e: &e {<<: *a, b: 3}}\nf: {<<: *e, c: 4, =: 5}\n---\na: 1"
    e = {"b": 3, "c": 2}
    assert parse_yaml(text, "x") == [{"a": {"b": 1, "c": 2}, "d": {"e": e}, "f": {"b": 3, "c": 4, "=": 5}}, {"a": 1}]


@pytest.mark.fault("deep or repeated JSON and YAML", "ten texts made to be slow", "all refused within 2 s and 100 MB")
def test_a_small_text_takes_little_time_and_memory():
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for text in (BOMB, "a: " + "{a: " * 100_000, "&a [" * 900, "? " * 5000, "- " * 500_000, "[a: " * 100_000,
                 "".join(f"{' ' * n}a:\n" for n in range(1000))):
        with pytest.raises(UserError):
            parse_yaml(text, "x")
    names = ", ".join(f'"{number}": 0' for number in [*range(100_000), 99_999])
    for text in ('{"a":' * 200_000, "[" * 10**6, "[{" * 10**5, f"{{{names}}}"):
        with pytest.raises(UserError):
            parse_json(text, "x")
    assert time.process_time() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize("data", FILES, ids=range(len(FILES)))
def test_a_file_of_any_bytes_is_read_or_refused(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    for reader in (read_json, read_yaml, read_json_lines):
        try:
            reader(path)
        except UserError as error:
            assert str(path) in str(error) and len(str(error)) < 1000


@pytest.mark.parametrize("path, message", [
    ("/dev/zero", "/dev/zero is not a regular file"),
    ("/dev/stdin/x", "Not a directory"),
    ("pipe", "pipe is not a regular file"),
    ("folder", "folder is a folder, but a file is needed"),
    ("large", "large has 8589934592 bytes; at most 4294967296 are allowed"),
    ("a" * 300, "File name too long"),
    ("nothing", "nothing: No such file"),
    ("a\0b", "cannot be the path of a file"),
    ("\ud800", "cannot be the path of a file"),
])
@pytest.mark.fault("--config_path /dev/zero", "devices, pipes, folders, huge files", "refused before reading")
def test_only_regular_files_of_a_sensible_size_are_read(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.mkdir("folder")
    with open("large", "wb") as file:
        file.truncate(2**33)  # no block of it is on the disk
    with pytest.raises(UserError, match=message) as error:
        read_bytes(Path(path), remedy="Look")
    assert str(error.value).encode().endswith(b". Look")
    assert not is_file(Path(path)) or path == "large"
    assert exists(Path(path)) == (path in ("/dev/zero", "pipe", "folder", "large"))


@pytest.mark.fault("cut lines in metrics.jsonl", "lines without an end, NaN, other bytes", "left out and counted")
def test_lines_that_are_no_objects_are_counted(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\n\n[1]\n{"a": NaN}\n{"a": "\xff"}\n{"b": 2}\n{"c": ')
    assert read_json_lines(path) == ([{"a": 1}, {"b": 2}], 4)
    assert read_json_lines(tmp_path / "nothing") == ([], 0)


@pytest.mark.parametrize("take, message", [
    (lambda root: root["b"], "x.json: the key 'b' is missing: fix it"),
    (lambda root: root["a"][0], r"x.json: a must be an object, found \[1, 2\]: fix it"),
    (lambda root: root["a"].items(3, 4), "a must be a list of 3 or 4 values"),
    (lambda root: root["a"].items()[1].whole(3), r"a\[1\] must be a whole number from 3 to 184\d+, found 2"),
    (lambda root: root["a"].items()[0].text(), r"a\[0\] must be text, found 1"),
    (lambda root: root["a"].boolean(), "a must be true or false"),
    (lambda root: root["c"].positive(), r"c must be a number above 0, found -0\.5"),
    (lambda root: root["c"].whole(), "c must be a whole number"),
    (lambda root: root["c"].pairs(), "c must be an object"),
    (lambda root: root.number(), "x.json: the document must be a number, found {"),
])
def test_a_wrong_value_is_named_with_its_place(take, message):
    root = JsonValue({"a": [1, 2], "c": -0.5}, "x.json", "fix it")
    with pytest.raises(UserError, match=message):
        take(root)


def test_messages_stay_short():
    deep = []
    for _ in range(5000):
        deep = [deep]
    for value in (deep, ["x" * 1000] * 1000, "x" * 10**6, 1 << 10**5, {str(n): n for n in range(1000)}, "\ud800"):
        assert len(shown(value).encode()) < 1500
    assert len(printable("x" * 10**6)) < 200 and printable("a\nb\ud800").encode() == b"'a\\nb\\ud800'"
    assert shown(["a", 1.5, None]) == "['a', 1.5, None]" and printable("a b/c") == "a b/c"


def test_numbers_of_texts():
    assert [whole_number(text, 10) for text in ("0", "9", "10", "-1", "", "a", "1.0", "9" * 5000, "\u00b2")] == [
        0, 9, *[None] * 7]


@pytest.mark.fault("a reader that forgets the limits", "all modules are searched for parsers", "the test fails")
def test_all_readers_use_this_layer():
    """The parsers are called in documents.py alone, and elsewhere only for texts of this program's own processes."""
    own = {"src/centernet/documents.py",
           "src/centernet/group.py", "src/centernet/data/verify.py",  # messages between the ranks of a group
           "src/centernet/training/conditions.py",  # a copy of values
           "tools/export_in_mindspore20.py",                          # its request, in another Python
           "benchmarks/start_up.py", "benchmarks/real_data_rows.py"}  # output of a child process; a copy of values
    call = re.compile(r"json\.loads?\(|yaml\.(safe_|full_)?load(_all)?\(")
    found = {str(path.relative_to(ROOT)) for folder in ("src", "tools", "benchmarks")
             for path in (ROOT / folder).rglob("*.py") if call.search(path.read_text(encoding="utf-8"))}
    assert found <= own, found - own


def test_a_small_file_does_not_ask_for_the_memory_of_the_largest(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    tracemalloc.start()
    try:
        assert read_json(tmp_path / "a.json") == {}
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()
