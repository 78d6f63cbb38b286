"""Roles of the nodes of an exported .onnx (features, heads, decoding), found from the graph and not from names."""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

CONVOLUTIONS = ("Conv", "ConvTranspose", "DeformConv")
# Operators that pass feature maps on. The output is a feature map if this number of inputs are; None: all inputs.
CARRIERS = {"Relu": 1, "MaxPool": 1, "Pad": 1, "Resize": 1, "Add": None, "Concat": None}


@dataclass(frozen=True)
class LayerRoles:
    """Names of nodes by their role.

    Attributes:
        features: convolutions, and nodes that pass their feature maps on, including the last convolutions. Not
            included: computations of sampling positions (deformable layers as gathers), and the decoding.
        first: convolutions of the image.
        heads: nodes that only one output depends on, including the last convolutions.
        last: convolutions without another convolution after them; their outputs are the maps hm, wh, reg.
        decode: all nodes after the last convolutions.
        positions: convolutions whose output is also read by nodes outside of features, such as the offset layers of
            deformable convolutions.
    """

    features: frozenset[str]
    first: frozenset[str]
    heads: frozenset[str]
    last: frozenset[str]
    decode: frozenset[str]
    positions: frozenset[str]


def name_nodes(model: ModelProto) -> None:
    """Give every node of the main graph a unique name. Names that are already unique do not change."""
    used: set[str] = set()
    for position, node in enumerate(model.graph.node):
        if not node.name or node.name in used:
            node.name = f"{node.op_type}_{position}"
        used.add(node.name)


def find_roles(model: ModelProto) -> LayerRoles:
    """Find the roles of a model's nodes. The nodes must be in topological order and have names (name_nodes)."""
    nodes = list(model.graph.node)
    readers = _readers(nodes)
    last_reached = _last_reached(nodes, readers)
    last = frozenset(node.name for node in nodes if node.op_type in CONVOLUTIONS and not last_reached[node.name])
    after_convolution, decode = _descend(nodes, last)
    convolutions = {node.name for node in nodes if node.op_type in CONVOLUTIONS}
    features = _features(nodes) - decode
    heads = {name for name in features if len(last_reached[name]) == 1 and len(last) > 1} | last
    positions = {node.name for node in nodes if node.name in convolutions - last
                 and not all(_takes_features(reader, node, features) for reader in readers[node.name])}
    return LayerRoles(frozenset(features), frozenset(convolutions - after_convolution), frozenset(heads), last,
                      frozenset(decode), frozenset(positions))


def _readers(nodes: list[NodeProto]) -> dict[str, list[NodeProto]]:
    """Return node name -> the nodes that read one of its outputs."""
    by_tensor: dict[str, list[NodeProto]] = defaultdict(list)
    for node in nodes:
        for tensor in set(node.input):
            by_tensor[tensor].append(node)
    return {node.name: [reader for tensor in node.output for reader in by_tensor[tensor]] for node in nodes}


def _last_reached(nodes: list[NodeProto], readers: dict[str, list[NodeProto]]) -> dict[str, set[str]]:
    """Return node name -> the last convolutions after it; none for these convolutions and for the decoding."""
    reached: dict[str, set[str]] = {}
    for node in reversed(nodes):
        reached[node.name] = set()
        for reader in readers[node.name]:
            is_last = reader.op_type in CONVOLUTIONS and not reached[reader.name]
            reached[node.name] |= {reader.name} if is_last else reached[reader.name]
    return reached


def _descend(nodes: list[NodeProto], last: frozenset[str]) -> tuple[set[str], set[str]]:
    """Return the names of all nodes after any convolution, and of all nodes after a last convolution."""
    after_any: set[str] = set()
    after_last: set[str] = set()
    from_any: set[str] = set()  # tensors
    from_last: set[str] = set()
    for node in nodes:
        if from_any.intersection(node.input):
            after_any.add(node.name)
        if from_last.intersection(node.input):
            after_last.add(node.name)
        if node.op_type in CONVOLUTIONS or node.name in after_any:
            from_any.update(node.output)
        if node.name in last or node.name in after_last:
            from_last.update(node.output)
    return after_any, after_last


def _features(nodes: list[NodeProto]) -> set[str]:
    names: set[str] = set()
    maps: set[str] = set()  # tensors
    for node in nodes:
        inputs = node.input[:CARRIERS[node.op_type]] if node.op_type in CARRIERS else []
        if node.op_type in CONVOLUTIONS or (inputs and maps.issuperset(inputs)):
            names.add(node.name)
            maps.update(node.output)
    return names


def _takes_features(reader: NodeProto, node: NodeProto, features: set[str]) -> bool:
    """Return whether reader uses node's output as a feature map, and not as positions of a deformable convolution."""
    return reader.name in features and (reader.op_type != "DeformConv" or not set(reader.input[1:]) & set(node.output))
