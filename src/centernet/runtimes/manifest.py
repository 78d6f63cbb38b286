"""Manifest: the JSON file beside an exported model that describes its input and its output.

Python and C++ programs read sizes, normalisation and categories from the manifest and have no constants for them. The
manifest holds the SHA-256 of its model file.
"""
from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from centernet.categories import categories_from_json
from centernet.config.sections import MAPS
from centernet.embedded_json import parse_object
from centernet.errors import UserError
from centernet.files import read_json, sha256, write_json
from centernet.runtimes.onnx_session import read_metadata
from centernet.spec import ModelSpec

LOG = logging.getLogger("centernet")

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """The interface of an exported model.

    Attributes:
        input_name: name of the only input.
        input_shape: (B, 3, H, W), fixed in the graph; (B, H, W, 3) for uint8. B is 0, here and in outputs, if any
            batch size is allowed.
        spec: normalisation, colour order, categories; its input_size is input_shape's height and width.
        K: detections per image.
        decode: the graph decodes. If true, output "detections" (B, K, 6) holds x1, y1, x2, y2 in output cells,
            score, class. If false, the outputs are the raw maps: hm, wh and (with net_config.reg_offset) reg, or hm
            and ltrb.
        cat_spec_wh: wh has two channels for each category.
        flip_test: the graph averages the maps of the image and of the mirrored image.
        outputs: name and shape of each output, in order.
        preset: preset that the network was built from; "" for the defaults.
        sha256: SHA-256 of the model file.
        versions: versions of the packages that wrote the model.
        deform: form of the deformable layers in the graph: "native" (the framework's operator), "gather" (common
            operators) or "none"; "" in old manifests without this key.
        precision: "fp32", "fp16" or "int8": number format inside the graph. Inputs and outputs do not depend on it.
        calibration_method, calibration_images: for int8, the method that measured the ranges of activations, and its
            number of images; "" and 0 otherwise.
        box_head: net_config.box_head, "wh_reg" or "ltrb"; "wh_reg" in old manifests without this key.
    """

    input_name: str
    input_shape: tuple[int, int, int, int]
    spec: ModelSpec
    K: int
    decode: bool
    cat_spec_wh: bool
    flip_test: bool
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    preset: str
    sha256: str
    versions: dict[str, str]
    deform: str
    precision: str = "fp32"
    calibration_method: str = ""
    calibration_images: int = 0
    box_head: str = "wh_reg"

    @property
    def input_dtype(self) -> str:
        """Return "float32" (normalised, in spec.color_order), or "uint8" (BGR images; the graph normalises them)."""
        return "uint8" if self.spec.raw else "float32"

    @property
    def layout(self) -> str:
        """Return the order of the input's axes: NCHW or NHWC."""
        return "NHWC" if self.spec.raw else "NCHW"

    @property
    def input_color_order(self) -> str:
        """Return the order of the input's channels. A uint8 input is BGR for every network."""
        return "BGR" if self.spec.raw else self.spec.color_order

    def with_uint8_input(self) -> Manifest:
        """Return the manifest of the same model with normalisation in its graph (or in AIPP)."""
        height, width = self.spec.input_size
        return replace(self, input_shape=(self.input_shape[0], height, width, 3),
                       spec=replace(self.spec, raw=True))


def manifest_path(model_path: Path) -> Path:
    """Return NAME.json for NAME.mindir, NAME.onnx.json for NAME.onnx: a NAME may have both formats."""
    if model_path.suffix == ".mindir":
        return model_path.with_suffix(".json")
    return model_path.with_name(f"{model_path.name}.json")


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest completely or not at all. Raise UserError if it cannot be written."""
    write_json(path, _to_json(manifest), indent=1)


def metadata_of(manifest: Manifest) -> dict[str, str]:
    """Return the manifest as a .onnx file holds it: each key with its value as JSON, without the SHA-256."""
    return {key: json.dumps(value, ensure_ascii=False) for key, value in _to_json(manifest).items() if key != "sha256"}


def _to_json(manifest: Manifest) -> dict[str, Any]:
    spec = manifest.spec
    return {
        "format_version": FORMAT_VERSION,
        "input": {"name": manifest.input_name, "shape": manifest.input_shape, "dtype": manifest.input_dtype,
                  "layout": manifest.layout, "color_order": manifest.input_color_order},
        "color_order": spec.color_order,  # of mean and std
        "mean": spec.mean, "std": spec.std, "down_ratio": spec.down_ratio, "K": manifest.K,
        "decode": manifest.decode, "cat_spec_wh": manifest.cat_spec_wh, "flip_test": manifest.flip_test,
        "outputs": [{"name": name, "shape": shape} for name, shape in manifest.outputs],
        "categories": spec.categories.to_json(), "preset": manifest.preset, "sha256": manifest.sha256,
        "versions": manifest.versions, "deform": manifest.deform, "precision": manifest.precision,
        "calibration_method": manifest.calibration_method, "calibration_images": manifest.calibration_images,
        "box_head": manifest.box_head,
    }


def publish(partial: Path, manifest: Manifest, target: Path) -> None:
    """Move a complete model file to its path and write its manifest with the file's SHA-256."""
    partial.chmod(0o644)
    sealed = replace(manifest, sha256=sha256(partial))
    # Between these two steps, a reader sees a SHA-256 that does not match, but never accepts a wrong manifest.
    os.replace(partial, target)
    layer_report(target).unlink(missing_ok=True)  # the report of an earlier model
    write_manifest(sealed, manifest_path(target))


def layer_report(target: Path) -> Path:
    """Return the path of the file beside an 8-bit model with the errors of its layers."""
    return target.with_suffix(".layers.json")


def read_manifest(model_path: str | Path, subject: str = "--model_path") -> Manifest:
    """Read the manifest of an exported model and check that it belongs to the model file.

    Args:
        model_path: the model file.
        subject: name of this argument in messages.

    Raises:
        UserError: the model or the manifest is missing (a .onnx has its values in its metadata, too), the manifest is
            damaged or has another format version, or the manifest belongs to another model file.
    """
    model = Path(model_path)
    path = manifest_path(model)
    if not model.is_file():
        raise UserError(f"{subject} {model}: there is no such file. export.py writes NAME.mindir and NAME.json, or "
                        "NAME.onnx and NAME.onnx.json")
    if model.suffix == ".ckpt":
        raise UserError(f"{subject} {model} is a checkpoint, but an exported model is needed. Run export.py "
                        f"--export_load_ckpt {model} --export_name {model.with_suffix('')}")
    if not path.exists() and model.suffix == ".onnx" and (metadata := read_metadata(model)).get("format_version"):
        LOG.warning("%s: %s is missing; the file's own metadata are used, and its SHA-256 is not checked", model,
                    path.name)
        parts = [f"{json.dumps(key)}: {text}" for key, text in metadata.items()]
        values = parse_object("{" + ", ".join(parts) + "}", f"{model}: its metadata", "export again")
        return _from_json(_this_version({**values, "sha256": ""}, path), path)
    if not path.exists():
        raise UserError(f"{path}: the manifest of {model.name} is missing. export.py writes it beside the model: copy "
                        "it, too, or export again")
    manifest = _from_json(_this_version(read_json(path, remedy="Export again"), path), path)
    found = sha256(model)
    if found != manifest.sha256:
        raise UserError(f"{model} is not the file that was exported: its SHA-256 is {found[:12]}..., but {path} says "
                        f"{manifest.sha256[:12]}...: copy both files again, or export again")
    return manifest


def _this_version(values: dict[str, Any], path: Path) -> dict[str, Any]:
    version = values.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: format_version is {version!r}, this program reads {FORMAT_VERSION}: export the "
                        "checkpoint again with the export.py of this version")
    return values


def _from_json(values: dict[str, Any], path: Path) -> Manifest:
    try:
        source = values["input"]
        first, second, third, fourth = (int(size) for size in source["shape"])
        dtype = str(source["dtype"])
        if dtype not in ("float32", "uint8"):
            raise ValueError(f"the input's dtype must be float32 or uint8, found {dtype!r}")
        raw = dtype == "uint8"
        if raw and source["color_order"] != "BGR":
            raise ValueError(f"uint8 images must be BGR, found {source['color_order']!r}")
        return Manifest(
            input_name=str(source["name"]), input_shape=(first, second, third, fourth),
            spec=ModelSpec(categories_from_json(values["categories"], str(path)), _three(values["mean"]),
                           _three(values["std"]), str((values if raw else source)["color_order"]),
                           int(values["down_ratio"]), (second, third) if raw else (third, fourth), raw),
            K=int(values["K"]), decode=_boolean(values["decode"]), cat_spec_wh=_boolean(values["cat_spec_wh"]),
            flip_test=_boolean(values["flip_test"]),
            outputs=tuple((str(row["name"]), tuple(int(size) for size in row["shape"])) for row in values["outputs"]),
            preset=str(values["preset"]),
            sha256=str(values["sha256"]), versions={str(k): str(v) for k, v in values["versions"].items()},
            deform=str(values.get("deform", "")), precision=str(values.get("precision", "fp32")),
            calibration_method=str(values.get("calibration_method", "")),
            calibration_images=int(values.get("calibration_images", 0)),
            box_head=_known_head(values.get("box_head", "wh_reg")))
    except KeyError as error:
        raise UserError(f"{path}: the key {error} is missing: export again") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: a value is not of the expected form ({error}): export again") from error


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false expected, found {value!r}")
    return value


def _known_head(value: Any) -> str:
    if value not in MAPS:
        raise ValueError(f"box_head must be {' or '.join(MAPS)}, found {value!r}")
    return str(value)


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
