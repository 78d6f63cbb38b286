"""Corrections of MindSpore's ONNX graphs: fold batch norms, insert deformable convolutions, newer operator set."""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper, shape_inference, version_converter

from centernet.export.exportable import DeformStandIn
from centernet.models.deform_gather import TAPS

# Our channels are [x of 9 taps | y of 9 taps | mask logits of 9 taps]. ONNX needs offsets in the order (y, x) per tap.
OFFSET_CHANNELS = np.stack([np.arange(TAPS) + TAPS, np.arange(TAPS)], 1).ravel()
MASK_CHANNELS = np.arange(TAPS) + 2 * TAPS


def finish(model: ModelProto, names: Sequence[str], opset: int, open_axes: Sequence[int]) -> ModelProto:
    """Return the corrected model. onnx.checker has checked it with shape inference.

    Args:
        model: MindSpore's model; it is changed.
        names: name of the input, then names of the outputs.
        opset: operator set of the result; 19 or later if the model has stand-ins for deformable convolutions.
        open_axes: axes of (B,channels,height,width) that may have any size: 0 for any batch size, 2 and 3 for any
            height and width. Reshapes in the graph must not contain the sizes of axes 2 and 3, and keep axis 0.
    """
    _name(model.graph, names)
    fold_batch_norms(model.graph)
    for node in model.graph.node:
        if node.op_type == "ConvTranspose":  # its pads have the same effect, but do not fix the batch size
            _drop_attribute(node, "output_shape")
    model = version_converter.convert_version(model, opset)
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    _resize_by_scales(shape_inference.infer_shapes(model).graph, model.graph)
    restore_deform_convs(model.graph)
    _drop_unused(model.graph)
    if 0 in open_axes:
        _keep_batch(model.graph)
    for value in (*model.graph.input, *model.graph.output):
        for axis in open_axes:
            # Height and width of the input differ from those of the outputs, so they need different names.
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{axis}" if axis else "batch"
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return model


def _name(graph: GraphProto, names: Sequence[str]) -> None:
    """Rename input and outputs. (The exporter's output_names does not rename them in nodes that read an output.)"""
    ends = (graph.input[0], *graph.output)
    renamed = {value.name: name for value, name in zip(ends, names)}
    for value in ends:
        value.name = renamed[value.name]
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]


def fold_batch_norms(graph: GraphProto) -> None:
    """Fold batch norms into the convolutions before them: plain or transposed, grouped or not."""
    arrays = _initializers(graph)
    uses = Counter(name for node in graph.node for name in node.input) + Counter(out.name for out in graph.output)
    made_by = {name: node for node in graph.node for name in node.output}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        conv = made_by.get(norm.input[0])
        if (conv is None or conv.op_type not in ("Conv", "ConvTranspose") or uses[norm.input[0]] > 1
                or any(uses[name] > 1 or name not in arrays for name in conv.input[1:])):
            continue
        gamma, beta, mean, variance = (arrays[name].astype(np.float64) for name in norm.input[1:5])
        scale = gamma / np.sqrt(variance + _attribute(norm, "epsilon", 1e-5))
        bias = arrays[conv.input[2]].astype(np.float64) if len(conv.input) > 2 else 0.0
        weight = arrays[conv.input[1]].astype(np.float64)
        if conv.op_type == "Conv":
            weight = weight * scale[:, None, None, None]
        else:  # (Cin, Cout / groups, h, w): the outputs of a group depend only on the inputs of this group
            groups = int(_attribute(conv, "group", 1))
            by_group = weight.reshape(groups, -1, *weight.shape[1:]) * scale.reshape(groups, 1, -1, 1, 1)
            weight = by_group.reshape(weight.shape)
        if len(conv.input) == 2:
            conv.input.append(conv.input[1].removesuffix(".weight") + ".bias")
        _set_initializer(graph, conv.input[1], weight.astype(np.float32))
        _set_initializer(graph, conv.input[2], (beta + (bias - mean) * scale).astype(np.float32))
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
    _drop_unused(graph)


def restore_deform_convs(graph: GraphProto) -> None:
    """Replace each stand-in by the operator DeformConv and the nodes that compute its inputs."""
    arrays = _initializers(graph)
    made_by = {name: node for node in graph.node for name in node.output}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if len(node.input) < 2 or not node.input[1].endswith(DeformStandIn.MARK):
            nodes.append(node)
            continue
        features, predicted = made_by[node.input[0]].input
        place = node.input[1].removesuffix("." + DeformStandIn.MARK)
        weight = arrays[node.input[1]]
        _set_initializer(graph, f"{place}.weight", weight[:, :weight.shape[1] - 3 * TAPS])
        _set_initializer(graph, f"{place}.bias", arrays[node.input[2]])
        _set_initializer(graph, "deform.offset_channels", OFFSET_CHANNELS)
        _set_initializer(graph, "deform.mask_channels", MASK_CHANNELS)
        offset, logits, mask = (f"{place}.{part}" for part in ("offsets", "mask_logits", "mask"))
        nodes += [helper.make_node("Gather", [predicted, "deform.offset_channels"], [offset], f"{offset}_Gather",
                                   axis=1),
                  helper.make_node("Gather", [predicted, "deform.mask_channels"], [logits], f"{logits}_Gather",
                                   axis=1),
                  helper.make_node("Sigmoid", [logits], [mask], f"{mask}_Sigmoid"),
                  helper.make_node("DeformConv", [features, f"{place}.weight", offset, f"{place}.bias", mask],
                                   list(node.output), f"{place}_DeformConv", kernel_shape=[3, 3], pads=[1, 1, 1, 1])]
    del graph.node[:]
    graph.node.extend(nodes)


def _resize_by_scales(inferred: GraphProto, graph: GraphProto) -> None:
    """Give Resize factors for height and width. The exporter gives it the output shape, which fixes the batch size."""
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
              for value in (*inferred.value_info, *inferred.input, *inferred.output)}
    for node in graph.node:
        if node.op_type == "Resize" and len(node.input) == 4:
            before, after = shapes[node.input[0]], shapes[node.output[0]]
            scales = f"{node.name}.scales"
            _set_initializer(graph, scales, np.divide(after, before).astype(np.float32))
            node.input[:] = [node.input[0], "", scales]


def _keep_batch(graph: GraphProto) -> None:
    """Let reshapes of the decoding take axis 0 from their input (0), instead of the example's batch size."""
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_value
    arrays = _initializers(graph)
    arrays.update((node.output[0], numpy_helper.to_array(helper.get_node_attr_value(node, "value")))
                  for node in graph.node if node.op_type == "Constant")
    for index, node in enumerate(graph.node):
        sizes = arrays.get(node.input[1]) if node.op_type == "Reshape" else None
        if batch > 1 and sizes is not None and len(sizes) > 1 and sizes[0] == batch:
            name = f"reshape.{index}.sizes"
            _set_initializer(graph, name, np.concatenate([np.zeros(1, sizes.dtype), sizes[1:]]))
            node.input[1] = name


def _drop_unused(graph: GraphProto) -> None:
    """Remove unused nodes, from the last to the first, and unused initializers."""
    wanted = {output.name for output in graph.output}
    for node in reversed(list(graph.node)):
        if wanted.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            wanted.update(node.input)
    kept = [initializer for initializer in graph.initializer if initializer.name in wanted]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _initializers(graph: GraphProto) -> dict[str, np.ndarray]:
    return {initializer.name: numpy_helper.to_array(initializer) for initializer in graph.initializer}


def _set_initializer(graph: GraphProto, name: str, values: np.ndarray) -> None:
    """Replace an initializer, or add it."""
    tensor = numpy_helper.from_array(np.ascontiguousarray(values), name)
    for initializer in graph.initializer:
        if initializer.name == name:
            initializer.CopyFrom(tensor)
            return
    graph.initializer.append(tensor)


def _attribute(node: NodeProto, name: str, default: float) -> float:
    return next((helper.get_attribute_value(found) for found in node.attribute if found.name == name), default)


def _drop_attribute(node: NodeProto, name: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
