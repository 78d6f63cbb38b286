"""Export of a network, and publication of the file after a comparison with the network."""
from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
from mindspore import nn

from centernet.config.sections import MAPS
from centernet.errors import UserError
from centernet.export import mindir, onnx
from centernet.export.compare import TOLERANCE, largest_difference, largest_difference_of_detections
from centernet.export.exportable import as_exported
from centernet.export.noise import rounding_noise
from centernet.files import folder_beside
from centernet.interrupt import stop_if_interrupted
from centernet.runtimes.exported import load_graph, outputs_of
from centernet.runtimes.manifest import Manifest, publish

LIKE_NOISE = 8  # a runtime rounds every product and sum, not only the weights
WRITERS = {".mindir": mindir.write, ".onnx": onnx.write}


LOG = logging.getLogger("centernet")


def export_model(network: nn.Cell, manifest: Manifest, target: Path, tolerance: float = TOLERANCE) -> float:
    """Export a network, load the file, compare it with the network on a random input, and publish it if it is equal.

    The comparison always uses the given network, for any form of the layers in the file. The runtime for inference
    runs the file.

    Args:
        network: (B,3,H,W) -> raw maps, with its weights.
        manifest: manifest from describe.
        target: NAME.mindir or NAME.onnx. This file and its manifest are replaced at the end.
        tolerance: largest allowed difference of the outputs.

    Returns:
        The largest difference of the outputs, see largest_difference.

    Raises:
        UserError: the folder is not writable, or the exported model's output differs. Then nothing is published.
    """
    _require_finite(network)
    x, normalized = random_input(manifest)
    cell = as_exported(network, manifest)
    expected = outputs_of(cell, normalized)
    described = with_outputs(manifest, expected)
    with folder_beside(target, f"--export_name {target}: cannot write this file") as folder:
        partial = folder / f"model{target.suffix}"
        stop_if_interrupted()
        WRITERS[target.suffix](network, described, partial)
        stop_if_interrupted()
        found = load_graph(partial)(x)
        error = difference_of(found, expected, manifest.decode, TOLERANCE)
        if not error <= min(tolerance, TOLERANCE):
            # Detections with scores closer than the tolerance may have changed places.
            error = difference_of(found, expected, manifest.decode, max(tolerance, TOLERANCE))
            noise = rounding_noise(network, lambda: outputs_of(cell, normalized),
                                   lambda found: difference_of(found, expected, manifest.decode, tolerance))
            judge(error, noise, tolerance)
        publish(partial, described, target)
    return error


def random_input(manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Return a random input of the model, and the same as normalised float32 (B,3,H,W), computed in NumPy."""
    rng, (batch, *image) = np.random.default_rng(0), manifest.input_shape
    if not manifest.spec.raw:
        x = rng.standard_normal((batch or 2, *image), np.float32)
        return x, x
    pixels = rng.integers(0, 256, (batch or 2, *image), np.uint8)
    return pixels, np.stack([manifest.spec.normalize(picture) for picture in pixels])


def with_outputs(manifest: Manifest, outputs: list[np.ndarray]) -> Manifest:
    """Return the manifest with name and shape of each output."""
    names = ("detections",) if manifest.decode else MAPS[manifest.box_head]
    return dataclasses.replace(manifest, outputs=tuple(
        (name, (manifest.input_shape[0], *output.shape[1:])) for name, output in zip(names, outputs)))


def difference_of(found: list[np.ndarray], expected: list[np.ndarray], decoded: bool, tolerance: float) -> float:
    """Return the largest difference between found and expected outputs; NaN if one is NaN. See export/compare.py."""
    if decoded:
        pairs = [largest_difference_of_detections(*pair, tolerance) for pair in zip(found, expected)]
    else:
        pairs = [largest_difference(*pair) for pair in zip(found, expected)]
    return float(np.max(pairs))  # keeps NaN; Python's max() may not


def require_equal(found: list[np.ndarray], expected: list[np.ndarray], decoded: bool) -> float:
    """Return the largest difference between found and expected outputs. Raise UserError if it is too large or NaN."""
    difference = difference_of(found, expected, decoded, TOLERANCE)
    if not difference <= TOLERANCE:
        raise UserError(_refusal(difference, TOLERANCE) + "; nothing was written")
    return difference


def _refusal(difference: float, tolerance: float) -> str:
    return (f"the exported model's output differs from the checkpoint's by {difference:.2e} (allowed: "
            f"{tolerance:.0e})")


def judge(difference: float, noise: float, tolerance: float) -> None:
    """Raise UserError if a difference above TOLERANCE is above the tolerance, too; otherwise say what it means."""
    compared = (f"The checkpoint's own output moves by {noise:.2e} if each of its weights changes by one rounding of "
                "float32")
    if difference <= tolerance:
        LOG.warning("warning: the exported model's output differs from the checkpoint's by %.2e, above the usual %.0e, "
                    "within --export_tolerance %.0e. %s", difference, TOLERANCE, tolerance, compared)
        return
    if difference <= LIKE_NOISE * noise:
        advice = (f"so the difference can be rounding alone: trained weights usually have less of it. To export "
                  f"nevertheless, add --export_tolerance {_rounded_up(difference)}")
    else:
        advice = "so this difference is more than rounding: the exported graph computes something else"
    raise UserError(f"{_refusal(difference, tolerance)}; nothing was written. {compared}, {advice}")


def _rounded_up(value: float) -> str:
    """Return a little more than a value, with one digit."""
    digit = 10.0 ** np.floor(np.log10(value))
    return f"{np.ceil(1.2 * value / digit) * digit:.0e}"


def _require_finite(network: nn.Cell) -> None:
    """Raise UserError if a weight is NaN or infinite. The output may not show it, as ReLU can turn NaN into 0."""
    for parameter in network.get_parameters():
        if not np.isfinite(parameter.asnumpy()).all():
            raise UserError(f"the checkpoint's {parameter.name} contains NaN or infinite values, because its training "
                            "diverged: export an earlier checkpoint; nothing was written")
