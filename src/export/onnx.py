"""Write a network as ONNX: MindSpore's exporter, and what its graphs lack.

The exporter writes operator set 11, leaves batch norms as they are and has no
deformable convolution; onnx_graph repairs that.
"""
from __future__ import annotations

from pathlib import Path

import mindspore as ms
from mindspore import nn

from src.errors import UserError
from src.export.cells import as_exported, with_folded_deform_layers, with_stand_ins
from src.export.plain_path import plain_path
from src.inference.manifest import Manifest
from src.inference.onnx_session import require_package
from src.models.deform_gather import with_gathers

OPSET = 17  # what runtimes since 2022 read
OPSET_OF_DEFORM_CONV = 19  # the first one that has the operator


def write(network: nn.Cell, manifest: Manifest, path: Path) -> None:
    """Write what a manifest describes of a network, raw maps or detections, to a .onnx that onnx.checker passes.

    Raises:
        UserError: onnx is not installed, or the network has an operator that MindSpore's exporter does not know.
    """
    onnx = require_package("onnx")
    from src.export.onnx_graph import finish

    if manifest.deform == "gather":
        network = with_gathers(with_folded_deform_layers(network))
    elif manifest.deform == "native":
        network = with_stand_ins(network)
    batch, *image = manifest.input_shape
    try:
        with plain_path(path) as plain:
            ms.onnx.export(as_exported(network, manifest), ms.ops.zeros((batch or 1, *image), ms.float32),
                           file_name=str(plain))
    except RuntimeError as error:
        if "convert map" not in str(error):
            raise
        raise UserError(f"--export_format ONNX: {str(error).splitlines()[0]}") from error
    opset = OPSET_OF_DEFORM_CONV if manifest.deform == "native" else OPSET
    names = (manifest.input_name, *[name for name, _ in manifest.outputs])
    onnx.save(finish(onnx.load(str(path)), names, opset, open_batch=batch == 0), str(path))
