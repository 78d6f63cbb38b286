"""Manifest: the JSON file beside an exported model that describes its input and its output.

Python and C++ programs read sizes, normalisation and categories from the manifest and have no constants for them. The
manifest holds the SHA-256 of its model file.
"""
from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from centernet.categories import Categories, categories_from_json
from centernet.config.schema import Config, EvalConfig
from centernet.config.sections import MAPS
from centernet.documents import parse_object
from centernet.errors import UserError
from centernet.files import read_json, sha256, write_json
from centernet.json_value import JsonValue
from centernet.model_files import require_exported
from centernet.program import command, program
from centernet.runtimes.manifest_steps import steps_of
from centernet.runtimes.onnx_session import read_metadata
from centernet.spec import ModelSpec, warn_of_statistics

LOG = logging.getLogger("centernet")

FORMAT_VERSION = 1
# The limits of the C++ program. A larger number means a damaged manifest.
MAX_SIDE = 16384     # pixels of a side
MAX_BATCH = 4096
MAX_NUMBER = 1 << 53  # of a count; JSON numbers are exact up to here
MAX_BYTES = 1 << 22  # of the file: enough for a manifest with 40,000 categories
REMEDY = "export again"
AFTER_THE_GRAPH = ("SOFT_NMS", "max_dets", "score_thresh")  # of eval_config: what programs do with its detections


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
        evaluation: the test settings that follow the graph (those of AFTER_THE_GRAPH); {} in old manifests.
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
    evaluation: dict[str, Any] = field(default_factory=dict)

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
        "box_head": manifest.box_head, "evaluation": manifest.evaluation,
        "steps": steps_of(spec, manifest.input_shape[0], "" if manifest.decode else manifest.box_head, manifest.K,
                          manifest.cat_spec_wh),
    }


def publish(partial: Path, manifest: Manifest, target: Path) -> None:
    """Move a complete model file to its path and write its manifest with the file's SHA-256."""
    partial.chmod(0o644)
    sealed = replace(manifest, sha256=sha256(partial))
    # Between these two steps, a reader sees a SHA-256 that does not match, but never accepts a wrong manifest.
    os.replace(partial, target)
    if target.suffix == ".onnx":  # NAME.mindir has no report, and the one of NAME.onnx still holds
        layer_report(target).unlink(missing_ok=True)  # of an earlier model
    write_manifest(sealed, manifest_path(target))


def layer_report(target: Path) -> Path:
    """Return the path of the file beside an 8-bit model, which is a .onnx, with the errors of its layers."""
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
    require_exported(model, subject)
    if model.suffix == ".ckpt":
        raise UserError(f"{subject} {model} is a checkpoint, but an exported model is needed. Run `{command('export')} "
                        f"--export_load_ckpt {model} --export_name {model.with_suffix('')}`")
    if not path.exists() and model.suffix == ".onnx" and (metadata := read_metadata(model)).get("format_version"):
        LOG.warning("%s: %s is missing; the file's own metadata are used, and its SHA-256 is not checked", model,
                    path.name)
        parts = [f"{json.dumps(key)}: {text}" for key, text in metadata.items()]
        values = parse_object("{" + ", ".join(parts) + "}", f"{model}: its metadata", "export again")
        return _from_json(_this_version({**values, "sha256": ""}, path), path)
    if not path.exists():
        raise UserError(f"{path}: the manifest of {model.name} is missing. {program('export')} writes it beside the "
                        "model: copy it, too, or export again")
    manifest = _from_json(_this_version(read_json(path, remedy="Export again", most=MAX_BYTES), path), path)
    found = sha256(model)
    if found != manifest.sha256:
        raise UserError(f"{model} is not the file that was exported: its SHA-256 is {found[:12]}..., but {path} says "
                        f"{manifest.sha256[:12]}...: copy both files again, or export again")
    return manifest


def exported_settings(manifest: Manifest, config: Config) -> EvalConfig:
    """Return the test settings of an exported model: those that config names itself, otherwise those of its export."""
    wanted = config.eval_config
    own: dict[str, Any] = {"K": manifest.K, **manifest.evaluation}
    settings = replace(wanted, keep_res=False, flip_test=manifest.flip_test,
                       **{name: value for name, value in own.items() if f"eval_config.{name}" not in config.named})
    warn_of_statistics(manifest.spec, config.dataset_config, config.named, "the model")
    if settings.K > manifest.K:
        LOG.warning("note: the model gives at most %d boxes for an image, eval_config.K of its export: --eval_config.K "
                    "%d has no further effect. Export it again with this K", manifest.K, settings.K)
    return settings


def _this_version(values: dict[str, Any], path: Path) -> dict[str, Any]:
    version = values.get("format_version")
    if isinstance(version, bool) or version != FORMAT_VERSION:
        raise UserError(f"{path}: format_version is {version!r}, this program reads {FORMAT_VERSION}: export the "
                        "checkpoint again with this version")
    return values


def _from_json(values: dict[str, Any], path: Path) -> Manifest:
    """Check the values. The C++ program has the same rules (manifest.cc); tests/data/manifest_cases.json tests both."""
    root = JsonValue(values, str(path), REMEDY)
    source = root["input"]
    raw = source["dtype"].text(("float32", "uint8")) == "uint8"
    source["layout"].text(("NHWC" if raw else "NCHW",))
    color_order = source["color_order"].text(("BGR",) if raw else ("BGR", "RGB"))
    first, *axes = source["shape"].items(4)
    # A model with any batch size runs in onnxruntime; the C++ program, which has no onnxruntime, wants 1 or more.
    batch = first.whole(0, MAX_BATCH)
    height, width = [axis.whole(1, MAX_SIDE) for axis in (axes[:2] if raw else axes[1:])]
    axes[2 if raw else 0].whole(3, 3)
    decode, detections = root["decode"].boolean(), root["K"].whole(1, MAX_SIDE**2)
    spec = ModelSpec(_categories(root["categories"]), _three(root["mean"], False),
                     _three(root["std"], True), root["color_order"].text(("BGR", "RGB")) if raw else color_order,
                     root["down_ratio"].whole(1, MAX_SIDE), (height, width), raw)
    return Manifest(
        input_name=source["name"].text(),
        input_shape=(batch, height, width, 3) if raw else (batch, 3, height, width), spec=spec, K=detections,
        decode=decode,
        cat_spec_wh=root["cat_spec_wh"].boolean(), flip_test=root["flip_test"].boolean(),
        outputs=_outputs(root["outputs"], decode, (batch, detections, 6)),
        preset=root["preset"].text(), sha256=root["sha256"].text(),
        versions=_versions(root["versions"]),
        deform=_text(root, "deform", ""), precision=_text(root, "precision", "fp32"),
        calibration_method=_text(root, "calibration_method", ""),
        calibration_images=images.whole(0, MAX_NUMBER) if (images := root.get("calibration_images")) else 0,
        box_head=_text(root, "box_head", "wh_reg", tuple(MAPS)), evaluation=_evaluation(root.get("evaluation")))


def _evaluation(settings: JsonValue | None) -> dict[str, Any]:
    if settings is None or not list(settings.pairs()):
        return {}
    return {"SOFT_NMS": settings["SOFT_NMS"].boolean(), "max_dets": settings["max_dets"].whole(1, MAX_SIDE**2),
            "score_thresh": settings["score_thresh"].number()}


def _categories(rows: JsonValue) -> Categories:
    for row in rows.items():
        row["id"].whole()
        row["name"].text()
    return categories_from_json(rows.value, rows.source)


def _outputs(rows: JsonValue, decode: bool,
             detections: tuple[int, int, int]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return names and shapes: one output with detections, or two or three maps (B, C, H, W)."""
    found = []
    for row in rows.items(1) if decode else rows.items(2, 3):
        sizes = row["shape"].items(3 if decode else 4)
        # The second size of a map is its channels: there can be more categories than a side has pixels.
        limits = [(size, size) for size in detections] if decode else [
            (detections[0],) * 2, (1, MAX_SIDE ** 2), *[(1, MAX_SIDE)] * 2]
        found.append((row["name"].text(), tuple(size.whole(*limit) for size, limit in zip(sizes, limits))))
    return tuple(found)


def _versions(values: JsonValue) -> dict[str, str]:
    values["mindspore"].text()
    return {name: version.text() for name, version in values.pairs()}


def _text(root: JsonValue, key: str, default: str, choices: tuple[str, ...] = ()) -> str:
    """Return the text of a key that older manifests do not have."""
    value = root.get(key)
    return default if value is None else value.text(choices)


def _three(values: JsonValue, positive: bool) -> tuple[float, float, float]:
    first, second, third = (value.positive() if positive else value.number() for value in values.items(3))
    return first, second, third
