"""The neck with shortcuts against NumPy in float64, written from its formula."""
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from centernet.models.centernet import build_centernet
from centernet.models.resnet import ResNet
from centernet.models.shortcut import bilinear
from tests.golden_weights import PLAIN

SMALL = replace(PLAIN, block_class=(1, 1, 1, 1), neck="shortcut", neck_filters=(16, 12, 8), head_conv=8)


def build(net=SMALL, **changes):
    """A network whose norms, biases and offsets do something, in evaluation mode."""
    network = build_centernet(replace(net, **changes), 3)
    random = np.random.RandomState(5)
    for parameter in network.get_parameters():
        spread = 0.02 if parameter.name.endswith("offset.weight") else 0.5
        if parameter.name.endswith((".bias", ".beta", ".moving_mean", ".offset.weight")):
            parameter.set_data(Tensor(random.normal(0, spread, parameter.shape).astype(np.float32)))
        elif parameter.name.endswith((".gamma", ".moving_variance")):
            parameter.set_data(Tensor(random.uniform(0.5, 1.5, parameter.shape).astype(np.float32)))
    return network.set_train(False)


def image(height, width, batch=1):
    return Tensor(np.random.RandomState(0).randn(batch, 3, height, width).astype(np.float32))


def convolve(x, weight, bias):
    """3x3 convolution of (B,C,H,W) with a border of zeros."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return np.einsum("bchwij,ocij->bohw", windows, weight, optimize=True) + bias[:, None, None]


def deform(x, offset_weight, offset_bias, weight, bias):
    """Modulated deformable 3x3 convolution: each tap reads at its moved position, 0 outside, times its mask."""
    batch, channels, height, width = x.shape
    predicted = convolve(x, offset_weight, offset_bias)
    out = np.zeros((batch, len(weight), height, width)) + bias[:, None, None]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for tap in range(9):
        column = np.arange(width) + tap % 3 - 1 + predicted[:, tap]
        row = np.arange(height)[:, None] + tap // 3 - 1 + predicted[:, 9 + tap]
        read = np.zeros_like(x)
        for dy in (0, 1):
            for dx in (0, 1):
                y, x_ = np.floor(row) + dy, np.floor(column) + dx
                share = (1 - np.abs(row - y)) * (1 - np.abs(column - x_))
                y, x_ = np.clip(y, -1, height).astype(int) + 1, np.clip(x_, -1, width).astype(int) + 1
                read += share[:, None] * np.stack([padded[b][:, y[b], x_[b]] for b in range(batch)])
        mask = 1 / (1 + np.exp(-predicted[:, 18 + tap]))
        out += np.einsum("bchw,oc->bohw", read * mask[:, None], weight[:, :, tap // 3, tap % 3], optimize=True)
    return out


def enlarged(x):
    """Linear interpolation by 2 along both axes: the middle of output j lies at (j + 1/2) / 2 - 1/2."""
    for axis in (2, 3):
        size = x.shape[axis]
        position = (np.arange(2 * size) + 0.5) / 2 - 0.5
        lower = np.floor(position).astype(int)
        share = np.expand_dims(position - lower, tuple(range(1, 4 - axis)))
        padded = np.pad(x, [(1, 1) if one == axis else (0, 0) for one in range(4)])  # beyond the border: zeros
        x = (1 - share) * np.take(padded, lower + 1, axis) + share * np.take(padded, lower + 2, axis)
    return x


def neck(values, levels, kind):
    """The neck of the formula: values are parameters without "neck.", levels begin with the finest."""
    x = levels[3]
    for stage in range(3):
        def of(name, stage=stage):
            return values[f"stages.{stage}.{name}"]

        if kind == "shortcut":
            x = convolve(x, of("mix.0.weight"), np.zeros(len(of("mix.0.weight"))))
        else:
            x = deform(x, of("mix.0.offset.weight"), of("mix.0.offset.bias"), of("mix.0.weight"), of("mix.0.bias"))
        scale = of("mix.1.gamma") / np.sqrt(of("mix.1.moving_variance") + 1e-5)
        x = (x - of("mix.1.moving_mean")[:, None, None]) * scale[:, None, None] + of("mix.1.beta")[:, None, None]
        fine = levels[2 - stage]
        fine = np.einsum("bchw,oc->bohw", fine, of("shortcut.0.weight")[:, :, 0, 0])
        fine = fine + of("shortcut.0.bias")[:, None, None]
        fine = convolve(np.maximum(fine, 0), of("shortcut.2.weight"), of("shortcut.2.bias"))
        x = enlarged(np.maximum(x, 0)) + fine
    return x


def test_the_reference_enlarges_a_ramp():
    """The formula by hand: between 2 and 5 lie 2 + 3/4 and 2 + 9/4; beyond the border is zero."""
    column = np.array([[[[2.0], [5.0]]]])
    expected = np.array([1.5, 2.75, 4.25, 3.75])
    np.testing.assert_allclose(enlarged(column)[0, 0], expected[:, None] * [0.75, 0.75])


def test_enlarging_is_bilinear(layer_by_layer):
    x = np.random.RandomState(1).randn(2, 3, 3, 5)
    found = bilinear(3)(Tensor(x.astype(np.float32))).asnumpy()
    np.testing.assert_allclose(found, enlarged(x), atol=1e-6)


@pytest.mark.parametrize(("backbone", "size", "kind"), [
    ("resnet18", (64, 96), "shortcut"), ("resnet50", (32, 64), "shortcut"), ("dla34", (96, 32), "shortcut_deform"),
    *[pytest.param(backbone, size, kind, marks=pytest.mark.slow) for backbone, size, kind in (
        ("resnet18", (64, 96), "shortcut_deform"), ("resnet50", (32, 64), "shortcut_deform"),
        ("dla34", (96, 32), "shortcut"))]])
def test_maps_are_those_of_the_formula(layer_by_layer, backbone, size, kind):
    blocks = (1, 1, 1, 1) if backbone != "dla34" else ()
    network = build(backbone=backbone, block_class=blocks, neck=kind)
    values = {name.removeprefix("neck."): parameter.asnumpy().astype(np.float64)
              for name, parameter in network.parameters_and_names() if name.startswith("neck.")}
    x = image(*size, batch=2)
    levels = network.backbone(x)
    height, width = size
    assert [level.shape[2:] for level in levels] == [(height // by, width // by) for by in (4, 8, 16, 32)]
    expected = neck(values, [level.asnumpy().astype(np.float64) for level in levels], kind)
    assert expected.shape == (2, 8, height // 4, width // 4)
    found = network.neck(levels).asnumpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    maps = network.heads(Tensor(expected.astype(np.float32)))
    for ours, reference in zip(network(x), maps):
        np.testing.assert_allclose(ours.asnumpy(), reference.asnumpy(), atol=1e-4 * np.abs(reference.asnumpy()).max())


def test_the_levels_are_the_stages_of_the_default_backbone(layer_by_layer):
    ms.set_seed(2)
    plain = ResNet("resnet18", (1, 1, 1, 1)).set_train(False)
    every = ResNet("resnet18", (1, 1, 1, 1), every_level=True).set_train(False)
    ms.load_param_into_net(every, plain.parameters_dict())
    x = image(64, 64)
    levels = every(x)
    np.testing.assert_array_equal(levels[3].asnumpy(), plain(x).asnumpy())
    np.testing.assert_array_equal(plain.layer4(plain.layer3(plain.layer2(levels[0]))).asnumpy(), plain(x).asnumpy())
    assert [level.shape[1] for level in levels] == [plain.out_channels // factor for factor in (8, 4, 2, 1)]


@pytest.mark.parametrize("kind", ["shortcut", pytest.param("shortcut_deform", marks=pytest.mark.slow)])
def test_every_parameter_gets_a_gradient(layer_by_layer, kind):
    network = build(neck=kind).set_train(True)
    x = image(64, 64, batch=2)

    def loss(image):
        hm, wh, reg = network(image)
        return hm.square().sum() + (wh - 1).square().sum() + (reg - 1).square().sum()

    value, gradients = ms.value_and_grad(loss, None, network.trainable_params())(x)
    assert np.isfinite(float(value))
    for parameter, gradient in zip(network.trainable_params(), gradients):
        values = gradient.asnumpy()
        assert np.isfinite(values).all() and values.any(), parameter.name
