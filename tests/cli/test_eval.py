"""eval.py as its user runs it: files, printed figures, both modes, and what it says when something is wrong."""
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_coco import edit, make_coco

from centernet.cli import evaluate as entry
from centernet.config.load import load_config
from centernet.data.coco import read_coco
from centernet.models.centernet import build_centernet
from centernet.weights.checkpoint import model_record, save_checkpoint

PRESET = str(Path(__file__).parents[2] / "configs" / "demo_cpu.yaml")
SIZE = ("--dataset_config.input_res_test", "64", "96")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    make_coco(folder, num_images=5, split="val", empty=(2,))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, data_dir):
    path = tmp_path_factory.mktemp("ckpt") / "demo.ckpt"
    config = load_config("eval", ["--config_path", PRESET], "")
    categories = read_coco(data_dir / "annotations" / "instances_val2017.json", data_dir / "val2017").categories
    network = build_centernet(config.net_config, len(categories))
    save_checkpoint(path, network, model_record(config, categories), {})
    return path


@pytest.fixture
def run(checkpoint, tmp_path, capsys):
    """Run eval.py with the demo's preset; returns status, output and errors."""
    def call(*flags, preset=PRESET, load=checkpoint):
        status = entry.main(["--config_path", preset, "--device_target", "CPU", "--load_checkpoint_path", str(load),
                             "--save_result_dir", str(tmp_path / "out"), *SIZE, *map(str, flags)])
        return status, *capsys.readouterr()
    return call


def test_val_prints_coco_lines_and_writes_files(run, data_dir, tmp_path):
    status, out, _ = run("--data_dir", data_dir, "--visual_image", "true", "--eval_config.batch_size", "2", "--report",
                         "true")
    assert status == 0
    lines = out.splitlines()
    first = lines.index("overall performance on coco2017 validation dataset")
    assert lines[first + 1].startswith(" Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = ")
    assert lines[first + 12].startswith(" Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = ")
    assert [line.split()[0] for line in lines[first + 14:first + 18]] == ["category", "disc", "frame", "cross"]
    folder = tmp_path / "out" / "val"
    results = json.loads((folder / "val_pred_eval.json").read_text())
    assert {row["category_id"] for row in results} <= {1, 7, 90} and {row["image_id"] for row in results} <= set(
        range(100, 105))
    assert len(json.loads((folder / "val_pred_result.json").read_text())) == 5
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["images"] == 5 and metrics["detected"] == len(results)
    for kind in ("pred_image", "gt_image"):
        assert len(list((folder / kind).iterdir())) == 5
    numbers = json.loads((folder / "report.json").read_text())
    assert (folder / "report.html").stat().st_size > 10_000 and f"report: {folder / 'report.html'}" in out
    assert [row["calls"] for row in numbers["speed"]["stages"]] == [5, 5, 3, 3] and numbers["speed"]["seconds"] > 0
    assert numbers["settings"]["eval_config.batch_size"] == {"value": 2, "default": False}


@pytest.mark.usefixtures("checkpoints_layer_by_layer")
def test_test_mode_writes_the_upload_and_no_ap(run, data_dir, tmp_path):
    shutil.copytree(data_dir / "val2017", tmp_path / "coco" / "test2017")
    document = json.loads((data_dir / "annotations" / "instances_val2017.json").read_text())
    del document["annotations"]
    (tmp_path / "coco" / "annotations").mkdir()
    (tmp_path / "coco" / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(document))
    status, out, _ = run("--data_dir", tmp_path / "coco", "--run_mode", "test")
    assert status == 0 and "Average Precision" not in out
    assert "upload" in out and "test_pred_eval.json" in out
    assert json.loads((tmp_path / "out" / "test" / "test_pred_eval.json").read_text())
    assert not (tmp_path / "out" / "test" / "metrics.json").exists()


@pytest.mark.usefixtures("checkpoints_layer_by_layer")
def test_enable_eval_false_stops_after_the_results(run, data_dir, tmp_path):
    status, out, _ = run("--data_dir", data_dir, "--enable_eval", "false")
    assert status == 0 and "Average Precision" not in out
    assert sorted(path.name for path in (tmp_path / "out" / "val").iterdir()) == ["val_pred_eval.json",
                                                                                 "val_pred_result.json"]


@pytest.mark.usefixtures("checkpoints_layer_by_layer")
def test_own_layout_keep_res_scales_and_flip(run, tmp_path):
    annotation_file = make_coco(tmp_path / "mine", num_images=2, split="val", size=(50, 70))
    (tmp_path / "mine" / "val2017").rename(tmp_path / "mine" / "pictures")
    grey = tmp_path / "mine" / "pictures" / "deep" / "grey.png"
    grey.parent.mkdir()
    cv2.imwrite(str(grey), np.full((50, 70), 99, np.uint8))
    edit(annotation_file, lambda document: document["images"].append(
        {"id": 7, "file_name": "deep/grey.png", "width": 70, "height": 50}))
    earlier = [tmp_path / "out/val" / name for name in ("report.json", "report.html")]
    earlier[0].parent.mkdir(parents=True)
    for path in earlier:
        path.write_text("{}")
    status, out, _ = run("--annotation_file", annotation_file, "--image_dir", tmp_path / "mine" / "pictures",
                         "--eval_config.keep_res", "true", "--eval_config.batch_size", "1", "--eval_config.pad", "31",
                         "--eval_config.multi_scales", "1", "1.5", "--eval_config.flip_test", "true")
    assert status == 0 and not any(path.exists() for path in earlier)  # they would contradict the new metrics
    assert "3 images at their own resolution: 2 input sizes, one compilation for each size" in out


def test_a_missing_image_stops(run, data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path / "coco")
    (tmp_path / "coco" / "val2017" / "000001.jpg").unlink()
    status, _, errors = run("--data_dir", tmp_path / "coco")
    assert status == 2
    assert "1  image file missing (id 101: 000001.jpg)" in errors and "can be evaluated" in errors


def test_an_unreadable_image_stops(run, data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path / "coco")
    path = tmp_path / "coco" / "val2017" / "000003.jpg"
    path.write_bytes(path.read_bytes()[:900])
    status, _, errors = run("--data_dir", tmp_path / "coco")
    assert status == 2 and "000003.jpg is cut off after 900 bytes" in errors


def test_other_categories_are_an_error_with_the_remedy(run, tmp_path):
    make_coco(tmp_path / "other", num_images=1, split="val", categories=((1, "disc"), (2, "star")))
    status, _, errors = run("--data_dir", tmp_path / "other")
    assert status == 2
    assert "detects 3 categories" in errors and "not in the model: star" in errors and "--fine_tune true" in errors


@pytest.mark.parametrize("flags, message", [
    (("--data_dir", "nowhere"), "nowhere does not exist"),
    ((), "no data set is given"),
    (("--run_mode", "vall"), "run_mode must be one of val, test; found 'vall'"),
    (("--load_checkpoint_path", "no.ckpt"), "checkpoint no.ckpt: there is no such file"),
    (("--load_checkpoint_path", "configs"), "checkpoint configs is a folder: name one file; it has no .ckpt or "),
    (("--save_result_dir", "README.md"), "--save_result_dir README.md"),
    (("--load_checkpoint_path", ""), "--load_checkpoint_path is empty"),
    (("--net_config.backbone", "resnet34"), "holds another network than the configuration"),
])
def test_user_errors(run, data_dir, flags, message):
    given = flags if not flags or flags[0] == "--data_dir" else ("--data_dir", data_dir, *flags)
    status, _, errors = run(*given)
    assert status == 2 and message in errors and "Traceback" not in errors
