"""The JSON file beside an exported model: what a program needs to feed it and to read its output.

Python and C++ take sizes, normalisation and categories from here, never from
constants of their own. A manifest belongs to its model by the SHA-256 of the model's bytes.
"""
from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from centernet.categories import Categories, categories_from_json
from centernet.errors import UserError

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """An exported model's interface.

    Attributes:
        input_name: name of the only input.
        input_shape: (B, 3, H, W), fixed in the graph; B is 0, here and in outputs, if any number of images goes.
        input_dtype: "float32".
        color_order: "BGR" or "RGB"; channels of the input, of mean and of std.
        mean, std: of pixels / 255; the input is (pixel / 255 - mean) / std.
        down_ratio: input pixels per output-map cell.
        K: detections of an image.
        decode: whether the graph decodes. If so, output "detections" (B, K, 6) holds x1, y1, x2, y2 in
            output-map cells, score, class. If not, the outputs are the raw hm, wh and (mostly) reg.
        cat_spec_wh: whether wh has two channels for each category.
        flip_test: whether the graph averages with the mirrored image.
        outputs: name and shape of each output, in order.
        categories: names and COCO ids; the class of a detection is a position in them.
        preset: configuration overlay that the network was built from; "" for the defaults.
        sha256: of the model file.
        versions: packages that wrote the model.
        deform: "native" (the framework's operator), "gather" (portable operators) or "none": the form of the
            deformable layers in the graph; "" in manifests written before there was a choice.
        precision: "fp32", "fp16" or "int8": the numbers inside; inputs and outputs are float32 always.
        calibration_method, calibration_images: of int8, how the ranges of activations were found, and on how many
            images; "" and 0 otherwise.
    """

    input_name: str
    input_shape: tuple[int, int, int, int]
    input_dtype: str
    color_order: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    down_ratio: int
    K: int
    decode: bool
    cat_spec_wh: bool
    flip_test: bool
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    categories: Categories
    preset: str
    sha256: str
    versions: dict[str, str]
    deform: str
    precision: str = "fp32"
    calibration_method: str = ""
    calibration_images: int = 0


def manifest_path(model_path: Path) -> Path:
    """NAME.json beside NAME.mindir; NAME.onnx.json beside NAME.onnx, as a NAME may have both formats."""
    if model_path.suffix == ".mindir":
        return model_path.with_suffix(".json")
    return model_path.with_name(f"{model_path.name}.json")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest atomically: readers see the old file or the whole new one."""
    values = {
        "format_version": FORMAT_VERSION,
        "input": {"name": manifest.input_name, "shape": manifest.input_shape, "dtype": manifest.input_dtype,
                  "layout": "NCHW", "color_order": manifest.color_order},
        "mean": manifest.mean, "std": manifest.std, "down_ratio": manifest.down_ratio, "K": manifest.K,
        "decode": manifest.decode, "cat_spec_wh": manifest.cat_spec_wh, "flip_test": manifest.flip_test,
        "outputs": [{"name": name, "shape": shape} for name, shape in manifest.outputs],
        "categories": manifest.categories.to_json(), "preset": manifest.preset, "sha256": manifest.sha256,
        "versions": manifest.versions, "deform": manifest.deform, "precision": manifest.precision,
        "calibration_method": manifest.calibration_method, "calibration_images": manifest.calibration_images,
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def read_manifest(model_path: str | Path) -> Manifest:
    """Read the manifest of an exported model and check that it belongs to the model file.

    Raises:
        UserError: model or manifest missing, manifest damaged or of another format
            version, or the model file is not the one that was exported.
    """
    model = Path(model_path)
    path = manifest_path(model)
    if not model.is_file():
        raise UserError(f"--model_path {model}: there is no such file. export.py writes NAME.mindir and NAME.json, or "
                        "NAME.onnx and NAME.onnx.json")
    if model.suffix == ".ckpt":
        raise UserError(f"--model_path {model} is a checkpoint, an exported model is needed: export.py "
                        f"--export_load_ckpt {model} --export_name {model.with_suffix('')} makes one")
    values = _read_json(path, model)
    version = values.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: format_version is {version!r}, this program reads {FORMAT_VERSION}: export the "
                        "checkpoint again with the export.py of this version")
    manifest = _from_json(values, path)
    found = file_sha256(model)
    if found != manifest.sha256:
        raise UserError(f"{model} is not the file that was exported: its SHA-256 is {found[:12]}..., {path} says "
                        f"{manifest.sha256[:12]}...: copy both files again, or export again")
    return manifest


def _read_json(path: Path, model: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: the manifest of {model.name} is missing; it is written beside the model by "
                        "export.py: copy it too, or export again") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # includes UnicodeDecodeError and JSONDecodeError
        raise UserError(f"{path} is not valid JSON ({error}): export again") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a manifest: a JSON object is expected. Export again")
    return values


def _from_json(values: dict[str, Any], path: Path) -> Manifest:
    try:
        source = values["input"]
        batch, channels, height, width = (int(size) for size in source["shape"])
        return Manifest(
            input_name=str(source["name"]), input_shape=(batch, channels, height, width),
            input_dtype=str(source["dtype"]), color_order=_color_order(source["color_order"]),
            mean=_three(values["mean"]), std=_three(values["std"]), down_ratio=int(values["down_ratio"]),
            K=int(values["K"]), decode=_boolean(values["decode"]), cat_spec_wh=_boolean(values["cat_spec_wh"]),
            flip_test=_boolean(values["flip_test"]),
            outputs=tuple((str(row["name"]), tuple(int(size) for size in row["shape"])) for row in values["outputs"]),
            categories=categories_from_json(values["categories"], str(path)), preset=str(values["preset"]),
            sha256=str(values["sha256"]), versions={str(k): str(v) for k, v in values["versions"].items()},
            deform=str(values.get("deform", "")), precision=str(values.get("precision", "fp32")),
            calibration_method=str(values.get("calibration_method", "")),
            calibration_images=int(values.get("calibration_images", 0)))
    except KeyError as error:
        raise UserError(f"{path}: the key {error} is missing: export again") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: a value is not of the expected form ({error}): export again") from error


def _color_order(value: Any) -> str:
    if value not in ("BGR", "RGB"):
        raise ValueError(f"color_order must be BGR or RGB, found {value!r}")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false expected, found {value!r}")
    return value


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
