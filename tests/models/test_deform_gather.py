"""Deformable layers in portable operators give what the framework's operator gives.

Layer by layer: test_mindir.py compiles both forms.
"""
from dataclasses import replace

import numpy as np
import pytest
from mindspore import Tensor, value_and_grad

from centernet.models.centernet import build_centernet
from centernet.models.deform_conv import DeformConv, GatherDeformConv, choose_deform_op, with_gathers
from centernet.models.deform_gather import corners
from tests.golden_weights import golden_network, net_config

pytestmark = pytest.mark.usefixtures("layer_by_layer")


def layers(sigma, in_channels=8, out_channels=6):
    """A layer whose offsets scatter by about sigma cells, and its portable form."""
    rng = np.random.default_rng(5)
    native = DeformConv(in_channels, out_channels)
    weight, bias = native.offset.weight, native.offset.bias
    weight.set_data(Tensor(rng.normal(0, sigma / 8, weight.shape).astype(np.float32)))
    bias.set_data(Tensor(rng.normal(0, sigma, bias.shape).astype(np.float32)))
    native.bias.set_data(Tensor(rng.normal(0, 1, out_channels).astype(np.float32)))
    return native, GatherDeformConv(native)


def image(batch, height, width, channels=8):
    return np.random.default_rng(6).standard_normal((batch, channels, height, width)).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.3, 4])
@pytest.mark.parametrize("size", [(1, 6, 6), (2, 5, 9), (3, 1, 7), (2, 11, 2)], ids=str)
def test_equals_the_operator_inside_across_and_beyond_the_border(sigma, size):
    native, portable = layers(sigma)
    x = Tensor(image(*size))
    expected = native(x).asnumpy()
    np.testing.assert_allclose(portable(x).asnumpy(), expected, atol=2e-6 * np.abs(expected).max(), rtol=0)
    offsets = native.offset(x).asnumpy()[:, :18]
    outside = np.abs(offsets) > max(size[1:]) + 1
    assert outside.any() == (sigma == 4), "the wide offsets must leave the image, the narrow ones must not"


@pytest.mark.parametrize("offset", [-1.0, 1.0, 3.0, -1.5, 0.25, 1e6, -1e6])
def test_equals_the_operator_at_whole_fractional_and_huge_offsets(offset):
    """One offset for all taps: whole numbers meet the border exactly."""
    native, portable = layers(0)
    for part in (0, 9):
        bias = native.offset.bias.asnumpy()
        bias[:18] = 0
        bias[part:part + 9] = offset
        native.offset.bias.set_data(Tensor(bias))
        x = Tensor(image(2, 4, 5))
        expected = native(x).asnumpy()
        np.testing.assert_allclose(portable(x).asnumpy(), expected, atol=2e-6 * np.abs(expected).max(), rtol=0)


def gradients(layer, x, weights):
    """Gradients to the input and to all weights of a weighted sum of the output."""
    def total(x):
        return (layer(x) * weights).sum()
    of_input, of_weights = value_and_grad(total, 0, layer.trainable_params())(x)[1]
    return [of_input.asnumpy(), *(gradient.asnumpy() for gradient in of_weights)]


@pytest.mark.parametrize("sigma, size", [(0.3, (2, 6, 7)), (4, (3, 5, 4)), (2, (2, 1, 6))], ids=str)
def test_training_by_gathers_has_values_and_gradients_of_the_operator(sigma, size):
    """Also for taps across and beyond the border, where the operator's gradients are 0."""
    layer, _ = layers(sigma)
    x = Tensor(image(*size))
    out = layer(x).asnumpy()
    weights = Tensor(np.random.default_rng(7).standard_normal(out.shape).astype(np.float32))
    expected = gradients(layer, x, weights)
    layer.by_gathers = True
    np.testing.assert_allclose(layer(x).asnumpy(), out, rtol=0, atol=2e-6 * np.abs(out).max())
    found = gradients(layer, x, weights)
    assert len(found) == 5
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6 * np.abs(other).max())


def test_the_device_determines_the_operator_unless_it_is_chosen(monkeypatch):
    network = build_centernet(net_config("resdcn_18"), 3)
    for target, op, expected in (("CPU", "auto", False), ("Ascend", "auto", True), ("Ascend", "native", False),
                                 ("CPU", "gather", True)):
        monkeypatch.setattr("centernet.models.deform_conv.ms.get_context", lambda key, target=target: target)
        choose_deform_op(network, op)
        cells = [cell for _, cell in network.cells_and_names() if isinstance(cell, DeformConv)]
        assert {cell.by_gathers for cell in cells} == {expected}


def test_images_of_a_batch_do_not_mix():
    _, portable = layers(2)
    x = image(3, 5, 4)
    alone = [portable(Tensor(one[None])).asnumpy()[0] for one in x]
    np.testing.assert_allclose(portable(Tensor(x)).asnumpy(), alone, atol=1e-5)


def test_half_precision_finds_the_right_cells_and_shares():
    """A sum of cell and offset would be off by 0.03 cells at column 99: float16 has 11 bits."""
    position = Tensor(np.arange(100).astype(np.float16))
    offset = np.random.default_rng(8).normal(0, 2, 100).astype(np.float16)
    lower, upper, lower_share, upper_share = (part.asnumpy() for part in corners(position, Tensor(offset), 100))
    exact = np.arange(100) + offset.astype(np.float64)
    inside = (exact >= 0) & (exact < 99)
    np.testing.assert_array_equal(lower[inside], np.floor(exact[inside]))
    np.testing.assert_array_equal(upper[inside], lower[inside] + 1)
    np.testing.assert_allclose(upper_share[inside], (exact - np.floor(exact))[inside], atol=1e-3)
    np.testing.assert_allclose((lower_share + upper_share)[inside], 1, atol=1e-3)


def test_golden_network_is_the_same(golden):
    network = golden_network("resdcn_18")
    portable = with_gathers(network)
    portable.set_train(False)
    expected = golden("resdcn_18")
    for name, ours in zip(("hm", "wh", "reg"), portable(Tensor(expected["x"]))):
        assert np.abs(ours.asnumpy() - expected[name]).max() <= 1e-4 * np.abs(expected[name]).max(), name


@pytest.mark.parametrize("backbone, count", [("resnet18", 3), ("dla34", 16)])
def test_no_deformable_layer_is_forgotten(backbone, count):
    network = build_centernet(replace(net_config("resdcn_18"), backbone=backbone), 3)
    for net, native, portable in ((network, count, 0), (with_gathers(network), 0, count)):
        kinds = [type(cell) for _, cell in net.cells_and_names()]
        assert (kinds.count(DeformConv), kinds.count(GatherDeformConv)) == (native, portable)


def test_the_network_that_it_is_made_from_stays_as_it_was():
    network = build_centernet(net_config("resdcn_18"), 3)
    network.set_train(False)
    names = list(network.parameters_dict())
    x = Tensor(np.random.RandomState(0).randn(1, 3, 64, 64).astype(np.float32))
    before = [values.asnumpy() for values in network(x)]
    portable = with_gathers(network)
    assert list(network.parameters_dict()) == names and sorted(portable.parameters_dict()) == sorted(names)
    assert all(name == parameter.name for net in (network, portable) for name, parameter in net.parameters_and_names())
    for values, expected in zip(network(x), before):
        np.testing.assert_array_equal(values.asnumpy(), expected)
