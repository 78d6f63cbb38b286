"""scripts/run_infer_310.sh and the scripts that fetch what it needs, as commands."""
import json
import shutil
import subprocess

import pytest
from tiny_coco import make_coco

from tests.ascend310_infer.script import ROOT, bash

HEADING = "=============coco2017 310 infer result========="


@pytest.fixture
def arguments(tmp_path):
    """A model, its manifest and a data set that look right from outside."""
    (tmp_path / "m.mindir").write_text("")
    (tmp_path / "m.json").write_text("{}")
    (tmp_path / "coco").mkdir()
    return [str(tmp_path / "m.mindir"), str(tmp_path / "coco"), "y", "0"]


@pytest.mark.parametrize("position, value, message", [
    (0, "m.onnx", "must end in .mindir, or in .ckpt"),
    (0, "none.mindir", "there is no such file"),
    (1, "nowhere", "DATASET_PATH nowhere is not a folder"),
    (2, "yes", "PREPROCESS_IMAGES must be y or n, found 'yes'"),
    (2, "n", "is not a complete prepared set"),
    (3, "first", "DEVICE_ID must be a whole number, found 'first'"),
    (4, "GPU", "DEVICE_TARGET must be ASCEND or CPU, found 'GPU'"),
])
def test_wrong_arguments_start_nothing(arguments, tmp_path, position, value, message):
    (tmp_path / "here").mkdir()
    done = bash("scripts/run_infer_310.sh", *[*arguments, "CPU"][:position], value, *[*arguments, "CPU"][position + 1:],
                cwd=tmp_path / "here", MS_LITE_HOME=tmp_path)
    assert done.returncode == 2 and message in done.stderr
    assert not list((tmp_path / "here").iterdir())


@pytest.fixture
def prepared_run(arguments, tmp_path):
    """Runs the script with n in a folder whose prepared set is that of an annotation file; its build would fail."""
    def start(annotation_file, dataset):
        index = tmp_path / "here/preprocess_Result/meta/index.json"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text(json.dumps({"annotation_file": str(annotation_file)}))
        return bash("scripts/run_infer_310.sh", arguments[0], dataset, "n", "0", "CPU", cwd=tmp_path / "here",
                    MS_LITE_HOME=tmp_path, CXX="no-such-compiler")
    return start


@pytest.mark.fault("run_infer_310.sh with n and another data set", "a prepared set of another annotation file",
                   "refused; the message names both")
def test_a_prepared_set_of_another_data_set_is_refused(prepared_run, tmp_path):
    first, second = (make_coco(tmp_path / name, 1, split="val") for name in ("first", "second"))
    done = prepared_run(first, tmp_path / "second")
    assert done.returncode == 2 and done.stderr.startswith("error: PREPROCESS_IMAGES is n, but ") and not done.stdout
    assert f"was prepared from {first}, and DATASET_PATH {tmp_path}/second has {second}: use y" in done.stderr
    assert "images without an annotation file" in prepared_run("", tmp_path / "second").stderr
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["preprocess_Result"]


@pytest.mark.fault("run_infer_310.sh fails after an earlier run", "results of that run, and no compiler",
                   "the numbers of the earlier run are removed")
def test_a_failed_run_leaves_no_numbers_of_an_earlier_one(prepared_run, tmp_path):
    annotation_file = make_coco(tmp_path / "first", 1, split="val")
    (tmp_path / "link").symlink_to(tmp_path / "first")
    old = ["acc.log", "time_Result/test_perform_result.txt", "results_310/metrics.json",
           "results_310/val_pred_eval.json", "results_310/val_pred_result.json"]
    for name in [*old, "results_310/notes.json"]:
        (tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "here" / name).write_text("{}")
    done = prepared_run(annotation_file, tmp_path / "link")
    assert done.returncode == 2 and "build failed with status 2" in done.stderr
    assert not any((tmp_path / "here" / name).exists() for name in old)
    assert (tmp_path / "here/results_310/notes.json").exists()


@pytest.mark.parametrize("count", [0, 3, 6])
def test_a_wrong_number_of_arguments_shows_the_usage(arguments, count):
    done = bash("scripts/run_infer_310.sh", *(arguments * 2)[:count])
    assert done.returncode == 2 and done.stderr.startswith("usage: ") and not done.stdout


def test_a_missing_manifest_or_runtime_is_named(arguments, tmp_path):
    assert "MS_LITE_HOME is not set" in bash("scripts/run_infer_310.sh", *arguments).stderr
    (tmp_path / "m.json").unlink()
    done = bash("scripts/run_infer_310.sh", *arguments, MS_LITE_HOME=tmp_path)
    assert done.returncode == 2 and "m.json is missing" in done.stderr


@pytest.mark.parametrize("script", ["scripts/run_infer_310.sh", "scripts/get_mindspore_lite.sh",
                                    "scripts/export_mindir_lite20.sh", "ascend310_infer/build.sh"])
def test_help(script):
    done = bash(script, "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: ")


@pytest.mark.parametrize("script", ["scripts/get_mindspore_lite.sh", "scripts/export_mindir_lite20.sh",
                                    "scripts/set_up_mindspore20.sh"])
def test_without_arguments_nothing_is_fetched(script):
    done = bash(script)
    assert done.returncode == 2 and "usage: " in done.stderr


def test_build_says_what_is_missing(tmp_path):
    done = bash("ascend310_infer/build.sh", tmp_path / "b")
    assert done.returncode == 2 and "MS_LITE_HOME is not set" in done.stderr
    done = bash("ascend310_infer/build.sh", tmp_path / "b", MS_LITE_HOME=tmp_path / "none")
    assert done.returncode == 2 and "none is not a folder" in done.stderr
    done = bash("ascend310_infer/build.sh", tmp_path / "b", MS_LITE_HOME=tmp_path, CXX="no-such-compiler")
    assert done.returncode == 2 and "there is no such compiler" in done.stderr
    done = bash("ascend310_infer/build.sh", tmp_path / "b", MS_LITE_HOME=tmp_path, NLOHMANN_JSON_HOME=tmp_path / "no")
    assert done.returncode == 2 and "NLOHMANN_JSON_HOME" in done.stderr and "no is not a folder" in done.stderr
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "dirname"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    done = bash("ascend310_infer/build.sh", tmp_path / "b", MS_LITE_HOME=tmp_path, PATH=tmp_path / "bin")
    assert done.returncode == 2 and "there is no cmake" in done.stderr
    assert not (tmp_path / "b").exists()


def test_build_names_what_a_folder_without_the_runtime_lacks(lite_home, tmp_path):
    done = bash("ascend310_infer/build.sh", tmp_path / "b", MS_LITE_HOME=tmp_path)
    assert done.returncode == 1 and "include/api/model.h" in done.stderr and "libmindspore-lite.so" in done.stderr


def test_build_says_how_to_get_the_json_library(lite_home, tmp_path):
    done = bash("ascend310_infer/build.sh", tmp_path / "b", MS_LITE_HOME=lite_home, NLOHMANN_JSON_HOME=tmp_path)
    message = " ".join(done.stderr.split())
    assert done.returncode == 1 and f"no nlohmann/json.hpp in NLOHMANN_JSON_HOME '{tmp_path}'" in message
    assert "apt-get install nlohmann-json3-dev" in message and "pip install nlohmann-json" in message


def test_both_layouts_of_the_json_library_are_found(lite_home, json_home, tmp_path):
    for home in (json_home, json_home / "include"):
        done = subprocess.run(["cmake", "-S", ROOT / "ascend310_infer", "-B", tmp_path / home.name,
                               f"-DMS_LITE_HOME={lite_home}", f"-DNLOHMANN_JSON_HOME={home}"],
                              capture_output=True, text=True)
        assert done.returncode == 0 and f"nlohmann/json: {json_home}/include\n" in done.stdout, done.stderr


def test_all_layouts_of_the_runtime_are_found(lite_home, json_home, tmp_path):
    """The archive for servers has runtime/include and runtime/lib, a wheel's inner folder include and lib."""
    inner = lite_home / "mindspore_lite"
    (tmp_path / "server").mkdir()
    (tmp_path / "server/runtime").symlink_to(inner)
    for home, library in ((inner, inner / "lib"), (tmp_path / "server", tmp_path / "server/runtime/lib")):
        done = subprocess.run(["cmake", "-S", ROOT / "ascend310_infer", "-B", tmp_path / home.name,
                               f"-DMS_LITE_HOME={home}", f"-DNLOHMANN_JSON_HOME={json_home}"],
                              capture_output=True, text=True)
        assert done.returncode == 0 and f"MindSpore Lite: {library}/" in done.stdout, done.stderr


def test_the_program_finds_its_libraries_by_itself(build_dir, lite_home):
    """DT_RPATH also serves the libraries of the libraries; DT_RUNPATH, the linker's default, does not."""
    found = subprocess.run(["readelf", "-d", build_dir / "centernet_infer"], capture_output=True, text=True).stdout
    assert f"(RPATH)              Library rpath: [{lite_home}/mindspore_lite/lib]" in found and "RUNPATH" not in found


def test_from_a_checkpoint_to_ap(script_run):
    """y prepares, n takes what is there; both end in the documented files in the current folder."""
    here, work, done = script_run.here, script_run.work, script_run.done
    assert "NN inference cost average time: " in done.stdout and "Average Precision" in done.stdout
    assert (here / "acc.log").read_text().count(HEADING) == 1
    assert len(list((here / "result_Files").glob("*_0.bin"))) == 5
    before = (here / "acc.log").read_text()
    arguments = (here / "exported_model/net.mindir", work / "coco", "n", "0")
    done = bash("scripts/run_infer_310.sh", *arguments, **script_run.settings, INFER_FLAGS="--warm_up 0")
    assert done.returncode == 0, done.stderr
    assert "preprocess" not in done.stdout and (here / "acc.log").read_text() == before
    (here / "preprocess_Result/00_data/102.bin").write_bytes(b"")
    done = bash("scripts/run_infer_310.sh", *arguments, **script_run.settings)
    assert done.returncode == 2 and "102.bin has 0 bytes" in done.stderr and "infer failed with status 2" in done.stderr
