"""Export of a network as ONNX in float16 or 8 bits, with an optional check of the AP before publication."""
from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from mindspore import nn
from onnx import ModelProto

from centernet.config.schema import Config
from centernet.config.threads import input_threads
from centernet.data.coco import CocoDataset, read_evaluated
from centernet.data.image_file import SUFFIXES, read_image
from centernet.detection.transform import prepare_image
from centernet.errors import UserError, listed
from centernet.evaluation.dataset import evaluate_exported
from centernet.export.publish import export_model
from centernet.export.quantization.calibration import Inputs
from centernet.export.quantization.float16 import to_half
from centernet.export.quantization.layer_error import LayerError, layer_errors, saturation_loss, table
from centernet.export.quantization.quantize import Int8Options, quantize
from centernet.files import files_below, folder_beside, write_json
from centernet.interrupt import stop_if_interrupted
from centernet.runtimes.exported import ExportedBackend, load_graph
from centernet.runtimes.manifest import Manifest, layer_report, metadata_of, publish

LOG = logging.getLogger("centernet")

REPORT_IMAGES = 8       # images for the report of layer errors
SATURATION_LIMIT = 1.0  # dB; warn if saturating sums increase a layer's error by more


def export_low_precision(config: Config, network: nn.Cell, manifest: Manifest, target: Path) -> float:
    """Export in config.precision. For int8, also write NAME.layers.json with the error of each layer.

    Args:
        config: settings of precision and calibration, and max_ap_drop.
        network, manifest, target: as for export_model.

    Returns:
        The largest difference between the outputs of the float32 file and of the network.

    Raises:
        UserError: as in export_model; there is no calibration image; or the AP drops by more than max_ap_drop. Then
            nothing is published.
    """
    gate = _gate_dataset(config)
    images = find_calibration_images(config) if config.precision == "int8" else []
    with folder_beside(target, f"--export_name {target}: cannot write this file") as folder:
        full, partial, reduced = (folder / f"{name}.onnx" for name in ("fp32", "partial", "reduced"))
        difference = export_model(network, manifest, full, config.export_tolerance)
        outputs = ExportedBackend(full).manifest.outputs
        described = dataclasses.replace(
            manifest, outputs=outputs, precision=config.precision, calibration_images=len(images),
            calibration_method=config.calibration_method if images else "")
        model, errors = _reduce(config, manifest, onnx.load(str(full)), images)
        onnx.helper.set_model_props(model, metadata_of(described))
        onnx.save(model, str(partial))
        _require_finite(partial, manifest)
        publish(partial, described, reduced)
        if gate is not None:
            require_ap(full, reduced, gate, config)
        before, after = full.stat().st_size, reduced.stat().st_size
        publish(reduced, described, target)
    if errors:
        write_json(layer_report(target), [dataclasses.asdict(error) for error in errors])
        LOG.info("error of the layers on %d images (SQNR of each output, with errors of its input), also in %s:\n%s",
                 min(REPORT_IMAGES, len(images)), layer_report(target).name, table(errors))
    LOG.info("%s: %.1f MB, fp32 has %.1f MB", config.precision, after / 1e6, before / 1e6)
    return difference


def _reduce(config: Config, manifest: Manifest, model: ModelProto,
            images: list[Path]) -> tuple[ModelProto, list[LayerError]]:
    if config.precision == "fp16":
        return to_half(model), []
    LOG.info("calibrating with %s on %d images of %s", config.calibration_method, len(images), config.calibration_data)
    options = Int8Options(config.calibration_method, config.calibration_percentile, config.quantize_first_layer,
                          config.quantize_heads, config.quantize_reduce_range)
    quantized = quantize(model, calibration_inputs(images, manifest), options)
    some = calibration_inputs(images[:REPORT_IMAGES], manifest)
    errors, without_saturation = (layer_errors(model, quantized, some, exact) for exact in (False, True))
    if (loss := saturation_loss(errors, without_saturation)) > SATURATION_LIMIT:
        LOG.warning("warning: this processor has no VNNI, and sums of 8-bit products saturate on it: the error of a "
                    "layer is %.1f dB larger than with exact sums. Export with --quantize_reduce_range true", loss)
    return quantized, errors


def find_calibration_images(config: Config) -> list[Path]:
    """Return config.calibration_images files of config.calibration_data, evenly spaced by name.

    If the folder itself has no image, those of its only subfolder with images are taken.

    Raises:
        UserError: the folder does not exist; there is no image, or several subfolders have images.
    """
    folder = Path(config.calibration_data)
    if not folder.is_dir():
        raise UserError(f"--calibration_data {folder}: there is no such folder")
    found = _images(folder.iterdir()) or _images(files_below(folder))
    if not found:
        raise UserError(f"--calibration_data {folder}: there is no image ({', '.join(SUFFIXES)}) in this folder or "
                        "below it. Use a folder with some hundred images similar to those of the application, such as "
                        "train2017")
    if len(places := sorted({str(path.parent) for path in found})) > 1:
        # One of them may have masks, or the images of the evaluation.
        raise UserError(f"--calibration_data {folder}: several of its subfolders have images: {listed(places)}. Name "
                        "one of them")
    count = min(config.calibration_images, len(found))
    if count < config.calibration_images:
        LOG.warning("warning: --calibration_data %s has only %d images, but --calibration_images is %d", folder, count,
                    config.calibration_images)
    return [found[position * len(found) // count] for position in range(count)]


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file())


def calibration_inputs(paths: list[Path], manifest: Manifest) -> Inputs:
    """Return batches of images, prepared as in an evaluation of this model. The last batch is padded.

    Raises:
        UserError: during iteration, if a file is not a complete image.
    """
    size = manifest.input_shape[0] or 1

    def prepare(path: Path) -> np.ndarray:
        return prepare_image(read_image(path), manifest.spec)[0]

    def batches() -> Iterator[tuple[np.ndarray, int]]:
        for first in range(0, len(paths), size):
            stop_if_interrupted()
            images = [prepare(path) for path in paths[first:first + size]]
            yield np.stack(images + images[-1:] * (size - len(images))), len(images)

    return batches


def _gate_dataset(config: Config) -> CocoDataset | None:
    if config.max_ap_drop < 0:
        return None
    return read_evaluated(config.data_dir, "val", config.annotation_file, config.image_dir, config.strict,
                          config.allow_outside, whole=False)


def require_ap(full: Path, reduced: Path, dataset: CocoDataset, config: Config) -> None:
    """Log the AP of both models. Raise UserError if the AP drops by more than config.max_ap_drop."""
    before, after = (evaluate_exported(ExportedBackend(path), dataset, config, input_threads(config)).AP
                     for path in (full, reduced))
    LOG.info("AP of %s: %.4f, of fp32: %.4f (%+.4f; a drop of %g is allowed)", config.precision, after, before,
             after - before, config.max_ap_drop)
    if before <= 0:
        raise UserError(f"--max_ap_drop {config.max_ap_drop:g}: the model has AP {before:.4f} before its precision is "
                        "reduced (-1: the data set has no boxes), so nothing can be compared; nothing was written. Use "
                        "a trained model and annotated images of its categories, or leave out --max_ap_drop")
    if before - after > config.max_ap_drop:
        raise UserError(f"--max_ap_drop {config.max_ap_drop:g}: AP drops by {before - after:.4f}, from {before:.4f} to "
                        f"{after:.4f}; nothing was written. Try another --calibration_method, more "
                        "--calibration_images, or set --quantize_heads and --quantize_first_layer to false")


def _require_finite(path: Path, manifest: Manifest) -> None:
    batch, *image = manifest.input_shape
    outputs = load_graph(path)(np.random.default_rng(0).standard_normal((batch or 1, *image), np.float32))
    if not all(np.isfinite(output).all() for output in outputs):
        raise UserError("the model's output is not finite: its feature maps have values above 65504, the largest "
                        "float16. Export with --precision fp32")
