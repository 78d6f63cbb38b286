"""Static 8-bit quantisation of a float32 .onnx in QDQ form, calibrated on images.

Weights are int8 with a scale for each output channel. Activations are uint8 with one scale for each tensor.
"""
from __future__ import annotations

import contextlib
import io
import math
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, shape_inference
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from centernet.errors import UserError
from centernet.export.quantization.calibration import Inputs, observe, value_range
from centernet.export.quantization.inner_tensors import run_inner
from centernet.export.quantization.layer_roles import CARRIERS, LayerRoles, find_roles, name_nodes

MIN_OPSET = 13  # the first opset with a scale for each channel


@dataclass(frozen=True)
class Int8Options:
    """Settings of the quantisation.

    Attributes:
        method: "kl", "minmax" or "percentile", see calibration.value_range.
        percentile: for method "percentile", in percent.
        first_layer: also quantise the first convolution.
        heads: also quantise the convolutions of the heads.
        reduce_range: use 7 bits for weights, so that no sum saturates on x86 processors without VNNI.
    """

    method: str
    percentile: float
    first_layer: bool
    heads: bool
    reduce_range: bool = False


def quantize(model: ModelProto, inputs: Inputs, options: Int8Options) -> ModelProto:
    """Return the 8-bit form of a float32 model with folded batch norms. The given model is not changed.

    The ranges do not come from onnxruntime's quantize_static: its Entropy method has the same number of bins before and
    after the quantisation, without an option to change it. So its result is the same as min-max.

    Raises:
        UserError: the opset is too old, or there is no convolution to quantise.
    """
    model = _prepared(model)
    chosen = quantized_nodes(model, find_roles(model), options)
    sizes = tensor_sizes(model, chosen)
    observed = observe(run_inner(model, sizes), inputs, sizes)
    ranges = {name: tuple(map(np.float32, value_range(values, options.method, options.percentile)))
              for name, values in observed.items()}
    quantizer = QDQQuantizer(
        model, per_channel=True, reduce_range=options.reduce_range, weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8, tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=sorted(chosen), nodes_to_exclude=[], extra_options={},
        op_types_to_quantize=sorted({node.op_type for node in model.graph.node if node.name in chosen}))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints advice on single tensors
        quantizer.quantize_model()
    quantizer.model.topological_sort()
    return quantizer.model.model


def _prepared(model: ModelProto) -> ModelProto:
    """Return a copy with names for all nodes and with the shapes of all tensors."""
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < MIN_OPSET:
        raise UserError(f"the model has ONNX opset {opset}, but 8-bit weights with a scale for each channel need "
                        f"{MIN_OPSET} or later: export it again")
    model = shape_inference.infer_shapes(model)
    name_nodes(model)
    return model


def quantized_nodes(model: ModelProto, roles: LayerRoles, options: Int8Options) -> set[str]:
    """Return the names of the nodes to quantise: the features without the layers that the options exclude.

    Deformable convolutions, the convolutions for their sampling positions, and the decoding are never quantised.

    Raises:
        UserError: no convolution is left.
    """
    wanted = roles.features - roles.positions
    wanted -= set() if options.first_layer else roles.first
    wanted -= set() if options.heads else roles.heads
    chosen = {node.name for node in model.graph.node if node.name in wanted and node.op_type != "DeformConv"}
    if not any(node.op_type == "Conv" for node in model.graph.node if node.name in chosen):
        raise UserError("--precision int8: the model has no convolution to quantise")
    return chosen


def tensor_sizes(model: ModelProto, chosen: set[str]) -> dict[str, int]:
    """Return the feature maps that chosen nodes read or write -> bytes in one run (of one image for any batch size)."""
    shapes = {value.name: value.type.tensor_type.shape.dim
              for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
    sizes = {}
    for node in model.graph.node:
        if node.name in chosen:
            for name in (*node.input[:CARRIERS.get(node.op_type, 1)], *node.output):
                sizes[name] = 4 * math.prod(max(1, size.dim_value) for size in shapes[name])
    return sizes
