"""What the C++ program says to wrong flags and files, before any model runs."""
import hashlib
import json
import resource
import subprocess
import sys

import numpy as np
import pytest

BYTES = 3 * 96 * 128 * 4
# In a process of its own: what a child may be charged with is also the memory of the process that started it.
PEAK_OF = """import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)"""


@pytest.fixture
def inputs(tmp_path):
    """A folder of two prepared images."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("1", "2"):
        np.zeros((3, 96, 128), "<f4").tofile(folder / f"{name}.bin")
    return folder


@pytest.mark.parametrize("words, message", [
    ((), "--model_path is not set"),
    (("--model_path", "m.mindir"), "--input_path is not set"),
    (("--model", "m.mindir"), "unknown argument '--model' (did you mean --model_path?); --help lists the flags"),
    (("--Input-Pth=a", "--cache", "-1", "--threads", "2x", "--cache", "3", "-v"),
     "unknown arguments '--Input-Pth=a' (did you mean --input_path?), '--cache', '-v'; --help lists the flags"),
    (("--thread=2x", "--thraeds", "2", "--sore_thresh=-.5"),
     "unknown arguments '--thread=2x' (did you mean --threads?), '--thraeds' (did you mean --threads?), "
     "'--sore_thresh=-.5' (did you mean --score_thresh?); --help"),
    (tuple(f"--{number}{'x' * 100}" for number in range(30)), f"'--19{'x' * 76}', ...; --help"),
    (("stray",), "unknown argument 'stray'; --help"), (("--threads", "2", "", "-"), "unknown argument ''; --help"),
    (("--model_path",), "--model_path needs a value"),
    (("--model_path=",), "--model_path must be a path; found ''"),
    (("--device_target", "GPU"), "--device_target must be one of ASCEND, CPU; found 'GPU'"),
    (("--device_id", "-1"), "--device_id must be a whole number, 0 or more; found '-1'"),
    (("--threads=2x",), "--threads must be a whole number"),
    (("--warm_up", "99999999999"), "--warm_up must be a whole number"),
    (("--help=yes",), "--help takes no value"),
    (("--score_thresh", "1.5"), "--score_thresh must be between 0 and 1; found '1.5'"),
    (("--nms", "hard"), "--nms must be one of auto, gaussian, none; found 'hard'"),
])
def test_wrong_flags(program, words, message):
    assert message in program.fails(2, *words)


def test_help_lists_the_flags(program):
    done = program("--help")
    assert done.returncode == 0
    for flag in ("model_path", "input_path", "output_path", "device_target", "device_id", "precision_mode", "threads",
                 "warm_up", "max_image_pixels", "prepare_only"):
        assert f"--{flag} " in done.stdout
    assert "that of the manifest, or 0.3" in done.stdout and "as the manifest says" in done.stdout


def change(*path, value):
    def apply(values):
        for key in path[:-1]:
            values = values[key]
        values[path[-1]] = value
    return apply


@pytest.mark.parametrize("edit, message", [
    (change("format_version", value=2), "format_version is 2, this program reads 1"),
    (change("decode", value=False), "--export_decode true"),
    (change("decode", value=1), "decode must be true or false"),
    (change("input", "shape", value=[1, 3, 96]), "input.shape must have 4 values"),
    (change("input", "shape", 2, value=-96), "input.shape[2] must be a whole number from 1"),
    (change("input", "shape", 2, value=96.5), "input.shape[2] must be a whole number"),
    (change("input", "shape", 0, value=1e300), "input.shape[0] must be a whole number"),
    (change("input", "dtype", value="float16"), "input.dtype is float16"),
    (change("input", "color_order", value="GRAY"), "color_order must be BGR or RGB"),
    (change("mean", value=None), "mean must be a list"),
    (change("std", value=[0.1, 0, 0.1]), "std must be positive"),
    (change("K", value=21), "outputs[0].shape[1] must be a whole number from 21 to 21"),
    (change("categories", value=[]), "categories is empty"),
    (change("sha256", value="0" * 64), "is not the file that was exported"),
    (lambda values: values.pop("down_ratio"), "the key 'down_ratio' is missing"),
])
def test_a_wrong_manifest_is_named(program, fake_model, edit_manifest, inputs, edit, message):
    model = fake_model()
    edit_manifest(model, edit)
    found = program.fails(2, model_path=model, input_path=inputs)
    assert message in found and "fake.json" in found


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


@pytest.mark.fault("a value of a megabyte in a manifest (C++)", "such a manifest", "a message below 600 bytes")
def test_a_message_has_not_the_whole_file(program, fake_model, edit_manifest, tmp_path):
    model = fake_model()
    edit_manifest(model, change("input", "dtype", value="x" * 1_000_000))
    found = program.fails(2, model_path=model, input_path=tmp_path / "none")
    assert "input.dtype is xxx" in found and len(found) < 600


@pytest.mark.fault("NaN in prepared images (C++)", "a .bin file with NaN or infinity",
                   "refused with the name of the file")
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_prepared_values_that_are_not_finite_are_refused(program, lite_work, tmp_path, value):
    planes = np.zeros((3, 96, 128), "<f4")
    (tmp_path / "in").mkdir()
    for name in ("1", "2", "3"):
        planes.flat[777] = value if name == "3" else 0
        planes.tofile(tmp_path / f"in/{name}.bin")
    message = program.fails(2, model_path=lite_work / "model.mindir", input_path=tmp_path / "in",
                            output_path=tmp_path / "out", device_target="CPU")
    assert f"in/3.bin: value 777 is {value}, and all must be finite: run preprocess.py again" in message


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


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 100003])
def test_sha256(program, fake_model, edit_manifest, tmp_path, size):
    content = np.random.default_rng(size).bytes(size)
    model = fake_model(content)
    assert "no such folder" in program.fails(2, model_path=model, input_path=tmp_path / "none")
    edit_manifest(model, change("sha256", value=hashlib.sha256(content + b"x").hexdigest()))
    assert "its SHA-256 is " + hashlib.sha256(content).hexdigest()[:12] in program.fails(
        2, model_path=model, input_path=tmp_path / "none")


def test_missing_files_are_named(program, fake_model, tmp_path, inputs):
    assert "none.mindir: there is no such file" in program.fails(2, model_path=tmp_path / "none.mindir",
                                                                 input_path=inputs)
    assert "name ends in .mindir" in program.fails(2, model_path=tmp_path / "net.ckpt", input_path=inputs)
    model = fake_model()
    model.with_suffix(".json").unlink()
    assert "fake.json: there is no such file. It is the manifest" in program.fails(2, model_path=model,
                                                                                   input_path=inputs)


def test_wrong_input_folders_are_named(program, fake_model, tmp_path, inputs):
    model = fake_model()
    assert "there is no such folder" in program.fails(2, model_path=model, input_path=inputs / "1.bin")
    (inputs / "a.jpg").write_bytes(b"")
    assert "holds .bin files and JPEG files" in program.fails(2, model_path=model, input_path=inputs)
    (tmp_path / "set/00_data").mkdir(parents=True)
    assert "index.json is not there" in program.fails(2, model_path=model, input_path=tmp_path / "set")
    (tmp_path / "set/meta").mkdir()
    index = {"shape": [3, 96, 128], "dtype": "float32", "byte_order": "little", "layout": "CHW", "color_order": "BGR",
             "mean": [0.4, 0.4, 0.4], "std": [0.28863828, 0.27408164, 0.27809835], "images": []}
    (tmp_path / "set/meta/index.json").write_text(json.dumps(index))
    message = program.fails(2, model_path=model, input_path=tmp_path / "set")
    assert "prepared for another model" in message and '"mean": [0.40789654, 0.44719302, 0.47026115]' in message
    (tmp_path / "set/meta/index.json").write_text("{")
    assert "is not valid JSON" in program.fails(2, model_path=model, input_path=tmp_path / "set")


@pytest.mark.fault("an index of prepared images that is damaged (C++)", "another count, an image twice, a missing name",
                   "refused before the first image, as in Python")
@pytest.mark.parametrize("changes, message", [
    ({"count": 3}, "index.json lists 2 images, but its count is 3: run preprocess.py again"),
    ({"images": [{"image_id": 7, "file_name": "a"}, {"image_id": 7.0, "file_name": "b"}]},
     "images[1].image_id is used twice: run preprocess.py again"),
    ({"images": [{"image_id": 7}]}, "images[0] is incomplete: the key 'file_name' is missing"),
    ({"annotation_file": None}, "annotation_file must be a string, found null"),
    ({"images": [{"image_id": 2**63, "file_name": "a"}]}, "images[0].image_id must be a whole number from"),
    ({}, "00_data/9007199254740993.bin: No such file"),
])
def test_a_wrong_index_is_named(program, fake_model, tmp_path, changes, message):
    for folder in ("00_data", "meta"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    np.zeros((3, 96, 128), "<f4").tofile(tmp_path / "set/00_data/7.bin")
    index = {"count": 2, "annotation_file": "", "shape": [3, 96, 128], "dtype": "float32", "byte_order": "little",
             "layout": "CHW", "color_order": "BGR", "mean": [0.40789654, 0.44719302, 0.47026115],
             "std": [0.28863828, 0.27408164, 0.27809835],
             "images": [{"image_id": 7, "file_name": "a"}, {"image_id": 2**53 + 1, "file_name": "b"}]}
    (tmp_path / "set/meta/index.json").write_text(json.dumps({**index, **changes}))
    found = program.fails(2, model_path=fake_model(), input_path=tmp_path / "set", output_path=tmp_path / "out")
    assert message in found and not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made_is_named(program, fake_model, tmp_path, inputs):
    (tmp_path / "file").write_text("")
    message = program.fails(2, model_path=fake_model(), input_path=inputs, output_path=tmp_path / "file/out")
    assert f"{tmp_path}/file: the folder cannot be made" in message


@pytest.mark.parametrize("content", [b"", b"no model", np.random.default_rng(0).bytes(100000)])
def test_what_is_no_model_does_not_crash_the_runtime(program, fake_model, tmp_path, inputs, content):
    message = program.fails(1, model_path=fake_model(content), input_path=inputs, output_path=tmp_path / "out",
                            device_target="CPU")
    assert "MindSpore Lite cannot build" in message and "written by MindSpore 2.10.0" in message


def test_without_an_ascend_device_it_says_so(program, fake_model, tmp_path, inputs):
    message = program.fails(1, model_path=fake_model(deform="native"), input_path=inputs, output_path=tmp_path / "out")
    assert "finds no Ascend backend here" in message and "--device_target CPU" in message
    assert "--export_deform gather" in message
