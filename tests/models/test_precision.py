"""Networks in half precision: what computes in it, and what does not."""
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from centernet.errors import UserError
from centernet.models.centernet import build_centernet
from centernet.models.heads import Heads
from centernet.models.precision import lower, precision_of
from tests.golden_weights import PLAIN

DEFORM = replace(PLAIN, backbone="resnet18", block_class=(1, 1, 1, 1), neck="deform", neck_filters=(16, 16, 16),
                 head_conv=8)


@pytest.mark.parametrize(("level", "device", "precision"), [
    ("O0", "Ascend", "float32"), ("O2", "Ascend", "bfloat16"), ("auto", "Ascend", "bfloat16"),
    ("auto", "CPU", "float32")])
def test_the_level_and_the_device_determine_the_precision(level, device, precision):
    assert precision_of(level, "bfloat16", device) == precision


def test_what_is_compared_with_float32_is_float32_unless_chosen():
    assert precision_of("auto", "float16", "Ascend", exact=True) == "float32"
    assert precision_of("O2", "float16", "Ascend", exact=True) == "float16"


def test_a_precision_without_kernels_is_refused():
    with pytest.raises(UserError, match="amp_type bfloat16 needs --device_target Ascend"):
        precision_of("O2", "bfloat16", "CPU")
    assert precision_of("O2", "float16", "CPU") == "float16"


def build(deform_op="auto", neck="deform"):
    ms.set_seed(3)
    network = build_centernet(replace(DEFORM, deform_op=deform_op, neck=neck), 3)
    random = np.random.RandomState(0)
    for parameter in network.get_parameters():
        if ".offset." in parameter.name:  # otherwise all positions are whole numbers
            parameter.set_data(Tensor(random.normal(0, 0.05, parameter.shape).astype(np.float32)))
    return network.set_train(False)


def image():
    return Tensor(np.random.RandomState(1).standard_normal((2, 3, 64, 96)).astype(np.float32))


@pytest.mark.usefixtures("layer_by_layer")
@pytest.mark.parametrize(("deform_op", "neck"), [
    ("native", "deform"), ("gather", "deform"), ("native", "shortcut"),
    pytest.param("gather", "shortcut_deform", marks=pytest.mark.slow)])
def test_maps_are_close_and_in_float32(deform_op, neck):
    network = build(deform_op, neck)
    expected = [maps.asnumpy() for maps in network(image())]
    lower(network, "float16")
    found = network(image())
    for maps, exact in zip(found, expected):
        assert maps.dtype == ms.float32
        difference = np.abs(maps.asnumpy() - exact).max() / np.abs(exact).max()
        assert 1e-6 < difference < 0.02
    assert all(parameter.dtype == ms.float32 for parameter in network.get_parameters())


@pytest.mark.usefixtures("layer_by_layer")
def test_what_computes_in_which_precision():
    network, found = build("gather"), {}
    lower(network, "float16")
    for name, cell in network.cells_and_names():
        if isinstance(cell, (nn.Conv2d, nn.Conv2dTranspose, nn.BatchNorm2d)):
            cell.register_forward_hook(lambda cell, inputs, output, name=name: found.update({name: output.dtype}))
    network(image())
    exact = {name for name, dtype in found.items() if dtype == ms.float32}
    assert exact == {"heads.hm.2", "heads.wh.2", "heads.reg.2",
                     *(f"neck.{index}.before.0.offset" for index in range(3))}
    assert len(found) > 30


@pytest.mark.usefixtures("layer_by_layer")
def test_distances_are_computed_in_float32():
    """The last convolution, its ReLU and the scale: values of 300 cells keep their fractions."""
    heads = Heads(16, 3, 8, False, False, "ltrb")
    lower(heads, "float16")
    heads.ltrb[-1].bias.set_data(Tensor(np.full(4, 75.0625, np.float32)))
    hm, ltrb = heads(Tensor(np.zeros((1, 16, 4, 4), np.float16)))
    assert hm.dtype == ltrb.dtype == ms.float32 and (ltrb.asnumpy() == 300.25).all()
    assert heads.ltrb[0](Tensor(np.zeros((1, 16, 4, 4), np.float32))).dtype == ms.float16


def test_batch_norm_of_float16_has_statistics_of_float32():
    """A mean of 300 and a deviation of 0.5: in float16, the variance would be wrong in the first digit."""
    layer = nn.BatchNorm2d(2, momentum=0.0).set_train()
    x = (np.random.RandomState(0).normal(300, 0.5, (4, 2, 32, 32))).astype(np.float16)
    found = layer(Tensor(x)).asnumpy()
    exact = x.astype(np.float64)
    mean, deviation = exact.mean((0, 2, 3)), exact.std((0, 2, 3))
    np.testing.assert_allclose(found, (exact - mean[:, None, None]) / deviation[:, None, None], atol=5e-3)
    assert found.dtype == np.float16
    np.testing.assert_allclose(layer.moving_mean.asnumpy(), mean, rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance.asnumpy(), deviation ** 2, rtol=2e-2)
