"""Export of a network as ONNX, with MindSpore's exporter.

The exporter writes operator set 11, does not fold batch norms and has no deformable convolution. onnx_graph.py
corrects its graphs.
"""
from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from centernet.errors import UserError
from centernet.export.exportable import as_written, with_folded_deform_layers, with_stand_ins
from centernet.files import temporary
from centernet.models.deform_conv import with_gathers
from centernet.runtimes.manifest import Manifest, metadata_of
from centernet.runtimes.onnx_session import require_package

OPSET = 17  # runtimes since 2022 support it
OPEN_BATCH = 7  # batch size of the example for graphs with any batch size; no other size in a graph is 7
OPSET_OF_DEFORM_CONV = 19  # the first operator set with DeformConv


def write(network: nn.Cell, manifest: Manifest, path: Path) -> None:
    """Write a network to a valid .onnx with the outputs of the manifest: raw maps or detections.

    Raises:
        UserError: onnx is not installed, or the network has an operator that MindSpore's exporter does not support.
    """
    onnx = require_package("onnx")
    batch, *image = manifest.input_shape
    cell = as_written(exportable(network, manifest.deform), manifest)
    names = (manifest.input_name, *[name for name, _ in manifest.outputs])
    zeros = np.zeros((batch or OPEN_BATCH, *image), manifest.input_dtype)
    model = to_onnx(cell, zeros, names, manifest.deform == "native", (0,) if batch == 0 else ())
    onnx.helper.set_model_props(model, metadata_of(manifest))
    onnx.save(model, str(path))


def exportable(network: nn.Cell, deform: str) -> nn.Cell:
    """Return the network, or a copy with deformable layers in a form that MindSpore's exporter supports.

    Args:
        network: (B,3,H,W) -> raw maps.
        deform: form of the deformable layers, as in Manifest.
    """
    if deform == "gather":
        return with_gathers(with_folded_deform_layers(network))
    return with_stand_ins(network) if deform == "native" else network


def to_onnx(cell: nn.Cell, example: np.ndarray, names: Sequence[str], stand_ins: bool, open_axes: Sequence[int]):
    """Convert an nn.Cell in evaluation mode to an onnx.ModelProto that onnx.checker has checked.

    Args:
        cell: network with one input and deformable layers in the form of `exportable`.
        example: an input for the exporter; only its shape and dtype matter.
        names: name of the input, then names of the outputs.
        stand_ins: the cell has stand-ins for deformable convolutions.
        open_axes: axes of input and outputs that may have any size; see finish.

    Raises:
        UserError: onnx is not installed, or the cell has an operator that MindSpore's exporter does not support.
    """
    onnx = require_package("onnx")
    from centernet.export.onnx_graph import finish

    with tempfile.TemporaryDirectory(prefix="export-") as folder, temporary(Path(folder)):
        path = Path(folder) / "model.onnx"  # the exporter rejects many names, for example names with spaces
        try:
            ms.onnx.export(cell, ms.Tensor(example), file_name=str(path))
        except RuntimeError as error:
            if "convert map" not in str(error):
                raise
            raise UserError(f"--export_format ONNX: {str(error).splitlines()[0]}") from error
        model = onnx.load(str(path))
    return finish(model, names, OPSET_OF_DEFORM_CONV if stand_ins else OPSET, open_axes)
