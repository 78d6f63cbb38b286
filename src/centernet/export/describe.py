"""Path and manifest of an exported model, from the settings."""
from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

import mindspore as ms

from centernet.categories import categories_from_names
from centernet.config.schema import Config
from centernet.errors import UserError
from centernet.runtimes.manifest import AFTER_THE_GRAPH, Manifest
from centernet.runtimes.onnx_session import package_versions
from centernet.runtimes.sizes import map_size, require_cells
from centernet.spec import configured_spec
from centernet.weights.checkpoint import ModelRecord

LOG = logging.getLogger("centernet")

SUFFIXES = {"MINDIR": ".mindir", "ONNX": ".onnx"}
FOREIGN = (".json", ".air", ".om", ".ms", ".ckpt", ".pth")  # of files that export.py does not write, or not as a model


def target_path(export_name: str, export_format: str) -> Path:
    """Return the path of the file for --export_name, with or without the format's suffix and a folder.

    Raises:
        UserError: the name is a folder, or has the suffix of another format or kind of file.
    """
    suffix = SUFFIXES[export_format]
    name = export_name.removesuffix(suffix)
    if not name or name.endswith(("/", os.sep)) or Path(f"{name}{suffix}").is_dir():
        raise UserError(f"--export_name {export_name!r} must name a file (with or without {suffix}), not a folder")
    if name.endswith(tuple(SUFFIXES.values())):
        raise UserError(f"--export_name {export_name!r} does not have the suffix of --export_format {export_format}: "
                        "change one of them")
    if name.lower().endswith(FOREIGN):
        raise UserError(f"--export_name {export_name!r}: the file of --export_format {export_format} is a {suffix}, "
                        f"not a {Path(name).suffix}: leave the suffix out. --export_format is {' or '.join(SUFFIXES)}")
    return Path(f"{name}{suffix}")


def describe(config: Config, record: ModelRecord | None) -> Manifest:
    """Return the manifest for the settings, without outputs and SHA-256, which export_model adds.

    Normalisation and categories come from the checkpoint's record; without a record from dataset_config.

    Raises:
        UserError: there are fewer output cells than K, flip_test is set without decoding, the graph cannot have a free
            batch size, or packages for ONNX are missing.
    """
    data, net, evaluation = config.dataset_config, config.net_config, config.eval_config
    if record is None:
        LOG.warning("warning: %s has no record of its categories and normalisation: those of dataset_config are used",
                    config.export_load_ckpt)
    if config.export_deform == "gather" and not net.deformable:
        LOG.info("--export_deform gather has no effect: the network has no deformable layers (net_config.neck %s)",
                 net.neck)
    spec = record.spec if record else configured_spec(data, net, categories_from_names(data.coco_classes))
    onnx = config.export_format == "ONNX"
    height, width = config.input_res or data.input_res_test
    require_cells(height, width, evaluation.K)
    deform = config.export_deform if net.deformable else "none"
    _require_batch(config, deform)
    if evaluation.flip_test and not config.export_decode:
        raise UserError("eval_config.flip_test averages maps in the graph before decoding: it needs "
                        "--export_decode true")
    if height % 32 or width % 32:
        rows, columns = map_size(height, width)
        LOG.warning("warning: input %d x %d is not a multiple of 32: the output map has %d x %d cells of %d pixels and "
                    "extends beyond the right and bottom edge of the image. Coordinates are still correct",
                    height, width, rows, columns, net.down_ratio)
    manifest = Manifest(
        input_name="image" if onnx else "x", input_shape=(config.export_batch_size, 3, height, width),
        spec=dataclasses.replace(spec, input_size=(height, width)), K=evaluation.K,
        decode=config.export_decode, cat_spec_wh=net.cat_spec_wh, flip_test=evaluation.flip_test, outputs=(),
        preset=record.preset if record else config.preset, sha256="",
        versions={"mindspore": ms.__version__, **(package_versions() if onnx else {})}, deform=deform,
        box_head=net.box_head, evaluation={name: getattr(evaluation, name) for name in AFTER_THE_GRAPH})
    return manifest.with_uint8_input() if config.export_input == "uint8" else manifest


def _require_batch(config: Config, deform: str) -> None:
    """Raise UserError if export_batch_size is 0 (any batch size), but the graph needs a fixed batch size."""
    if config.export_batch_size:
        return
    fixed = [reason for holds, reason in (
        (config.export_format != "ONNX", f"{config.export_format} files need a fixed one (ONNX files do not)"),
        (config.eval_config.flip_test, "the flip test needs a fixed one (--eval_config.flip_test false does not)"),
        (config.export_input == "uint8", "uint8 images need a fixed one (--export_input float32 does not)"),
        (deform == "gather", "deformable layers as gathers need a fixed one (--export_deform native does not)"))
        if holds]
    if fixed:
        raise UserError("--export_batch_size 0 allows any batch size, but " + ", and ".join(fixed) + ": set it to a "
                        "number of images")
