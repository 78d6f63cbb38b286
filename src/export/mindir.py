"""Write a checkpoint's network as a fixed-shape MINDIR with its manifest, proven equal before it is published."""
from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from src.categories import categories_from_names
from src.errors import UserError
from src.inference.backends import map_size, require_cells
from src.inference.decode import Detect
from src.inference.manifest import Manifest, file_sha256, manifest_path, write_manifest
from src.models.deform_gather import with_gathers
from src.settings import Config
from src.weights.checkpoint import ModelRecord

log = logging.getLogger("centernet")

TOLERANCE = 1e-3  # of the exported model's output, absolute below 1 and relative above


def target_path(export_name: str) -> Path:
    """The .mindir path that --export_name means; the suffix may be given or not, a folder may be part of it."""
    name = export_name.removesuffix(".mindir")
    if not name or name.endswith(("/", os.sep)) or Path(f"{name}.mindir").is_dir():
        raise UserError(f"--export_name {export_name!r} must name a file (with or without .mindir), not a folder")
    return Path(f"{name}.mindir")


def describe(config: Config, record: ModelRecord | None) -> Manifest:
    """The manifest that the settings ask for; outputs and SHA-256 are filled in by export_mindir.

    Normalisation and categories are those that the network was trained with, where the checkpoint tells.

    Raises:
        UserError: fewer output cells than K, or a flip test without decoding.
    """
    data, net, evaluation = config.dataset_config, config.net_config, config.eval_config
    if record is None:
        log.warning("warning: %s does not say which categories and normalisation it was trained with: "
                    "taking those of dataset_config", config.export_load_ckpt)
    if config.export_deform == "gather" and net.neck != "deform":
        log.info("--export_deform gather changes nothing: the network has no deformable layers (net_config.neck %s)",
                 net.neck)
    source = record or data
    height, width = config.input_res or data.input_res_test
    require_cells(height, width, evaluation.K)
    if evaluation.flip_test and not config.export_decode:
        raise UserError("eval_config.flip_test averages maps in the graph before decoding: it needs "
                        "--export_decode true")
    if height % 32 or width % 32:
        rows, columns = map_size(height, width)
        log.warning("warning: input %d x %d is not a multiple of 32: the output map has %d x %d cells of %d pixels and "
                    "reaches past the image's right and bottom edge; coordinates stay right",
                    height, width, rows, columns, net.down_ratio)
    return Manifest(
        input_name="x", input_shape=(config.export_batch_size, 3, height, width), input_dtype="float32",
        color_order="RGB" if source.to_rgb else "BGR", mean=tuple(source.mean), std=tuple(source.std),
        down_ratio=net.down_ratio, K=evaluation.K, decode=config.export_decode, cat_spec_wh=net.cat_spec_wh,
        flip_test=evaluation.flip_test, outputs=(),
        categories=record.categories if record else categories_from_names(data.coco_classes),
        preset=record.preset if record else config.preset, sha256="", versions={"mindspore": ms.__version__},
        deform=config.export_deform if net.neck == "deform" else "none")


def export_mindir(network: nn.Cell, manifest: Manifest, target: Path) -> float:
    """Export, load the file again, compare it with the network on a random input, and only then publish it.

    The network that is compared with is always the given one, whatever form its deformable layers take in the file.

    Args:
        network: (B,3,H,W) -> raw hm, wh[, reg], with its weights.
        manifest: what to export, from describe.
        target: NAME.mindir; it and NAME.json are replaced at the very end.

    Returns:
        The largest difference of the outputs, see largest_difference.

    Raises:
        UserError: the folder cannot be written, or the exported model's output differs; nothing is published then.
    """
    _require_finite(network)
    reference = _graph(network, manifest)
    cell = _graph(with_gathers(network), manifest) if manifest.deform == "gather" else reference
    x = ms.Tensor(np.random.default_rng(0).standard_normal(manifest.input_shape, np.float32))
    expected = _arrays(reference(x))
    names = ("detections",) if manifest.decode else ("hm", "wh", "reg")
    outputs = tuple((name, output.shape) for name, output in zip(names, expected))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
            partial = Path(folder) / "model.mindir"
            ms.export(cell, x, file_name=str(partial), file_format="MINDIR")
            error = _verify(partial, x, expected, manifest.decode)
            partial.chmod(0o644)
            sealed = dataclasses.replace(manifest, outputs=outputs, sha256=file_sha256(partial))
            # A reader between the two steps sees a SHA-256 that does not fit, never a wrong manifest.
            os.replace(partial, target)
            write_manifest(sealed, manifest_path(target))
    except OSError as error:
        raise UserError(f"--export_name {target}: cannot write there: {error.strerror or error}") from error
    return error


def _graph(network: nn.Cell, manifest: Manifest) -> nn.Cell:
    """What is exported of a network, in evaluation mode."""
    cell = Detect(network, manifest.K, manifest.cat_spec_wh, manifest.flip_test) if manifest.decode else network
    cell.set_train(False)
    return cell


def _require_finite(network: nn.Cell) -> None:
    """Raise UserError if a weight is NaN or infinite; the output need not show it, as ReLU may turn NaN into 0."""
    for parameter in network.get_parameters():
        if not np.isfinite(parameter.asnumpy()).all():
            raise UserError(f"the checkpoint's {parameter.name} holds NaN or infinite values, its training diverged: "
                            "export an earlier checkpoint; nothing was written")


def _verify(path: Path, x: ms.Tensor, expected: list[np.ndarray], decoded: bool) -> float:
    """The largest difference of the file's outputs from the expected ones; UserError if it is too large, or NaN."""
    found = _arrays(nn.GraphCell(ms.load(str(path)))(x))
    difference = max(map(largest_difference_of_detections if decoded else largest_difference, found, expected))
    if not difference <= TOLERANCE:
        raise UserError(f"the exported model's output differs from the checkpoint's by {difference:.2e} (allowed: "
                        f"{TOLERANCE:.0e}); nothing was written")
    return difference


def _arrays(outputs: ms.Tensor | tuple[ms.Tensor, ...]) -> list[np.ndarray]:
    return [output.asnumpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of two arrays of one shape: absolute for values below 1, relative above."""
    return float((np.abs(found - expected) / np.maximum(np.abs(expected), 1)).max())


def largest_difference_of_detections(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of two (B,K,6) arrays, whatever the order of rows of nearly equal scores.

    Scores are compared by rank. Of the rows, those clearly above the last score are compared with
    their nearest partner: two detections tied for the last place may be cut off differently.
    """
    worst = largest_difference(found[..., 4], expected[..., 4])
    for one, other in ((found, expected), (expected, found)):
        for rows, partners in zip(one, other):
            kept = rows[rows[:, 4] > rows[-1, 4] + TOLERANCE]
            scale = np.maximum(np.abs(kept[:, None]), 1)
            pairs = (np.abs(kept[:, None] - partners[None]) / scale).max(axis=2)
            worst = max(worst, float(pairs.min(axis=1).max(initial=0)))
    return worst
