"""Error of each layer of an 8-bit model compared with the float model, on real images."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from centernet.export.quantization.calibration import Inputs
from centernet.export.quantization.inner_tensors import run_inner
from centernet.export.quantization.layer_roles import CONVOLUTIONS

DEQUANTIZED = "_DequantizeLinear_Output"  # onnxruntime's suffix for a tensor after quantisation and dequantisation


@dataclass(frozen=True)
class LayerError:
    """The error of a convolution with the ReLU after it.

    sqnr is 10 log10(sum of squares of the float output / sum of squares of its error) in dB; inf without any error.
    The input of the layer already has errors, so this is the accumulated error up to this layer.
    """

    layer: str
    operator: str
    form: str  # "int8" or "float"
    sqnr: float


def layer_errors(model: ModelProto, quantized: ModelProto, inputs: Inputs, exact: bool = False) -> list[LayerError]:
    """Return the error of each convolution's output, in the order of the graph.

    Args:
        model: the float32 model.
        quantized: its 8-bit form.
        inputs: as for calibration.observe; a few images are enough.
        exact: as for run_inner, for the 8-bit form.
    """
    layers, names, others = _layers(model, quantized)
    run, run_quantized = run_inner(model, names), run_inner(quantized, others, exact)
    signal, noise = np.zeros(len(layers)), np.zeros(len(layers))
    for images, count in inputs():
        for index, (values, found) in enumerate(zip(run(names, images), run_quantized(others, images))):
            values = values[:count].astype(np.float64)
            signal[index] += np.sum(values ** 2)
            noise[index] += np.sum((values - found[:count]) ** 2)
    return [LayerError(layer, operator, form, _decibel(s, n))
            for (layer, operator, form), s, n in zip(layers, signal, noise)]


def saturation_loss(errors: Sequence[LayerError], exact: Sequence[LayerError]) -> float:
    """Return the largest additional error of a layer from saturating sums, in dB; 0 if the sums are exact.

    x86 processors without VNNI add pairs of 8-bit products in 16 bits: 255 * 127 + 255 * 127 becomes 32767.
    """
    return max((without.sqnr - error.sqnr for error, without in zip(errors, exact) if math.isfinite(error.sqnr)),
               default=0.0)


def _layers(model: ModelProto, quantized: ModelProto) -> tuple[list[tuple[str, str, str]], list[str], list[str]]:
    """Return (name of the weights, operator, form) of each convolution, and its output's names in the two models."""
    there = {name for node in quantized.graph.node for name in node.output}
    read = {name for node in quantized.graph.node for name in node.input}
    relus = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    layers, names, others = [], [], []
    for node in model.graph.node:
        if node.op_type in CONVOLUTIONS:
            output = relus.get(node.output[0], node.output[0])
            form = "float" if node.input[1] in read else "int8"
            layers.append((node.input[1].removesuffix(".weight"), node.op_type, form))
            names.append(output)
            others.append(output + DEQUANTIZED if output + DEQUANTIZED in there else output)
    return layers, names, others


def _decibel(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def table(errors: Sequence[LayerError]) -> str:
    """Return the table as text."""
    width = max(len(error.layer) for error in errors)
    return "\n".join([f"{'layer':<{width}}  operator       form   SQNR dB",
                      *(f"{error.layer:<{width}}  {error.operator:<13}  {error.form:<5}  {error.sqnr:7.1f}"
                        for error in errors)])
