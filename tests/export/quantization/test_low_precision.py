"""Exports in float16 and 8 bits from the command line: files, manifests, the gate, and what is said when it fails."""
import json
import sys
from types import SimpleNamespace

import pytest
from tiny_coco import make_coco
from tiny_model import read_config, tiny_checkpoint, tiny_config

from centernet.cli import export
from centernet.config.load import load_config
from centernet.data.coco import read_evaluated
from centernet.errors import UserError
from centernet.evaluation import dataset
from centernet.runtimes.exported import ExportedBackend
from centernet.runtimes.manifest import read_manifest

onnx = pytest.importorskip("onnx", reason="onnx is not installed (requirements-onnx.txt)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (requirements-onnx.txt)")

from centernet.export.quantization import low_precision, side_by_side  # noqa: E402


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A checkpoint, its preset and a data set."""
    folder = tmp_path_factory.mktemp("work")
    tiny_checkpoint(folder / "tiny.ckpt", read_config(tiny_config(folder)))
    make_coco(folder / "coco", 4, split="val")
    return folder


def run(work, target, *flags):
    return export.main(["--config_path", str(work / "tiny.yaml"), "--export_load_ckpt", str(work / "tiny.ckpt"),
                        "--export_format", "ONNX", "--export_decode", "false", "--export_name", str(target), *flags])


def int8_flags(work):
    return "--precision", "int8", "--calibration_data", str(work / "coco/val2017"), "--calibration_images", "2"


def test_int8_with_its_manifest_report_and_gate(work, tmp_path, capsys, monkeypatch):
    real = low_precision.evaluate_exported  # it runs, but the AP of weights without training is 0
    monkeypatch.setattr(low_precision, "evaluate_exported", lambda *args: SimpleNamespace(AP=real(*args).AP + 0.1))
    monkeypatch.setattr(low_precision, "saturation_loss", lambda *_: 2.5)
    assert run(work, tmp_path / "m", *int8_flags(work), "--max_ap_drop", "1", "--data_dir", str(work / "coco")) == 0
    manifest = read_manifest(tmp_path / "m.onnx")
    assert (manifest.precision, manifest.calibration_method, manifest.calibration_images) == ("int8", "minmax", 2)
    assert [name for name, _ in manifest.outputs] == ["hm", "wh", "reg"]
    layers = json.loads((tmp_path / "m.layers.json").read_text())
    assert {row["form"] for row in layers} == {"int8", "float"} and layers[0]["layer"] == "backbone.conv1"
    printed = capsys.readouterr().out
    assert "AP of int8: " in printed and "SQNR dB" in printed
    assert "the error of a layer is 2.5 dB larger than with exact sums" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.layers.json", "m.onnx", "m.onnx.json"]


def test_fp16_with_its_manifest_and_the_table(work, tmp_path, capsys):
    (tmp_path / "fp32.layers.json").write_text("of an 8-bit model that had this name")
    assert run(work, tmp_path / "fp32", "--export_batch_size", "0") == 0
    assert not (tmp_path / "fp32.layers.json").exists()
    assert run(work, tmp_path / "fp16", "--export_batch_size", "0", "--precision", "fp16") == 0
    assert read_manifest(tmp_path / "fp16.onnx").precision == "fp16"
    assert "max error of the float32 model, before its conversion to fp16, against the" in capsys.readouterr().out
    paths = [str(tmp_path / f"{name}.onnx") for name in ("fp32", "fp16")]
    capsys.readouterr()
    assert side_by_side.main([*paths, "--data_dir", str(work / "coco"), "--repeats", "1", "--batch_size", "3",
                              "--output", str(tmp_path / "rows.json")]) == 0
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split()[:2] for line in lines] == [["model", "precision"], ["fp32.onnx", "fp32"],
                                                    ["fp16.onnx", "fp16"]]
    full, half = json.loads((tmp_path / "rows.json").read_text())
    assert half["megabytes"] < 0.6 * full["megabytes"] and half["AP"] == pytest.approx(full["AP"], abs=0.05)
    assert half["milliseconds"] > 0


@pytest.mark.parametrize("flag", ["data_dir", "annotation_file", "image_dir", "output"])
def test_an_empty_flag_of_the_table(flag, capsys):
    assert side_by_side.main(["m.onnx", f"--{flag}", ""]) == 2
    assert f"--{flag} is empty: give a value, or leave the flag out" in capsys.readouterr().err


def test_a_drop_of_ap_leaves_nothing(work, tmp_path, monkeypatch, capsys):
    figures = iter([0.4, 0.39])
    monkeypatch.setattr(low_precision, "evaluate_exported", lambda *_: type("Metrics", (), {"AP": next(figures)}))
    flags = ("--precision", "fp16", "--data_dir", str(work / "coco"), "--max_ap_drop")
    assert run(work, tmp_path / "m", *flags, "0.005") == 2
    assert "AP drops by 0.0100, from 0.4000 to 0.3900; nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    figures = iter([0.4, 0.396])
    monkeypatch.setattr(low_precision, "ExportedBackend", str)
    low_precision.require_ap(tmp_path / "fp32.onnx", tmp_path / "m.onnx", None, read_config(
        work / "tiny.yaml", *flags, "0.005", "--export_format", "ONNX"))


@pytest.mark.parametrize("figure", [0.0, -1.0])
def test_a_gate_without_an_ap_to_compare_leaves_nothing(work, tmp_path, monkeypatch, capsys, figure):
    monkeypatch.setattr(low_precision, "evaluate_exported", lambda *_: type("Metrics", (), {"AP": figure}))
    assert run(work, tmp_path / "m", "--precision", "fp16", "--data_dir", str(work / "coco"), "--max_ap_drop", "1") == 2
    assert f"the model has AP {figure:.4f} before its precision is reduced" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_table_uses_the_test_settings_of_each_model(work, tmp_path, monkeypatch):
    assert run(work, tmp_path / "m", "--eval_config.SOFT_NMS", "false", "--eval_config.K", "7") == 0

    def stop(detector, *_):
        raise UserError(f"{detector.settings.SOFT_NMS} {detector.settings.K}")
    monkeypatch.setattr(dataset, "detect_dataset", stop)
    with pytest.raises(UserError, match="False 7"):
        dataset.evaluate_exported(ExportedBackend(tmp_path / "m.onnx"), read_evaluated(
            str(work / "coco"), "val", "", "", strict=False), load_config("eval", [], ""))


@pytest.mark.parametrize("flags, words", [
    (["--precision", "int8", "--calibration_data", "EMPTY"], "there is no image (.jpg, "),
    (["--precision", "int8", "--calibration_data", "EMPTY/nowhere"], "there is no such folder"),
    (["--precision", "int8"], "precision int8 and calibration_data go together"),
    (["--calibration_data", "EMPTY"], "precision int8 and calibration_data go together"),
    (["--precision", "fp16", "--max_ap_drop", "0.01"], "max_ap_drop compares fp16 or int8 with fp32 on annotated"),
    (["--export_format", "MINDIR", "--max_ap_drop", "0.01"], "only ONNX files have these precisions: set"),
    (["--export_format", "MINDIR", "--precision", "int8", "--max_ap_drop", "0.01"],
     "only ONNX files have these precisions: set --export_format ONNX"),
    (["--precision", "fp16", "--max_ap_drop", "5"], "max_ap_drop must be between 0 and 1"),
    (["--precision", "fp16", "--export_format", "MINDIR"], "precision fp16 is for ONNX: set --export_format ONNX"),
    (["--precision", "int4"], "precision must be one of fp32, fp16, int8; found 'int4'"),
])
def test_mistakes_are_explained(work, tmp_path, flags, words, capsys):
    (tmp_path / "empty").mkdir()
    flags = [flag.replace("EMPTY", str(tmp_path / "empty")) for flag in flags]
    assert run(work, tmp_path / "m", *flags) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_missing_onnxruntime_is_named(work, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert run(work, tmp_path / "m", "--precision", "fp16") == 2
    assert "needs the package onnxruntime" in capsys.readouterr().err


def test_calibration_images_are_picked_evenly(tmp_path, work):
    for number in range(10):
        (tmp_path / f"{number}.jpg").touch()
    (tmp_path / "notes.txt").touch()
    config = read_config(work / "tiny.yaml", "--export_format", "ONNX", "--precision", "int8", "--calibration_data",
                         str(tmp_path), "--calibration_images", "3")
    assert [path.name for path in low_precision.find_calibration_images(config)] == ["0.jpg", "3.jpg", "6.jpg"]


def test_calibration_images_of_an_imported_folder_are_behind_its_link(tmp_path, work):
    (tmp_path / "voc/JPEGImages").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/images").symlink_to(tmp_path / "voc")
    for number in range(3):
        (tmp_path / f"voc/JPEGImages/{number}.jpg").touch()
    config = read_config(work / "tiny.yaml", "--export_format", "ONNX", "--precision", "int8", "--calibration_data",
                         str(tmp_path / "data"), "--calibration_images", "3")
    assert [path.name for path in low_precision.find_calibration_images(config)] == ["0.jpg", "1.jpg", "2.jpg"]
    (tmp_path / "voc/SegmentationClass").mkdir()
    (tmp_path / "voc/SegmentationClass/0.png").touch()
    with pytest.raises(UserError, match="several of its subfolders have images: .*JPEGImages, .*SegmentationClass"):
        low_precision.find_calibration_images(config)
