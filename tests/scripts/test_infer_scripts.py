"""The scripts that measure float16 and 8-bit models: their table, and their mistakes."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_coco import make_coco
from tiny_model import read_config, tiny_checkpoint, tiny_config

from centernet.errors import UserError
from tools import infer_centernet

ROOT = Path(__file__).parents[2]
NAMES = [f"infer_centernet_{precision}_{kind}.sh" for precision in ("fp16", "int8")
         for kind in ("accuracy", "performance")]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work") / "my data"
    folder.mkdir()
    tiny_checkpoint(folder / "tiny.ckpt", read_config(tiny_config(folder)))
    make_coco(folder / "coco", 4, split="val")
    return folder


def run(name, folder, *arguments, **variables):
    clean = {key: value for key, value in os.environ.items()
             if key not in ("DATASETS_DIR", "MODEL_PATH", "CHECKPOINT", "CONFIG_PATH", "BATCH_SIZE", "OUTPUT_DIR")}
    return subprocess.run(["bash", str(ROOT / "scripts" / name), *arguments], cwd=folder, capture_output=True,
                          text=True, env={**clean, "PYTHON": sys.executable, **variables})


@pytest.mark.parametrize("name", NAMES)
def test_help_and_wrong_arguments(name, tmp_path):
    shown = run(name, tmp_path, "--help")
    assert shown.returncode == 0 and f"scripts/{name}" in shown.stdout and "DATASETS_DIR" in shown.stdout
    wrong = run(name, tmp_path, "/path/to/coco")
    assert wrong.returncode == 2 and "unexpected argument '/path/to/coco'" in wrong.stderr
    missing = run(name, tmp_path)
    assert missing.returncode == 2 and missing.stderr.startswith("error: DATASETS_DIR is not set")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_exported_and_measured(work, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed (requirements-onnx.txt)")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (requirements-onnx.txt)")
    flipped = tmp_path / "flipped.yaml"  # any batch size and the flip test exclude each other
    flipped.write_text((work / "tiny.yaml").read_text().replace("eval_config:", "eval_config:\n  flip_test: true"))
    data = {"DATASETS_DIR": str(work / "coco"), "BATCH_SIZE": "4", "CONFIG_PATH": str(flipped),
            "CALIBRATION_METHOD": "minmax"}
    found = run("infer_centernet_int8_accuracy.sh", tmp_path, CHECKPOINT=str(work / "tiny.ckpt"), **data)
    assert found.returncode == 0, found.stderr
    row = [cell.strip() for cell in found.stdout.splitlines()[-1].strip("|").split("|")]
    assert row[:4] == ["CenterNet", "4", "INT8", "-"] and all(0 <= float(cell) <= 1 for cell in row[4:])
    data["MODEL_PATH"] = str(tmp_path / "results_onnx/centernet_int8.onnx")
    table = infer_centernet.run("int8", "performance", data)
    row = [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")]
    assert row[:3] == ["CenterNet", "4", "INT8"] and float(row[3]) > 0 and row[4:] == ["-", "-"]
    with pytest.raises(UserError, match="is int8, but this script measures fp16"):
        infer_centernet.run("fp16", "performance", data)
