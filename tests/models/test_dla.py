from dataclasses import replace

import numpy as np
import pytest
from mindspore import Tensor

from centernet.models.centernet import build_centernet
from centernet.models.deform_conv import with_gathers
from centernet.models.dla import DLA34, enlarge
from centernet.weights.conversion import skeleton
from tests.golden_weights import PLAIN

NET = replace(PLAIN, backbone="dla34", neck="deform", neck_filters=(256, 128, 64), head_conv=16)


def image(height, width):
    return Tensor(np.random.RandomState(0).randn(1, 3, height, width).astype(np.float32))


def test_features_of_four_strides_neither_vanish_nor_explode(layer_by_layer):
    backbone = DLA34()
    backbone.set_train(False)
    features = backbone(image(64, 96))
    assert [each.shape for each in features] == [(1, 64, 16, 24), (1, 128, 8, 12), (1, 256, 4, 6), (1, 512, 2, 3)]
    assert all(0.1 < each.asnumpy().std() < 1000 for each in features)


@pytest.mark.parametrize("factor", [2, 4])
def test_enlarging_interpolates_each_channel(factor, layer_by_layer):
    layer = enlarge(3, factor)
    ramp = np.arange(6, dtype=np.float32) + np.zeros((1, 3, 6, 6), np.float32)
    ramp *= np.array([1, 2, -3], np.float32)[:, None, None]
    ours = layer(Tensor(ramp)).asnumpy()
    assert ours.shape == (1, 3, 6 * factor, 6 * factor)
    inside = slice(factor, -factor)
    # The centre of cell i lies at (i + 1/2) * factor - 1/2.
    expected = (np.arange(6 * factor) + 0.5) / factor - 0.5
    for channel, slope in enumerate((1, 2, -3)):
        np.testing.assert_allclose(ours[0, channel, inside, inside],
                                   np.tile(slope * expected[inside], (4 * factor, 1)), atol=1e-5)


@pytest.mark.parametrize("backbone, kind", [("dla34", "deform"), ("dla34", "conv"), ("dlav0_34", "conv")])
def test_the_neck_s_layers(backbone, kind):
    network = skeleton(replace(NET, backbone=backbone, neck=kind), 3)
    kernels = {name: parameter.shape for name, parameter in network.parameters_and_names() if name.endswith(".weight")}
    assert {name.split(".")[0] for name in kernels} == {"backbone", "neck", "heads"}
    v0 = backbone == "dlav0_34"
    assert kernels["neck.ida.1.merges.0.proj.0.weight"] == ((128, 256, 1, 1) if v0 else (128, 256, 3, 3))
    assert kernels["neck.ida.1.merges.1.node.0.weight"] == (128, 256 if v0 else 128, 3, 3)
    assert ("neck.last.merges.1.up.weight" in kernels) == (not v0)
    assert ("neck.last.merges.1.node.0.offset.weight" in kernels) == (kind == "deform")


@pytest.mark.slow  # test_onnx.py exports a ResNet's layers as gathers
def test_gathers_replace_all_deformable_nodes(layer_by_layer):
    network = build_centernet(NET, 3)
    random = np.random.RandomState(3)
    for parameter in network.get_parameters():
        if parameter.name.endswith("offset.bias"):
            parameter.set_data(Tensor(random.uniform(-1, 1, parameter.shape).astype(np.float32)))
    network.set_train(False)
    x = image(64, 64)
    portable = with_gathers(network)
    assert "DeformConv(" not in str(portable).replace("GatherDeformConv(", "")
    for ours, theirs in zip(network(x), portable(x)):
        np.testing.assert_allclose(theirs.asnumpy(), ours.asnumpy(), atol=1e-4 * np.abs(ours.asnumpy()).max())
