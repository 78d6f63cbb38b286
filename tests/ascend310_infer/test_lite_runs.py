"""The C++ program on the real runtime against Python on the same checkpoint."""
import json
import re
import shutil

import cv2
import mindspore as ms
import numpy as np
import pytest
from tiny_coco import edit
from tiny_model import CATEGORIES, read_config, tiny_checkpoint, tiny_config, tiny_network

from centernet.cli import export, infer, postprocess, preprocess
from centernet.export.compare import largest_difference_of_detections
from centernet.models.decode import Detect
from centernet.weights.checkpoint import model_record, save_checkpoint
from tests.ascend310_infer.runs import detections, run
from tools import export_mindir_lite20


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert max(largest_difference_of_detections(found[name], expected[name]) for name in found) <= 1e-3


def postprocessed(work, raw, meta, out, labels="coco/annotations/instances_val2017.json"):
    assert postprocess.main(["--config_path", str(work / "tiny.yaml"), "--model_path", str(work / "model.mindir"),
                             "--result_path", str(raw), "--meta_path", str(meta), "--save_path", str(out),
                             "--label_path", str(work / labels)]) == 0
    return json.loads((out / "metrics.json").read_text())


def test_detections_equal_python_s(work):
    """Five images in batches of two: the last batch is filled up and its filling gives no result."""
    found = detections(work / "cpp/result_Files")
    assert len(found) == 5
    assert_same(found, detections(work / "python_raw"))
    assert not list((work / "cpp/result_Files").glob("*.part"))


def test_postprocess_reads_the_results(work, tmp_path):
    found = postprocessed(work, work / "cpp/result_Files", work / "pre/meta", tmp_path / "cpp")
    expected = postprocessed(work, work / "python_raw", work / "pre/meta", tmp_path / "python")
    assert found["AP"] == pytest.approx(expected["AP"], abs=1e-3)


def test_the_report_has_the_documented_line_and_all_stages(work):
    text = (work / "cpp/time_Result/test_perform_result.txt").read_text()
    average, count = re.match(r"NN inference cost average time: ([\d.]+) ms of infer_count (\d+)\n", text).groups()
    assert float(average) > 0 and count == "3"
    stages = {name: float(value) for name, value in re.findall(r"^(\S+) +([\d.]+) ms an image", text, re.MULTILINE)}
    assert list(stages) == ["read", "prepare", "copy-in", "predict", "write", "total"]
    assert stages["predict"] == pytest.approx(float(average) * 3 / 5, abs=0.002)
    # The stages of the main thread and those of the reader's thread each take part of the total.
    assert stages["copy-in"] + stages["predict"] + stages["write"] <= stages["total"] + 0.01
    assert stages["read"] + stages["prepare"] <= stages["total"] + 0.01
    assert "images 5, batch 2" in text and "warm-up" in text and "images/s" in text and "the model waited" in text


def test_a_folder_of_jpeg_files_gives_the_same_and_its_own_sidecars(program, work, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(5):  # as COCO does it: the name is the image's id
        shutil.copy(work / f"coco/val2017/{number:06d}.jpg", tmp_path / f"in/{100 + number:012d}.jpg")
    run(program, work, tmp_path / "in", tmp_path, warm_up=0, threads=1)
    assert_same(detections(tmp_path / "result_Files"), detections(work / "cpp/result_Files"))
    index = json.loads((tmp_path / "meta/index.json").read_text())
    assert index["count"] == 5 and index["images"][1] == {"image_id": 101, "file_name": "000000000101.jpg"}
    labels = renamed(work, tmp_path, [f"{100 + number:012d}.jpg" for number in range(5)])
    found = postprocessed(work, tmp_path / "result_Files", tmp_path / "meta", tmp_path / "ap", labels)
    expected = postprocessed(work, work / "cpp/result_Files", work / "pre/meta", tmp_path / "ap2")
    assert found["AP"] == pytest.approx(expected["AP"], abs=1e-3)


def renamed(work, folder, names):
    """Copy the annotation file of work with other file names; returns the copy."""
    shutil.copy(work / "coco/annotations/instances_val2017.json", folder / "labels.json")
    edit(folder / "labels.json", lambda document: [row.update(file_name=name) for row, name in
                                                   zip(document["images"], names, strict=True)])
    return folder / "labels.json"


def test_postprocess_finds_the_annotations_of_images_that_were_counted(program, work, tmp_path, capsys):
    """The order of the names is not that of the ids in the annotation file."""
    (tmp_path / "in").mkdir()
    names = ["c.jpg", "a.jpg", "e.jpg", "b.jpg", "d.jpg"]
    for number, name in enumerate(names):
        shutil.copy(work / f"coco/val2017/{number:06d}.jpg", tmp_path / "in" / name)
    run(program, work, tmp_path / "in", tmp_path, warm_up=0, threads=1)
    index = json.loads((tmp_path / "meta/index.json").read_text())
    assert [row["file_name"] for row in index["images"]] == sorted(names)
    found = postprocessed(work, tmp_path / "result_Files", tmp_path / "meta", tmp_path / "ap",
                          renamed(work, tmp_path, names))
    assert "images are matched by file name (a.jpg: 1 here, 101 there)" in capsys.readouterr().out
    expected = postprocessed(work, work / "cpp/result_Files", work / "pre/meta", tmp_path / "ap2")
    assert found["AP"] == pytest.approx(expected["AP"], abs=1e-3)


@pytest.mark.slow
def test_the_next_images_are_prepared_while_the_model_runs(program, work, tmp_path):
    """Preparation takes a while for large JPEG files, so an overlap is more than noise."""
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), np.uint8)
    for number in range(30):
        cv2.imwrite(str(tmp_path / f"in/{number}.jpg"), noise)
    run(program, work, tmp_path / "in", tmp_path, threads=1)
    text = (tmp_path / "time_Result/test_perform_result.txt").read_text()
    stages = {name: float(value) for name, value in re.findall(r"^(\S+) +([\d.]+) ms an image", text, re.MULTILINE)}
    total = stages.pop("total")
    assert total < sum(stages.values())


@pytest.mark.slow
def test_a_uint8_model_gives_the_same_from_a_quarter_of_the_bytes(program, work, python20, tmp_path, monkeypatch):
    monkeypatch.setenv("MINDSPORE20_PYTHON", str(python20))
    config = ["--config_path", str(work / "tiny.yaml")]
    model = tmp_path / "raw.mindir"
    assert export_mindir_lite20.main([*config, "--export_load_ckpt", str(work / "net.ckpt"), "--input_res", "96", "128",
                                      "--export_batch_size", "2", "--export_input", "uint8", "--export_name",
                                      str(model)]) == 0
    assert preprocess.main([*config, "--model_path", str(model), "--val_data_dir", str(work / "coco"),
                            "--predict_dir", str(tmp_path / "pre")]) == 0
    expected = detections(work / "cpp/result_Files")
    for name, inputs in (("bin", tmp_path / "pre"), ("jpeg", work / "coco/val2017")):
        done = program(model_path=model, input_path=inputs, output_path=tmp_path / name, device_target="CPU")
        assert done.returncode == 0, done.stderr
        found = detections(tmp_path / name / "result_Files")
        for one, other in zip(sorted(found), sorted(expected)):
            assert largest_difference_of_detections(found[one], expected[other]) <= 1e-4
    assert "prepared for another model" in program.fails(2, model_path=model, input_path=work / "pre",
                                                         output_path=tmp_path / "x", device_target="CPU")


@pytest.mark.slow
@pytest.mark.parametrize("iou_score", [False, True])
def test_a_model_with_distances_runs_without_a_change(program, work, python20, tmp_path, monkeypatch, iou_score):
    monkeypatch.setenv("MINDSPORE20_PYTHON", str(python20))
    path = tiny_config(tmp_path, box_head="ltrb", iou_score=iou_score)
    tiny_checkpoint(tmp_path / "net.ckpt", read_config(path))
    flags = ["--config_path", str(path), "--export_load_ckpt", str(tmp_path / "net.ckpt"), "--input_res", "96", "128"]
    model = tmp_path / "model.mindir"
    assert export_mindir_lite20.main([*flags, "--export_batch_size", "2", "--export_name", str(model)]) == 0
    assert export.main([*flags, "--export_name", str(tmp_path / "new")]) == 0
    done = program(model_path=model, input_path=work / "pre", output_path=tmp_path, device_target="CPU")
    assert done.returncode == 0, done.stderr
    assert infer.main(["--config_path", str(path), "--model_path", str(tmp_path / "new.mindir"), "--predict_dir",
                       str(work / "pre"), "--result_path", str(tmp_path / "python_raw")]) == 0
    found = detections(tmp_path / "result_Files")
    assert len(found) == 5 and min(np.ptp(rows[..., 4]) for rows in found.values()) > 0.05
    assert_same(found, detections(tmp_path / "python_raw"))


def test_a_plain_folder_of_bin_files_keeps_the_names(program, work, tmp_path):
    run(program, work, work / "pre/00_data", tmp_path)
    assert_same(detections(tmp_path / "result_Files"), detections(work / "cpp/result_Files"))


def moved_taps(network):
    """Give the deformable layers, which start as regular grids, taps that move by cells and fractions of cells."""
    rng = np.random.default_rng(0)
    for parameter in network.get_parameters():
        if ".offset." in parameter.name:
            spread = 1.5 if parameter.name.endswith("bias") else 0.05
            parameter.set_data(ms.Tensor(rng.uniform(-spread, spread, parameter.shape).astype(np.float32)))


@pytest.mark.slow  # fast: tests/export/test_mindir.py compares the portable form with the framework's operator
@pytest.mark.parametrize("neck", ["deform", "shortcut_deform"])
def test_deformable_layers_run_in_portable_form(program, work, python20, tmp_path, monkeypatch, neck):
    path = tiny_config(tmp_path, neck=neck)
    config = read_config(path)
    network = tiny_network(config)
    moved_taps(network)
    save_checkpoint(tmp_path / "net.ckpt", network, model_record(config, CATEGORIES), {})
    monkeypatch.setenv("MINDSPORE20_PYTHON", str(python20))
    flags = ["--config_path", str(path), "--export_load_ckpt", str(tmp_path / "net.ckpt"), "--input_res", "96",
             "128", "--export_name", str(tmp_path / "model"), "--export_deform", "gather"]
    assert export_mindir_lite20.main(flags) == 0
    run(program, tmp_path, work / "pre", tmp_path / "cpp")
    detect = Detect(network, 20)
    detect.set_train(False)
    for name, found in detections(tmp_path / "cpp/result_Files").items():
        x = np.fromfile(work / "pre/00_data" / name.replace("_0", ""), "<f4").reshape(1, 3, 96, 128)
        expected = detect(ms.Tensor(x)).asnumpy()
        assert np.ptp(expected[..., 4]) > 0.05, "scores that differ, or nothing is compared"
        assert largest_difference_of_detections(found, expected) <= 1e-3, name


def listed(folder):
    return json.loads((folder / "detections.json").read_text())


def python_s(work, out, *flags):
    """What infer.py lists for the images of the C++ program, from the newer file of the same checkpoint."""
    assert infer.main(["--model_path", str(work / "new.mindir"), "--device_target", "CPU", "--image",
                       str(work / "coco/val2017"), "--save_result_dir", str(out), *flags]) == 0
    return listed(out)


def assert_same_json(found, expected):
    """Names, ids and boxes of every image; only the pictures are missing."""
    assert found["box_format"] == expected["box_format"] and found["score_thresh"] == expected["score_thresh"]
    assert [image["file"] for image in found["images"]] == [image["file"] for image in expected["images"]]
    for one, other in zip(found["images"], expected["images"]):
        del other["picture"]
        assert list(one) == list(other) and (one["width"], one["height"]) == (other["width"], other["height"])
        assert len(one["detections"]) == len(other["detections"]) > 0
        for row in other["detections"]:
            assert any(row["category"] == twin["category"] and row["category_id"] == twin["category_id"]
                       and abs(row["score"] - twin["score"]) <= 2e-3
                       and np.abs(np.subtract(row["box"], twin["box"])).max() <= 0.3 for twin in one["detections"])


def test_the_json_of_jpeg_files_is_that_of_infer(program, work, tmp_path):
    images = work / "coco/val2017"
    run(program, work, images, tmp_path, score_thresh=0.01)
    assert_same_json(listed(tmp_path), python_s(work, tmp_path / "python", "--score_thresh", "0.01"))
    run(program, work, images, tmp_path, score_thresh=1, nms="none")
    assert all(not image["detections"] for image in listed(tmp_path)["images"])


@pytest.mark.fault("an exported model with other test settings than the defaults (C++)",
                   "SOFT_NMS and score_thresh in its manifest",
                   "detections.json has the boxes of `infer`; a flag wins; an older manifest leaves the defaults")
def test_the_json_of_jpeg_files_has_the_settings_of_the_export(program, copy, edit_manifest, tmp_path):
    images, own = copy / "coco/val2017", {"SOFT_NMS": False, "max_dets": 300, "score_thresh": 0.02}
    for model in ("model.mindir", "new.mindir"):
        edit_manifest(copy / model, lambda values: values.update(evaluation=own))
    run(program, copy, images, tmp_path)
    plain = listed(tmp_path)
    assert_same_json(plain, python_s(copy, tmp_path / "python"))
    run(program, copy, images, tmp_path, nms="gaussian", score_thresh=0.01)
    merged = listed(tmp_path)
    assert_same_json(merged, python_s(copy, tmp_path / "python2", "--nms", "gaussian", "--score_thresh", "0.01"))
    assert merged["score_thresh"] == 0.01 and merged["images"] != plain["images"]
    edit_manifest(copy / "model.mindir", lambda values: values.pop("evaluation"))
    run(program, copy, images, tmp_path)
    older = listed(tmp_path)
    run(program, copy, images, tmp_path, nms="gaussian", score_thresh=0.3)
    assert older["score_thresh"] == 0.3 and older["images"] == listed(tmp_path)["images"]
