"""What the C++ program says to wrong flags and files, before any model runs."""
import hashlib
import json

import numpy as np
import pytest

BYTES = 3 * 96 * 128 * 4


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
    (("--model_path", "--input_path", "in"), "--model_path needs a value"),
    (("--input_path", "in", "--model_path", "--prepare_only"), "--model_path needs a value"),
    (("--model_path", "--inptu_path", "in"), "unknown argument '--inptu_path' (did you mean --input_path?); --help"),
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
