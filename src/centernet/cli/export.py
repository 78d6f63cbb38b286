"""Export a checkpoint as MINDIR or ONNX, with a manifest beside it.

    python export.py --device_target CPU --export_load_ckpt centernet.ckpt --export_name centernet --input_res 512 512
    python export.py --device_target CPU --export_load_ckpt centernet.ckpt --export_name centernet --export_format ONNX
"""
from __future__ import annotations

import logging
import time

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.config.sections import MAPS
from centernet.device import set_up
from centernet.errors import UserError
from centernet.files import require_writable
from centernet.owner import OWNER, owned


def run(config: Config) -> None:
    """Read the checkpoint, build its network, export it, and compare the exported model with the checkpoint."""
    if not config.export_load_ckpt:
        raise UserError("--export_load_ckpt is not set: name the checkpoint to export")
    from centernet.detection.transform import warn_if_cut
    from centernet.export.describe import describe, target_path
    from centernet.export.publish import export_model
    from centernet.runtimes.manifest import manifest_path
    from centernet.weights.load import load_model

    log = logging.getLogger("centernet")
    target = target_path(config.export_name, config.export_format)
    require_writable(target.parent, "--export_name")
    set_up(config, config.device_id)
    model = load_model(config.export_load_ckpt, config)
    config = model.config
    manifest = describe(config, model.record)
    warn_if_cut(manifest.spec.input_size)
    replaced = target.is_file()
    start = time.perf_counter()
    with owned(target.parent, "--export_name", f".{target.name}{OWNER}"):
        if config.precision == "fp32":
            error = export_model(model.network, manifest, target, config.export_tolerance)
        else:
            from centernet.export.quantization.low_precision import export_low_precision
            error = export_low_precision(config, model.network, manifest, target)
    sizes = ", ".join(map(str, (manifest.input_shape[0] or "any batch", *manifest.input_shape[1:])))
    log.info("exported %s and %s in %.1f s: input [%s], %d categories, %s", target, manifest_path(target).name,
             time.perf_counter() - start, sizes, len(manifest.spec.categories),
             f"output (B, {manifest.K}, 6)" if manifest.decode else f"outputs {', '.join(MAPS[manifest.box_head])}")
    if replaced:
        log.info("these files replaced an older model of the same name")
    of = "" if config.precision == "fp32" else f"of the float32 model, before its conversion to {config.precision}, "
    log.info("max error %sagainst the checkpoint: %.2e", of, error)


def main(argv: list[str] | None = None) -> int:
    """Parse argv, export, return the exit status."""
    return run_entry("export", "Export a checkpoint as MINDIR or ONNX, with a manifest beside it.", run, argv)
