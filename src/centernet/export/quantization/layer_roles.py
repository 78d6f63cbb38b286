"""Which nodes of an exported .onnx are backbone, heads and decode: read off the graph, not off names."""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

CONVOLUTIONS = ("Conv", "ConvTranspose", "DeformConv")
# They pass feature maps on: inputs that must be feature maps for the output to be one; None: all of them.
CARRIERS = {"Relu": 1, "MaxPool": 1, "Pad": 1, "Resize": 1, "Add": None, "Concat": None}


@dataclass(frozen=True)
class LayerRoles:
    """Names of nodes by their role.

    Attributes:
        features: convolutions, and what passes their feature maps on, up to the last convolutions and with them.
            Arithmetic on sampling positions (deformable layers as gathers) and the decode do not belong to them.
        first: convolutions of the image.
        heads: what serves one output only, the last convolutions among them.
        last: convolutions that no other convolution follows; their outputs are the maps hm, wh, reg.
        decode: all that follows the last convolutions.
        positions: convolutions that something other than features reads, such as the offsets of deformable layers.
    """

    features: frozenset[str]
    first: frozenset[str]
    heads: frozenset[str]
    last: frozenset[str]
    decode: frozenset[str]
    positions: frozenset[str]


def name_nodes(model: ModelProto) -> None:
    """Give every node of the main graph a name of its own, keeping those that are unique already."""
    used: set[str] = set()
    for position, node in enumerate(model.graph.node):
        if not node.name or node.name in used:
            node.name = f"{node.op_type}_{position}"
        used.add(node.name)


def find_roles(model: ModelProto) -> LayerRoles:
    """Roles of the nodes of a model whose nodes are in topological order and named (name_nodes)."""
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
    """Node name -> the nodes that read one of its outputs."""
    by_tensor: dict[str, list[NodeProto]] = defaultdict(list)
    for node in nodes:
        for tensor in set(node.input):
            by_tensor[tensor].append(node)
    return {node.name: [reader for tensor in node.output for reader in by_tensor[tensor]] for node in nodes}


def _last_reached(nodes: list[NodeProto], readers: dict[str, list[NodeProto]]) -> dict[str, set[str]]:
    """Node name -> the last convolutions that follow it; none for those themselves, and for the decode."""
    reached: dict[str, set[str]] = {}
    for node in reversed(nodes):
        reached[node.name] = set()
        for reader in readers[node.name]:
            is_last = reader.op_type in CONVOLUTIONS and not reached[reader.name]
            reached[node.name] |= {reader.name} if is_last else reached[reader.name]
    return reached


def _descend(nodes: list[NodeProto], last: frozenset[str]) -> tuple[set[str], set[str]]:
    """Names of all nodes that follow a convolution, and of those that follow a last one."""
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
    """Whether a node reads another's output as a feature map, not as the positions of a deformable convolution."""
    return reader.name in features and (reader.op_type != "DeformConv" or not set(reader.input[1:]) & set(node.output))
