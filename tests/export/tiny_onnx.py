"""Tiny networks for ONNX and what their files hold (`from tests.export.tiny_onnx import ...`)."""
from collections import Counter

import mindspore as ms
import numpy as np
import pytest
from tiny_model import CATEGORIES, read_config, tiny_config, tiny_network

from centernet.export.describe import describe
from centernet.weights.checkpoint import model_record

onnx = pytest.importorskip("onnx", reason="onnx is not installed (requirements-onnx.txt)")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (requirements-onnx.txt)")
HAS_DEFORM_CONV = tuple(map(int, onnxruntime.__version__.split(".")[:2])) > (1, 23)
deformable = pytest.mark.skipif(not HAS_DEFORM_CONV, reason="this onnxruntime has no DeformConv (the newest for Python "
                                                            "3.10 has none)")


def ask(folder, *flags, **net):
    """A tiny configuration, and the manifest that its export asks for."""
    config = read_config(tiny_config(folder, **net), "--export_format", "ONNX", *flags)
    return config, describe(config, model_record(config, CATEGORIES))


def make(folder, *flags, **net):
    """A tiny network whose batch norms and offsets do something, its configuration and manifest."""
    config, manifest = ask(folder, *flags, **net)
    network = tiny_network(config)
    rng = np.random.default_rng(4)
    for parameter in network.get_parameters():
        if parameter.name.endswith((".moving_mean", ".beta", ".offset.bias")):
            change(parameter, rng.normal(0, 0.5, parameter.shape))
        elif parameter.name.endswith((".moving_variance", ".gamma")):
            change(parameter, rng.uniform(0.5, 1.5, parameter.shape))
        elif parameter.name.endswith(".offset.weight"):
            change(parameter, rng.normal(0, 0.05, parameter.shape))
        elif parameter.name.startswith("neck.") and parameter.name.endswith(".bias"):
            change(parameter, rng.normal(0, 0.1, parameter.shape))
    maps = network(ms.Tensor(rng.standard_normal((1, 3, 64, 64)).astype(np.float32)))
    for name, values in zip(config.net_config.maps[:2], maps):  # else all scores are 0 or 1
        head = getattr(network.heads, name)
        change(head[-1].weight, head[-1].weight.asnumpy() / values.asnumpy().std())
    return network, config, manifest


def change(parameter, values):
    parameter.set_data(ms.Tensor(values.astype(np.float32)))


def kinds(path):
    """The checked model, and operator -> number of nodes."""
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    return model, Counter(node.op_type for node in model.graph.node)


def sizes(values):
    return {value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in values}
