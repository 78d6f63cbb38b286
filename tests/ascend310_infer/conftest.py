"""The C++ program, built once, and models for it; what cannot be had here is skipped with the reason."""
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_coco import make_coco
from tiny_model import read_config, tiny_checkpoint, tiny_config, tiny_manifest

from centernet.cli import export, infer, preprocess
from centernet.files import sha256
from centernet.runtimes.manifest import manifest_path, write_manifest
from tests.ascend310_infer.runs import run
from tests.ascend310_infer.script import ROOT, bash

LITE = Path(os.environ.get("CENTERNET_LITE", f"{sys.prefix}-lite"))
SET_UP = f"scripts/set_up_lite.sh, which run_tests.sh runs, puts it into {LITE}"


class Program:
    """The built program: call it with its flags (name=value), get the finished process."""

    def __init__(self, path):
        self.path = path

    def __call__(self, *words, **flags):
        flags = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        return subprocess.run([self.path, *map(str, words), *flags], capture_output=True, encoding="utf-8",
                              errors="backslashreplace", env={**os.environ, "GLOG_v": "3"})

    def fails(self, status, *words, **flags):
        """Its message; the status must be this one, and nothing else may be printed."""
        done = self(*words, **flags)
        message = done.stderr.splitlines()[-1] if done.stderr else ""
        assert (done.returncode, message[:7]) == (status, "error: "), done
        return message


@pytest.fixture(scope="session")
def lite_home(lite_set_up):
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if not (LITE / "mindspore_lite").is_dir():
        pytest.skip(f"MindSpore Lite is not there: {SET_UP}. {lite_set_up}")
    return LITE


@pytest.fixture(scope="session")
def json_home():
    """The package nlohmann-json of requirements-test.txt: a folder with include/nlohmann/json.hpp."""
    return Path(find_spec("nlohmann_json").submodule_search_locations[0])


@pytest.fixture(scope="session")
def build_dir(lite_home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("C++ program") / "build"
    done = subprocess.run(["bash", ROOT / "ascend310_infer/build.sh", folder], capture_output=True, text=True,
                          env={**os.environ, "MS_LITE_HOME": str(lite_home), "PYTHON": sys.executable})
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def program(build_dir):
    return Program(build_dir / "centernet_infer")


@pytest.fixture(scope="session")
def python20(lite_set_up):
    python = LITE / "mindspore20/bin/python"
    if not list(LITE.glob("mindspore20/lib/*/site-packages/mindspore-2.0.0.dist-info")):
        pytest.skip(f"no Python 3.7 to 3.9 with MindSpore 2.0 to write a model for MindSpore Lite 2.0: {SET_UP}. "
                    f"{lite_set_up}")
    return python


@pytest.fixture(scope="session")
def script_run(python20, lite_home, build_dir, tmp_path_factory):
    """run_infer_310.sh from a checkpoint to AP on 5 images (90 x 130).

    The model of Lite 2.0 has batches of 2 of 96 x 128. work has coco/, tiny.yaml and net.ckpt; here is the script's
    folder; done is the finished process.
    """
    work = tmp_path_factory.mktemp("lite")
    here = work / "a run"
    here.mkdir()
    make_coco(work / "coco", 5, split="val", size=(90, 130), empty=(3,))
    tiny_checkpoint(work / "net.ckpt", read_config(tiny_config(work)))
    settings = {"MS_LITE_HOME": lite_home, "BUILD_DIR": build_dir, "CENTERNET_LITE": lite_home, "DEVICE_TARGET": "CPU",
                "EXPORT_FLAGS": f"--config_path {work}/tiny.yaml --input_res 96 128 --export_batch_size 2",
                "cwd": here}
    done = bash("scripts/run_infer_310.sh", work / "net.ckpt", work / "coco", "y", "0", **settings)
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(work=work, here=here, done=done, settings=settings)


@pytest.fixture(scope="session")
def lite_work(script_run):
    """The folder with the data set and the checkpoint of script_run, and the exported model.mindir."""
    for suffix in (".mindir", ".json"):
        shutil.copy(script_run.here / f"exported_model/net{suffix}", script_run.work / f"model{suffix}")
    return script_run.work


@pytest.fixture(scope="session")
def work(program, lite_work):
    """lite_work with what both programs make of it: pre/, python_raw/, and cpp/ of the C++ program."""
    work = lite_work
    config = ["--config_path", str(work / "tiny.yaml")]
    assert export.main([*config, "--export_load_ckpt", str(work / "net.ckpt"), "--input_res", "96", "128",
                        "--export_name", str(work / "new")]) == 0
    assert preprocess.main([*config, "--model_path", str(work / "model.mindir"), "--val_data_dir", str(work / "coco"),
                            "--predict_dir", str(work / "pre")]) == 0
    assert infer.main([*config, "--model_path", str(work / "new.mindir"), "--predict_dir", str(work / "pre"),
                       "--result_path", str(work / "python_raw")]) == 0
    run(program, work, work / "pre", work / "cpp")
    return work


@pytest.fixture
def copy(work, tmp_path):
    """A copy of the folder, to be damaged."""
    return shutil.copytree(work, tmp_path / "a copy")


@pytest.fixture
def inputs(tmp_path):
    """A folder of two prepared images."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("1", "2"):
        np.zeros((3, 96, 128), "<f4").tofile(folder / f"{name}.bin")
    return folder


@pytest.fixture
def fake_model(tmp_path):
    """Makes a file that is no model with a manifest that fits it: enough for all that comes before the runtime."""
    def make(content=b"no model", name="fake", **changes):
        path = tmp_path / f"{name}.mindir"
        path.write_bytes(content)
        kind = changes.pop("input_dtype", "float32")
        manifest = tiny_manifest((96, 128), **{"sha256": sha256(path), **changes})
        write_manifest(manifest.with_uint8_input() if kind == "uint8" else manifest, manifest_path(path))
        return path
    return make


@pytest.fixture
def edit_manifest():
    """Changes a model's manifest in place: edit_manifest(model, lambda values: ...)."""
    def edit(model, change):
        path = manifest_path(Path(model))
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))
    return edit
