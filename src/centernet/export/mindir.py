"""Export of a network as MINDIR."""
from __future__ import annotations

import copy
import shutil
import tempfile
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from centernet.export.exportable import as_written
from centernet.files import temporary
from centernet.models.deform_conv import choose_deform_op, with_gathers
from centernet.runtimes.manifest import Manifest


def write(network: nn.Cell, manifest: Manifest, path: Path) -> None:
    """Write a network to a .mindir with the outputs of the manifest: raw maps or detections."""
    if manifest.deform == "gather":
        network = with_gathers(network)
    else:
        network = copy.deepcopy(network)  # the caller's has compiled graphs
        choose_deform_op(network, "native")
    cell = as_written(network, manifest)
    with tempfile.TemporaryDirectory(prefix="export-") as folder, temporary(Path(folder)):
        plain = Path(folder) / "model.mindir"  # the exporter rejects names with spaces and most other characters
        zeros = ms.Tensor(np.zeros(manifest.input_shape, manifest.input_dtype))
        ms.export(cell, zeros, file_name=str(plain), file_format="MINDIR")
        shutil.move(plain, path)
