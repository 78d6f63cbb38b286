"""JSON documents that the C++ program reads or refuses, and the memory that this takes."""
import json
import resource
import subprocess
import sys

import pytest

# In a process of its own: what a child may be charged with is also the memory of the process that started it.
PEAK_OF = """import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)"""


@pytest.mark.parametrize("text", [
    "", "[]", "{", "{}", "null", "nul", '{"a": 1,}', '{"a" 1}', "{'a': 1}", '{"a": 01}', '{"a": 1.}', '{"a": +1}',
    '{"a": .5}', '{"a": 1e}', '{"a": NaN}', '{"a": 1e999}', '{"a": "\\x"}', '{"a": "\\u12g4"}', '{"a": "\\ud800"}',
    '{"a": "line\nbreak"}', '{"a": "no end}', '{"a": 1} {"b": 2}', '{"a": [1, 2}', "[" * 100000, "\x00", '{"a": tru}',
])
def test_what_is_no_manifest_is_refused(program, fake_model, inputs, text):
    model = fake_model()
    model.with_suffix(".json").write_text(text)
    assert "fake.json" in program.fails(2, model_path=model, input_path=inputs)


@pytest.mark.parametrize("value, message", [
    (b"[" * 1_000_000, "nested too deeply"), (b'{"a":' * 200_000, "nested too deeply"),
    (b"[" * 65 + b"]" * 65, "nested too deeply"),
    (b"NaN", "not valid JSON: parse error at line 1, column"), (b"-Infinity", "invalid number"), (b"1e999", "1e999"),
    (b"-1e999", "-1e999"), (b"0x1", "not valid JSON"), (b"1 /* one */", "not valid JSON"),
    (b'{"a": 1, "\\u0061": 2}', "not valid JSON: an object has the key 'a' twice: keep one of the two"),
    (b'{"\\n\xc3\xa9": [], "\\n\xc3\xa9": []}', "has the key '\\n\u00e9' twice"),
    (b'[{"' + b"x" * 1000 + b'": {}, "' + b"x" * 1000 + b'": 1}]', f"has the key '{'x' * 200}...' twice"),
    (b"18446744073709551616", "a whole number must have at most 64 bits, found 18446744073709551616"),
    (b"-1" + b"0" * 250, f"at most 64 bits, found -1{'0' * 198}..."),
    (b'"\xff"', "UTF-8"), (b'"\xc0\x80"', "UTF-8"), (b'"\xed\xa0\x80"', "UTF-8"), (b'"\\udc00"', "surrogate"),
    (b'"\\ud800\\ud800"', "surrogate"), (b'"' + b"x" * 1_000_000, "missing closing quote"), (b'"\0"', "a byte 0"),
])
def test_one_bad_value_is_enough(program, fake_model, tmp_path, value, message):
    model = fake_model()
    path = model.with_suffix(".json")
    path.write_bytes(path.read_bytes().rstrip()[:-1].replace(b"\n", b"") + b', "more": ' + value + b"}")
    found = program.fails(2, model_path=model, input_path=tmp_path / "none")
    assert f"error: {path} is " in found and message in found and "Export again" in found and len(found) < 500


def test_what_is_around_the_document_counts(program, fake_model, tmp_path):
    model = fake_model()
    path = model.with_suffix(".json")
    good = path.read_bytes().strip()
    for content, message in ((b"\xef\xbb\xbf" + good, "byte order mark"), (good + b"\0 and more", "a byte 0"),
                             (good + b"{}", "expected end of input"), (good + b",", "expected end of input"),
                             (good[:-1] + b', "format_version": 1}', "an object has the key 'format_version' twice: "
                              "keep one of the two. Export again")):
        path.write_bytes(content)
        assert message in program.fails(2, model_path=model, input_path=tmp_path / "none")


def test_files_that_are_too_large_are_not_read(program, fake_model, tmp_path):
    model = fake_model()
    (tmp_path / "set/00_data").mkdir(parents=True)
    (tmp_path / "set/meta").mkdir()
    with (tmp_path / "set/meta/index.json").open("wb") as file:
        file.truncate((1 << 25) + 1)
    message = program.fails(2, model_path=model, input_path=tmp_path / "set")
    assert "index.json has 33554433 bytes, at most 33554432 are allowed" in message
    with model.with_suffix(".json").open("ab") as file:
        file.truncate((1 << 22) + 1)
    message = program.fails(2, model_path=model, input_path=tmp_path / "set")
    assert "fake.json has 4194305 bytes, at most 4194304 are allowed" in message


def test_hostile_documents_take_little_memory(program, fake_model, tmp_path):
    """Documents of 220 kB: what their reading adds to the memory of the program must be in proportion."""
    model = fake_model()
    good = model.with_suffix(".json").read_text()
    documents = {
        "lists in lists": "[" * 220_000, "objects in objects": '{"a":' * 44_000, "values": f"[{'1,' * 110_000}1]",
        "lists": f"[{'[],' * 73_000}1]", "objects": f"[{'{},' * 73_000}1]", "members": "[" + '{"a":1},' * 27_000 + "1]",
        "values below a long key": '{"' + "k" * 110_000 + '": [' + "1," * 55_000 + "1]}",
        "many keys": "{" + ",".join(f'"{i}":1' for i in range(25_000)) + "}",
        "a long key twice": f'{{"{"k" * 110_000}": 1, "{"k" * 110_000}": 1}}'}

    def peak(text):
        model.with_suffix(".json").write_text(text)
        done = subprocess.run([sys.executable, "-c", PEAK_OF, program.path, "--model_path", model, "--input_path",
                               tmp_path / "none"], capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.startswith("error: "), done.stderr
        return int(done.stdout) / 1024

    plain = peak(good)
    added = {name: peak(text) - plain for name, text in documents.items()}
    assert max(added.values()) < 50, added


@pytest.mark.fault("220 kB of JSON that took 2 GB in C++", "documents just below the size limit, in 1 GB",
                   "an error message, no lack of memory")
@pytest.mark.parametrize("unit", ["1,", "{},"])
def test_large_documents_are_read_within_a_limit_of_memory(program, fake_model, tmp_path, unit):
    """Documents just below the limits of the file size: a program that may have 1 GB says what is wrong with them."""
    model = fake_model()
    (tmp_path / "set/00_data").mkdir(parents=True)
    (tmp_path / "set/meta").mkdir()
    index, good = tmp_path / "set/meta/index.json", model.with_suffix(".json").read_text()
    for path, size, values in ((index, 1 << 25, 1 << 21), (model.with_suffix(".json"), 1 << 22, 1 << 18)):
        model.with_suffix(".json").write_text(good)
        path.write_text(f"[{unit * ((size - 3) // len(unit))}1]")
        done = subprocess.run([program.path, "--model_path", model, "--input_path", tmp_path / "set"],
                              capture_output=True, text=True,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)))
        assert done.returncode == 2 and f"{path} is too large: more than {values} values" in done.stderr, done


def test_every_form_of_json_is_read(program, fake_model, tmp_path):
    model = fake_model()
    values = json.loads(model.with_suffix(".json").read_text())
    values["categories"][0]["name"] = 'tab\t "quoted" \\ / ü 漢 😀'
    values["more"] = [1.5e+3, -0, -2.5E-1, 0.0, True, None, {}, [], [[]], ""]
    values["mean"] = [4e-1, 45e-2, 5E-1]
    for text in (json.dumps(values), json.dumps(values, ensure_ascii=False), json.dumps(values, indent="\t"),
                 f"\r\n {json.dumps(values, separators=(',', ':'))}\n", json.dumps(values).replace("/", "\\/")):
        model.with_suffix(".json").write_text(text, encoding="utf-8")
        (tmp_path / "empty").mkdir(exist_ok=True)
        # The next complaint is about the input folder: the manifest was understood.
        assert "has no .bin, .jpg or .jpeg file" in program.fails(2, model_path=model, input_path=tmp_path / "empty")


@pytest.mark.parametrize("ascii_only", [True, False])
def test_texts_of_all_alphabets_are_read(program, fake_model, inputs, tmp_path, ascii_only):
    model = fake_model()
    values = json.loads(model.with_suffix(".json").read_text())
    values["versions"]["mindspore"] = '2 "é" ü 漢 \\ 😀'
    model.with_suffix(".json").write_text(json.dumps(values, ensure_ascii=ascii_only), encoding="utf-8")
    message = program.fails(1, model_path=model, input_path=inputs, output_path=tmp_path / "out", device_target="CPU")
    assert 'written by MindSpore 2 "é" ü 漢 \\ 😀;' in message
