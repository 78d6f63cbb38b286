from contextlib import nullcontext
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from mindspore.nn.utils import no_init_parameters

from centernet.device import eager
from centernet.models.centernet import build_centernet
from centernet.models.deform_conv import DeformConv
from centernet.models.resnet import ResNet, StemPool, stem_pooling
from centernet.models.upsample import up_convolution
from tests.golden_weights import PLAIN

SMALL = replace(PLAIN, block_class=(1, 1, 1, 1), neck_filters=(16, 12, 8), head_conv=8)


def count(build):
    """Trainable values of the cell that build() makes."""
    with no_init_parameters():
        return sum(parameter.size for parameter in build().trainable_params())


def run(network, size, batch=1, compiled=False):
    network.set_train(False)
    with nullcontext() if compiled else eager():
        return network(Tensor(np.random.RandomState(0).randn(batch, 3, *size).astype(np.float32)))


@pytest.mark.parametrize(("size", "expected"), [((64, 96), (16, 24)), ((72, 100), (24, 32)), ((32, 32), (8, 8))])
@pytest.mark.parametrize("stem_pool", ["pad", "same"])
def test_maps_are_a_quarter_of_the_next_multiple_of_32(size, expected, stem_pool):
    network = build_centernet(replace(SMALL, stem_pool=stem_pool), 3)
    hm, wh, reg = run(network, size, batch=2, compiled=size == (72, 100))
    assert (hm.shape, wh.shape, reg.shape) == ((2, 3, *expected), (2, 2, *expected), (2, 2, *expected))


# Published: torchvision's counts without the classifier (512 or 2048 inputs, 1000 classes).
@pytest.mark.parametrize(("name", "params"), [
    ("resnet18", 11_689_512 - 513_000), ("resnet34", 21_797_672 - 513_000), ("resnet50", 25_557_032 - 2_049_000),
    ("resnet101", 44_549_160 - 2_049_000), ("resnet152", 60_192_808 - 2_049_000)])
def test_backbones_have_the_published_number_of_parameters(name, params):
    assert count(lambda: ResNet(name)) == params


def test_network_of_the_published_model_zoo_checkpoint():
    net = replace(PLAIN, backbone="resnet50", neck_filters=(256, 128, 64))
    # Its 392 MB hold every parameter three times (Adam's moments).
    assert count(lambda: build_centernet(net, 80)) * 3 * 4 / 1e6 == pytest.approx(392, abs=1)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_block_class_replaces_the_blocks_of_each_stage(backbone):
    blocks = ResNet(backbone, (1, 2, 3, 1))
    assert [len(stage) for stage in (blocks.layer1, blocks.layer2, blocks.layer3, blocks.layer4)] == [1, 2, 3, 1]


def test_blocks_of_another_depth_make_that_network():
    assert count(lambda: ResNet("resnet50", (3, 4, 23, 3))) == 44_549_160 - 2_049_000  # ResNet-101


def test_head_options():
    network = build_centernet(replace(SMALL, cat_spec_wh=True, reg_offset=False, head_conv=0), 3)
    hm, wh = run(network, (32, 32))
    assert hm.shape[1] == 3 and wh.shape[1] == 6
    names = {name for name, _ in network.parameters_and_names() if name.startswith("heads.")}
    assert names == {"heads.hm.0.weight", "heads.hm.0.bias", "heads.wh.0.weight", "heads.wh.0.bias"}
    assert network.heads.hm[0].weight.shape == (3, 8, 1, 1)


def test_the_head_of_distances():
    network = build_centernet(replace(SMALL, box_head="ltrb", reg_offset=False), 3)
    hm, ltrb = run(network, (32, 32))
    assert hm.shape[1] == 3 and ltrb.shape[1] == 4
    np.testing.assert_allclose(ltrb, 8, atol=0.1)  # boxes of 64 pixels; every ReLU has a gradient
    last = network.heads.ltrb[-1]
    last.bias.set_data(ms.Tensor(np.array([-1, 0, 0.25, 3], np.float32)))
    last.weight.set_data(last.weight * 0)
    assert run(network, (32, 32))[1][0, :, 3, 5].tolist() == [0, 0, 1, 12]
    assert {name.split(".")[1] for name in network.parameters_dict() if name.startswith("heads.")} == {"hm", "ltrb"}


def test_parameter_names_are_those_of_their_cells():
    for kind in ("none", "conv", "deform", "shortcut", "shortcut_deform"):
        network = build_centernet(replace(SMALL, neck=kind), 3)
        prefixes = {name.split(".")[0] for name, _ in network.parameters_and_names()}
        assert prefixes == {"backbone", "neck", "heads"}
        assert all(name == parameter.name for name, parameter in network.parameters_and_names())
        assert ("neck.0.before.0.offset.weight" in network.parameters_dict()) == (kind == "deform")


@pytest.mark.parametrize("size", [(8, 8), (9, 12)])
def test_stem_pooling(size, layer_by_layer):
    x = np.random.RandomState(1).rand(1, 1, *size).astype(np.float32)
    for kind, before in (("pad", 1), ("same", None)):
        ours = stem_pooling(kind)(Tensor(x)).asnumpy()[0, 0]
        height, width = ours.shape
        assert (height, width) == (-(-size[0] // 2), -(-size[1] // 2))
        # "same" adds all of an odd padding at the end
        top, left = (before, before) if before else [max(2 * ((s - 1) // 2) + 3 - s, 0) // 2 for s in size]
        padded = np.pad(x[0, 0], ((top, 3), (left, 3)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))[::2, ::2][:height, :width]
        np.testing.assert_array_equal(ours, windows.max((2, 3)))


@pytest.mark.parametrize("size", [(8, 8), (9, 12)])
def test_the_stem_pools_alike_on_every_device(layer_by_layer, size):
    """In training the CPU has a way of its own; here both run: same values, and same gradients before the ReLU."""
    random = np.random.RandomState(1)
    x = random.randn(2, 3, *size).astype(np.float32) - 0.5  # many zeros after the ReLU, whole windows of them too
    weight = Tensor(random.randn(2, 3, -(-size[0] // 2), -(-size[1] // 2)).astype(np.float32))

    def both(on_cpu):
        pool = StemPool().set_train()
        pool.on_cpu = on_cpu
        gradient = ms.grad(lambda image: (pool(ops.relu(image)) * weight).sum())(Tensor(x))
        return pool(ops.relu(Tensor(x))).asnumpy(), gradient.asnumpy()

    (values, gradients), (other_values, other_gradients) = both(True), both(False)
    assert (values == 0).any() and np.count_nonzero(gradients) > 10
    np.testing.assert_array_equal(values, other_values)
    np.testing.assert_allclose(gradients, other_gradients, rtol=1e-6, atol=1e-6)


def test_initial_scores_are_a_tenth():
    # Scores of an untrained network: the heads' small weights leave the bias.
    network = build_centernet(PLAIN, 3)
    hm, wh, reg = run(network, (64, 64))
    assert np.allclose(network.heads.hm[2].bias.asnumpy(), -2.19)
    assert 0.01 < float(hm.sigmoid().mean()) < 0.3
    assert np.abs(wh.asnumpy()).max() < 0.5 and np.abs(reg.asnumpy()).max() < 0.5


def test_features_neither_vanish_nor_explode_at_the_start():
    features = run(ResNet("resnet34"), (64, 64)).asnumpy()
    assert 0.1 < features.std() < 1000


def test_seed_determines_the_weights():
    def weights(seed):
        ms.set_seed(seed)
        network = build_centernet(replace(SMALL, neck="deform"), 3)
        return {name: parameter.asnumpy() for name, parameter in network.parameters_and_names()}

    first, again, other = weights(4), weights(4), weights(5)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["neck.0.up.0.weight"], other["neck.0.up.0.weight"])
    for one, two in (("backbone.layer1.0.conv1.weight", "backbone.layer1.0.conv2.weight"),
                     ("heads.wh.0.weight", "heads.reg.0.weight")):
        assert not np.array_equal(first[one], first[two]), "two layers of one shape start equal"


def test_up_convolution_interpolates(layer_by_layer):
    layer = up_convolution(5, 3)
    ones = layer(Tensor(np.ones((1, 5, 4, 4), np.float32))).asnumpy()[0]
    inside = ones[:, 1:-1, 1:-1]
    np.testing.assert_allclose(inside, inside[:, :1, :1] + np.zeros_like(inside), rtol=1e-5, atol=1e-6)
    ramp = layer(Tensor(np.arange(6, dtype=np.float32) + np.zeros((1, 5, 6, 6), np.float32))).asnumpy()[0]
    np.testing.assert_allclose(np.diff(ramp[:, 2:-2, 2:-2], 2, axis=2), 0, atol=1e-5)


def test_new_deformable_convolution_is_half_a_convolution(layer_by_layer):
    layer = DeformConv(4, 6)
    x = Tensor(np.random.RandomState(2).randn(2, 4, 7, 5).astype(np.float32))
    expected = 0.5 * ops.conv2d(x, layer.weight, pad_mode="pad", padding=1)
    np.testing.assert_allclose(layer(x).asnumpy(), expected.asnumpy(), rtol=1e-4, atol=1e-5)


def test_deformable_convolution_moves_its_taps(layer_by_layer):
    """An offset of (x 1, y 2) for all taps reads the image from there; masks fully open."""
    layer = DeformConv(1, 1)
    layer.offset.bias.set_data(Tensor(np.repeat([1, 2, 50], 9).astype(np.float32)))
    x = np.random.RandomState(2).randn(1, 1, 8, 8).astype(np.float32)
    moved = np.zeros_like(x)
    moved[..., :6, :7] = x[..., 2:, 1:]
    plain = ops.conv2d(Tensor(moved), layer.weight, pad_mode="pad", padding=1).asnumpy()
    # Away from the top and left edges, where the moved image lacks the row and column before it.
    np.testing.assert_allclose(layer(Tensor(x)).asnumpy()[..., 1:, 1:], plain[..., 1:, 1:], rtol=1e-4, atol=1e-5)


def test_every_parameter_of_the_deformable_network_gets_a_gradient():
    network = build_centernet(replace(SMALL, neck="deform"), 3)
    network.set_train(True)
    x = Tensor(np.random.RandomState(0).randn(2, 3, 64, 64).astype(np.float32))

    def loss(image):
        hm, wh, reg = network(image)
        return hm.square().sum() + (wh - 1).square().sum() + (reg - 1).square().sum()

    value, gradients = ms.value_and_grad(loss, None, network.trainable_params())(x)
    assert np.isfinite(float(value))
    for parameter, gradient in zip(network.trainable_params(), gradients):
        values = gradient.asnumpy()
        assert np.isfinite(values).all() and values.any(), parameter.name


@pytest.mark.slow  # tests/export/test_mindir.py exports one with decoding
def test_exported_deformable_network_gives_the_same_maps(tmp_path):
    network = build_centernet(replace(SMALL, neck="deform"), 3)
    for stage in network.neck:
        bias = stage.before[0].offset.bias
        bias.set_data(Tensor(np.random.RandomState(3).uniform(-1, 1, bias.shape).astype(np.float32)))
    network.set_train(False)
    x = Tensor(np.random.RandomState(0).randn(1, 3, 64, 96).astype(np.float32))
    ms.export(network, x, file_name=str(tmp_path / "net"), file_format="MINDIR")
    loaded = nn.GraphCell(ms.load(str(tmp_path / "net.mindir")))
    for ours, theirs in zip(network(x), loaded(x)):
        np.testing.assert_allclose(theirs.asnumpy(), ours.asnumpy(), rtol=1e-4, atol=1e-5)
