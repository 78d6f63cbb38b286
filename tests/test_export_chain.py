"""export.py, preprocess.py, infer.py and postprocess.py as commands, against eval.py."""
import json
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from tiny_coco import CATEGORIES, edit, make_coco
from tiny_model import read_config, tiny_checkpoint, tiny_config

from centernet.cli import evaluate, export, infer, postprocess, preprocess
from centernet.export.compare import largest_difference_of_detections
from centernet.runtimes.manifest import read_manifest


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a data set, a checkpoint, and all that the chain makes of them (batch 2, 5 images, 96 x 128)."""
    work = tmp_path_factory.mktemp("chain")
    make_coco(work / "coco", 5, split="val", size=(90, 130), empty=(3,))
    config = tiny_config(work)
    tiny_checkpoint(work / "net.ckpt", read_config(config))
    assert export.main(["--config_path", str(config), "--export_load_ckpt", str(work / "net.ckpt"), "--input_res",
                        "96", "128", "--export_batch_size", "2", "--export_name", str(work / "out" / "model")]) == 0
    assert run(preprocess, work, "--val_data_dir", work / "coco", "--predict_dir", work / "pre") == 0
    assert run(infer, work, "--predict_dir", work / "pre", "--result_path", work / "raw") == 0
    assert run_postprocess(work) == 0
    return work


@pytest.fixture
def copy(work, tmp_path):
    """A copy of the chain's folder, to be damaged."""
    return shutil.copytree(work, tmp_path / "copy")


def run(entry, work, *flags, model="out/model.mindir"):
    return entry.main(["--config_path", str(work / "tiny.yaml"), "--model_path", str(work / model), *map(str, flags)])


def run_postprocess(work, *flags):
    return run(postprocess, work, "--result_path", work / "raw", "--meta_path", work / "pre" / "meta",
               "--save_path", work / "ap", *flags)


def by_image(path):
    """Results as image id -> rows of category, x, y, w, h, score, best first."""
    images = {}
    for row in json.loads(path.read_text()):
        images.setdefault(row["image_id"], []).append([row["category_id"], *row["bbox"], row["score"]])
    return {key: np.array(sorted(rows, key=lambda row: -row[-1])) for key, rows in images.items()}


def test_the_chain_gives_eval_s_results(work, capsys):
    assert evaluate.main(["--config_path", str(work / "tiny.yaml"), "--load_checkpoint_path", str(work / "net.ckpt"),
                          "--data_dir", str(work / "coco"), "--save_result_dir", str(work / "eval"),
                          "--dataset_config.input_res_test", "96", "128"]) == 0
    expected, found = (by_image(work / name) for name in ("eval/val/val_pred_eval.json", "ap/val_pred_eval.json"))
    assert set(found) == set(expected) == {100, 101, 102, 103, 104}
    for image_id, rows in expected.items():
        # Boxes are written with two decimals, so equal ones may differ by 0.01 pixel.
        distance = np.abs(rows[:, None] - found[image_id][None]).max(axis=2)
        assert len(rows) == len(found[image_id]) > 10
        assert distance.min(axis=1).max() <= 0.0101 and distance.min(axis=0).max() <= 0.0101
        np.testing.assert_allclose(found[image_id][:, -1], rows[:, -1], atol=1e-3)
    metrics = [json.loads((work / name).read_text()) for name in ("eval/val/metrics.json", "ap/metrics.json")]
    assert metrics[0]["AP"] == pytest.approx(metrics[1]["AP"], abs=1e-3)


def test_postprocess_prints_the_table_under_the_documented_heading(work, capsys):
    assert run_postprocess(work, "--label_path", work / "coco/annotations/instances_val2017.json") == 0
    printed = capsys.readouterr().out
    assert "=============coco2017 310 infer result=========\n Average Precision" in printed
    assert all(name in printed for _, name in CATEGORIES)


def test_inputs_are_plain_numbers_and_sidecars_are_json(work):
    for image_id in range(100, 105):
        values = np.fromfile(work / "pre/00_data" / f"{image_id}.bin", "<f4")
        assert values.size == 3 * 96 * 128 and np.isfinite(values).all() and np.ptp(values) > 1
        sidecar = json.loads((work / "pre/meta" / f"{image_id}.json").read_text())
        assert sidecar["image_id"] == image_id and sidecar["file_name"].endswith(".jpg")
        assert (sidecar["out_height"], sidecar["out_width"]) == (24, 32)
    index = json.loads((work / "pre/meta/index.json").read_text())
    assert index["count"] == 5 and index["shape"] == [3, 96, 128]
    assert np.fromfile(work / "raw/103_0.bin", "<f4").size == 20 * 6


def test_a_model_without_decoding_gives_the_same_detections(work, tmp_path, capsys):
    flags = ["--export_load_ckpt", work / "net.ckpt", "--input_res", "96", "128", "--export_decode", "false",
             "--export_name", tmp_path / "maps"]
    assert export.main(["--config_path", str(work / "tiny.yaml"), *map(str, flags)]) == 0
    assert "replaced" not in capsys.readouterr().out
    assert run(infer, work, "--predict_dir", work / "pre", "--result_path", tmp_path / "raw",
               model=tmp_path / "maps.mindir") == 0
    for path in (work / "raw").iterdir():
        found, expected = (np.fromfile(folder / path.name, "<f4").reshape(1, 20, 6)
                           for folder in (tmp_path / "raw", work / "raw"))
        assert largest_difference_of_detections(found, expected) <= 1e-3


def test_an_interrupted_preprocess_is_not_taken_for_complete(copy, capsys):
    (copy / "coco/val2017/000003.jpg").write_bytes(b"not an image")
    assert run(preprocess, copy, "--val_data_dir", copy / "coco", "--predict_dir", copy / "pre") == 2
    assert "000003.jpg" in capsys.readouterr().err
    assert run(infer, copy, "--predict_dir", copy / "pre", "--result_path", copy / "raw") == 2
    assert "Run preprocess.py" in capsys.readouterr().err
    assert run_postprocess(copy) == 2
    assert "Run preprocess.py" in capsys.readouterr().err


def test_inputs_prepared_for_another_model_are_refused(copy, capsys):
    edit(copy / "pre/meta/index.json", lambda index: index.update(mean=[0, 0, 0], shape=[3, 64, 64]))
    assert run(infer, copy, "--predict_dir", copy / "pre", "--result_path", copy / "raw") == 2
    message = capsys.readouterr().err
    assert "prepared for another model: shape is [3, 64, 64], but the model needs [3, 96, 128], mean" in message


@pytest.mark.parametrize("damage, message", [
    (lambda path: path.unlink(), "102.bin: No such file"),
    (lambda path: path.write_bytes(path.read_bytes()[:-4]), "102.bin has 147452 bytes, float32 of shape (3, 96, 128) "
                                                            "has 147456"),
])
def test_a_damaged_input_is_named(copy, capsys, damage, message):
    damage(copy / "pre/00_data/102.bin")
    assert run(infer, copy, "--predict_dir", copy / "pre", "--result_path", copy / "raw") == 2
    assert message in capsys.readouterr().err
    assert not (copy / "raw/104_0.bin").exists(), "results of an earlier run must not complete this one"


@pytest.mark.parametrize("damage, message", [
    (lambda raw: (raw / "102_0.bin").unlink(), "102_0.bin: No such file"),
    (lambda raw: (raw / "102_0.bin").write_bytes(b"\0" * 476), "102_0.bin has 476 bytes, float32 of shape (20, 6) has"),
    (lambda raw: np.full((20, 6), np.nan, "<f4").tofile(raw / "102_0.bin"), "102_0.bin: 120 of 120 values are NaN"),
    (lambda raw: np.full((20, 6), 3, "<f4").tofile(raw / "102_0.bin"), "classes outside 0..2"),
])
def test_a_damaged_result_is_named(copy, capsys, damage, message):
    damage(copy / "raw")
    assert run_postprocess(copy) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("change, message", [
    (lambda labels: labels["categories"][1].update(name="ring"), "not in the model: ring"),
    (lambda labels: labels["categories"][1].update(name="disc"), "the order or number differs"),
    (lambda labels: labels.pop("categories"), "not in COCO's format"),
])
def test_labels_of_other_categories_are_refused(copy, capsys, change, message):
    edit(copy / "coco/annotations/instances_val2017.json", change)
    labels = copy / "coco/annotations/instances_val2017.json"
    assert run_postprocess(copy, "--label_path", labels) == 2
    assert message in capsys.readouterr().err


def test_preprocess_refuses_a_data_set_of_other_categories(copy, capsys):
    edit(copy / "coco/annotations/instances_val2017.json", lambda labels: labels["categories"][0].update(name="ring"))
    assert run(preprocess, copy, "--val_data_dir", copy / "coco", "--predict_dir", copy / "pre2") == 2
    assert "detects 3 categories" in capsys.readouterr().err


def test_a_checkpoint_is_not_taken_for_an_exported_model(work, tmp_path, capsys):
    assert run(preprocess, work, "--val_data_dir", work / "coco", "--predict_dir", tmp_path, model="net.ckpt") == 2
    message = capsys.readouterr().err
    assert "is a checkpoint, but an exported model is needed. Run `python " in message
    assert "export.py --export_load_ckpt" in message


def test_postprocess_asks_for_the_annotations_that_the_set_does_not_name(copy, capsys):
    """As for images that the C++ program has prepared itself."""
    edit(copy / "pre/meta/index.json", lambda index: index.update(annotation_file=""))
    assert run_postprocess(copy) == 2
    assert "prepared these images without an annotation file: name it with --label_path" in capsys.readouterr().err


def test_postprocess_takes_the_folder_that_infer_takes(copy, capsys):
    assert run(postprocess, copy, "--result_path", copy / "raw", "--meta_path", copy / "pre",
               "--save_path", copy / "again") == 0
    assert (copy / "again/metrics.json").read_text() == (copy / "ap/metrics.json").read_text()


def test_postprocess_reads_the_files_of_msame(copy):
    for path in (copy / "raw").iterdir():
        path.rename(path.with_name(path.name.replace("_0", "_output_0")))
    expected = (copy / "ap/metrics.json").read_text()
    assert run_postprocess(copy) == 0
    assert (copy / "ap/metrics.json").read_text() == expected


def test_images_for_aipp_are_those_before_the_normalisation(copy, capsys):
    assert run(preprocess, copy, "--val_data_dir", copy / "coco", "--predict_dir", copy / "aipp", "--aipp", "true") == 0
    spec = read_manifest(copy / "out/model.mindir").spec
    pixels = np.fromfile(copy / "aipp/00_data/101.bin", np.uint8).reshape(96, 128, 3)
    planes = np.fromfile(copy / "pre/00_data/101.bin", "<f4").reshape(3, 96, 128)
    np.testing.assert_array_equal(spec.normalize(pixels), planes)
    assert run(postprocess, copy, "--result_path", copy / "raw", "--meta_path", copy / "aipp", "--save_path",
               copy / "again") == 0
    assert (copy / "again/metrics.json").read_text() == (copy / "ap/metrics.json").read_text()
    assert run(infer, copy, "--predict_dir", copy / "aipp", "--result_path", copy / "raw") == 2
    assert "prepared for another model" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("form", ["mindir", "onnx"])
def test_a_model_that_takes_uint8_images_gives_the_same(copy, form):
    if form == "onnx":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (requirements-onnx.txt)")
    model = copy / f"raw8.{form}"
    flags = ["--input_res", "96", "128", "--export_batch_size", "2", "--export_input", "uint8", "--export_format",
             form.upper()]
    assert export.main(["--config_path", str(copy / "tiny.yaml"), "--export_load_ckpt", str(copy / "net.ckpt"),
                        "--export_name", str(model), *flags]) == 0
    assert run(preprocess, copy, "--val_data_dir", copy / "coco", "--predict_dir", copy / "pre8", model=model) == 0
    assert (copy / "pre8/00_data/101.bin").stat().st_size * 4 == (copy / "pre/00_data/101.bin").stat().st_size
    assert run(infer, copy, "--predict_dir", copy / "pre8", "--result_path", copy / "found", model=model) == 0
    for path in (copy / "raw").iterdir():
        found, expected = (np.fromfile(folder / path.name, "<f4").reshape(1, 20, 6)
                           for folder in (copy / "found", copy / "raw"))
        assert largest_difference_of_detections(found, expected) <= 1e-4
    assert run(postprocess, copy, "--result_path", copy / "found", "--meta_path", copy / "pre8", "--save_path",
               copy / "ap8", model=model) == 0
    for folder, name in ((copy / "seen", "out/model.mindir"), (copy / "seen8", model)):
        assert run(infer, copy, "--image", copy / "coco/val2017", "--save_result_dir", folder, model=name) == 0
    seen, seen8 = (json.loads((copy / name / "detections.json").read_text())["images"] for name in ("seen", "seen8"))
    for one, other in zip(seen, seen8):
        assert [box["category"] for box in one["detections"]] == [box["category"] for box in other["detections"]]


def test_preprocess_looks_for_free_space_first(copy, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    flags = ["--val_data_dir", copy / "coco", "--predict_dir"]
    assert run(preprocess, copy, *flags, copy / "new") == 2
    assert "are free: use a folder on a larger disk" in capsys.readouterr().err
    assert run(preprocess, copy, *flags, copy / "pre") == 0  # the same files are replaced


def test_missing_flags_are_named(work, capsys):
    for entry, flag in ((preprocess, "predict_dir"), (postprocess, "result_path"), (infer, "image")):
        assert run(entry, work) == 2
        assert f"--{flag}" in capsys.readouterr().err
    assert run(infer, work, "--predict_dir", work / "pre", model="net.ckpt") == 2
    assert "They need an exported model" in capsys.readouterr().err


@pytest.mark.usefixtures("checkpoints_layer_by_layer")
@pytest.mark.parametrize("model", ["net.ckpt", "out/model.mindir"])
def test_infer_lists_and_draws_what_it_finds_in_a_folder(work, tmp_path, capsys, model):
    pictures = shutil.copytree(work / "coco/val2017", tmp_path / "in")
    (pictures / "000002.jpg").write_bytes((pictures / "000002.jpg").read_bytes()[:200])
    (pictures / "notes.txt").write_text("no image")
    assert run(infer, work, "--image", pictures, "--save_result_dir", tmp_path / "found", model=model) == 0
    printed = capsys.readouterr().out
    assert "000002.jpg is cut off" in printed and "4 of 5 images" in printed and "ms an image" in printed
    found = json.loads((tmp_path / "found/detections.json").read_text())
    assert [row["file"][-10:] for row in found["images"]] == ["000000.jpg", "000001.jpg", "000003.jpg", "000004.jpg"]
    rows = [box for row in found["images"] for box in row["detections"]]
    assert rows and all(box["score"] >= 0.3 and len(box["box"]) == 4 for box in rows)
    assert {(box["category_id"], box["category"]) for box in rows} <= set(CATEGORIES)
    drawn = cv2.imread(str(tmp_path / "found/pictures/000000.jpg"))
    assert drawn.shape == (360, 520, 3)  # 90 x 130, enlarged four times
    assert sorted(path.name for path in pictures.iterdir())[-1] == "notes.txt", "the input folder is left as it was"


def test_infer_takes_one_image_and_a_glob_over_folders(work, tmp_path, capsys):
    source = work / "coco/val2017/000001.jpg"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "same.bmp"), cv2.imread(str(source)))
    assert run(infer, work, "--image", source, "--save_result_dir", tmp_path / "one") == 0
    assert len(json.loads((tmp_path / "one/detections.json").read_text())["images"]) == 1
    assert run(infer, work, "--image", f"{tmp_path}/*/same.*", "--save_result_dir", tmp_path / "many") == 0
    assert sorted(str(path.relative_to(tmp_path / "many/pictures")) for path in tmp_path.glob("many/pictures/*/*")) == [
        "a/same.bmp.jpg", "b/same.bmp.jpg"]


def test_infer_says_when_there_is_nothing_to_look_at(work, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no image")
    for image, message in ((tmp_path / "none*.jpg", "no such file, no folder"), (tmp_path / "x.jpg", "no such file"),
                           (tmp_path / "broken.png", "none of the 1 files could be read")):
        assert run(infer, work, "--image", image, "--save_result_dir", tmp_path / "found") == 2
        assert message in capsys.readouterr().err


def test_infer_refuses_a_flip_test_that_the_model_does_not_have(work, capsys):
    assert run(infer, work, "--image", work / "coco/val2017", "--eval_config.flip_test", "true") == 2
    assert "was exported without it" in capsys.readouterr().err


def test_export_refuses_the_configuration_of_another_network(work, tmp_path, capsys):
    other = tiny_config(tmp_path, neck_filters=[16, 16, 8])
    assert export.main(["--config_path", str(other), "--export_load_ckpt", str(work / "net.ckpt"), "--export_name",
                        str(tmp_path / "model")]) == 2
    assert "neck_filters" in capsys.readouterr().err and not list(tmp_path.glob("*.mindir"))
