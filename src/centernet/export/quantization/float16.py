"""Conversion of a float32 .onnx to float16 weights and feature maps.

Images, the heads' last convolutions, hm, wh, reg and the decoding stay float32: the 11 bits of float16 are not enough
for logits of small scores and for positions beyond 2048. The computation of the sampling positions in deformable layers
that are written as gathers also stays float32.
"""
from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from centernet.errors import UserError
from centernet.export.quantization.layer_roles import find_roles, name_nodes

LARGEST = float(np.finfo(np.float16).max)
# Inputs of a node that are float tensors; the others are sizes and indices.
FLOAT_INPUTS = {"Conv": (0, 1, 2), "ConvTranspose": (0, 1, 2), "DeformConv": (0, 1, 2, 3, 4), "Pad": (0, 2),
                "Relu": (0,), "MaxPool": (0,), "Resize": (0,)}


def to_half(model: ModelProto) -> ModelProto:
    """Return the float16 form of a float32 model. The given model is not changed.

    Raises:
        UserError: a weight is too large for float16.
    """
    result = ModelProto()
    result.CopyFrom(model)
    name_nodes(result)
    graph, roles = result.graph, find_roles(result)
    half_nodes = roles.features - roles.last
    made = {name for node in graph.node if node.name in half_nodes for name in node.output}
    weights = {initializer.name: initializer for initializer in graph.initializer}
    nodes: list[NodeProto] = []
    present: set[str] = set()  # tensors that also exist in the other precision
    for node in graph.node:
        floats = FLOAT_INPUTS.get(node.op_type, range(len(node.input))) if node.name in half_nodes else ()
        for index, name in enumerate(node.input):
            wants_half = index in floats
            if name and wants_half != (name in made) and name not in present:
                if wants_half and name in weights:
                    graph.initializer.append(_half_weight(weights[name]))
                    present.add(name)
                elif wants_half or name in made:
                    nodes.append(_cast(name, wants_half))
                    present.add(name)
            if name and wants_half:
                node.input[index] = _half(name)
        if node.name in half_nodes:
            node.output[:] = [_half(name) for name in node.output]
        nodes.append(node)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    _drop_unused_weights(result)
    return result


def _half(name: str) -> str:
    return f"{name}.half"


def _cast(name: str, lower: bool) -> NodeProto:
    ends = ([name], [_half(name)]) if lower else ([_half(name)], [name])
    kind = TensorProto.FLOAT16 if lower else TensorProto.FLOAT
    return helper.make_node("Cast", *ends, f"{ends[1][0]}_Cast", to=kind)


def _half_weight(weight: TensorProto) -> TensorProto:
    values = numpy_helper.to_array(weight)
    largest = float(np.abs(values).max(initial=0))
    if not largest <= LARGEST:
        raise UserError(f"--precision fp16: {weight.name} contains {largest:.3g}, but the largest float16 is "
                        f"{LARGEST:.0f}: export with --precision fp32")
    return numpy_helper.from_array(values.astype(np.float16), _half(weight.name))


def _drop_unused_weights(model: ModelProto) -> None:
    read = {name for node in model.graph.node for name in node.input}
    kept = [initializer for initializer in model.graph.initializer if initializer.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
