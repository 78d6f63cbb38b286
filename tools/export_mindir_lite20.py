"""Export a checkpoint as a MINDIR in the old format of MindSpore Lite 2.0. Use scripts/export_mindir_lite20.sh.

The flags are those of export.py. MindSpore 2.0 writes the file in its own Python (variable MINDSPORE20_PYTHON; without
it scripts/set_up_mindspore20.sh makes that Python, when flags and checkpoint are known to be right). The output of the
file must be equal to the output of the network in this Python.
"""
from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.device import set_up_device
from centernet.errors import UserError
from centernet.files import folder_beside, user_errors
from centernet.owner import OWNER, owned

WORKER = Path(__file__).with_name("export_in_mindspore20.py")
ROOT = Path(__file__).resolve().parents[1]


def run(config: Config) -> None:
    """Read the checkpoint, write the model with MindSpore 2.0, compare the outputs, publish the file."""
    from centernet.export.describe import describe, target_path
    from centernet.export.publish import require_equal, with_outputs
    from centernet.runtimes.manifest import manifest_path, publish
    from centernet.weights.load import load_model

    log = logging.getLogger("centernet")
    if not config.export_load_ckpt:
        raise UserError("--export_load_ckpt is not set: name the checkpoint to export")
    target = target_path(config.export_name, "MINDIR")
    set_up_device("CPU", 0, config.seed)
    model = load_model(config.export_load_ckpt, config)
    config = model.config
    if config.net_config.deformable and config.export_deform != "gather":
        raise UserError("MindSpore Lite 2.0 cannot run the operator DeformableOffsets: add --export_deform gather")
    manifest = describe(config, model.record)
    python = os.environ.get("MINDSPORE20_PYTHON", "") or _set_up()
    # The exporter rejects names with spaces, so it writes elsewhere. The final rename needs the target's folder.
    with (owned(target.parent, "--export_name", f".{target.name}{OWNER}"),
          folder_beside(target, f"--export_name {target}: cannot write this file") as beside,
          tempfile.TemporaryDirectory(prefix="export-") as work):
        folder = Path(work)
        expected = _write_request(folder, config, manifest, model.network)
        version = _run_worker(python, folder)
        found = [np.load(folder / f"output_{index}.npy", allow_pickle=False) for index in range(len(expected))]
        difference = require_equal(found, expected, manifest.decode)
        written = Path(shutil.move(folder / "model.mindir", beside))
        described = dataclasses.replace(with_outputs(manifest, found), versions={"mindspore": version})
        publish(written, described, target)
    log.info("exported %s and %s with MindSpore %s: input %s, %d categories", target, manifest_path(target).name,
             version, list(manifest.input_shape), len(manifest.spec.categories))
    log.info("max error against the checkpoint: %.2e", difference)


def _write_request(folder: Path, config: Config, manifest, network) -> list[np.ndarray]:
    """Write the files for the worker, without pickles. Return the expected outputs."""
    from centernet.export.exportable import as_exported
    from centernet.export.publish import random_input
    from centernet.runtimes.exported import outputs_of

    x, normalized = random_input(manifest)
    spec, (factor, offset) = manifest.spec, (values.tolist() for values in manifest.spec.scaling)
    np.save(folder / "input.npy", x)
    np.savez(folder / "weights.npz", **{name: value.asnumpy() for name, value in network.parameters_dict().items()})
    request = {"network": dataclasses.asdict(config.net_config), "num_classes": len(manifest.spec.categories),
               "K": manifest.K, "decode": manifest.decode, "cat_spec_wh": manifest.cat_spec_wh,
               "flip_test": manifest.flip_test, "deform": manifest.deform,
               "normalization": {"factor": factor, "offset": offset, "to_rgb": spec.to_rgb} if spec.raw else None}
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    return outputs_of(as_exported(network, manifest), normalized)


def _set_up() -> str:
    """Set up MindSpore 2.0 unless it is there. Return the path of its Python."""
    folder = os.path.join(os.environ.get("CENTERNET_LITE") or str(ROOT / ".venv-lite"), "mindspore20")
    words = ("bash", str(ROOT / "scripts/set_up_mindspore20.sh"), folder)
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise UserError("MindSpore 2.0.0 is not there, and its set-up failed: see the message above")
    return done.stdout.strip()


def _run_worker(python: str, folder: Path) -> str:
    """Export in the other Python. Return the version of its MindSpore."""
    # Variables for this Python must not reach the other one.
    foreign = ("PYTHONHOME", "PYTHONPATH", "LD_PRELOAD", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if key not in foreign}
    with user_errors(f"MINDSPORE20_PYTHON {python}"):
        done = subprocess.run([python, str(WORKER), str(folder)], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-20:])
        raise UserError(f"MindSpore in {python} could not export the network (exit status {done.returncode}):\n{tail}")
    return (folder / "version.txt").read_text(encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Parse argv, export, return the exit status."""
    return run_entry("export", "Export a checkpoint as a MINDIR that MindSpore Lite 2.0 reads.", run, argv)


if __name__ == "__main__":
    sys.exit(main())
