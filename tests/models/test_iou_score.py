"""net_config.iou_score: the score is the square root of the product of the heatmap's score and the predicted IoU."""
from dataclasses import replace
from decimal import Decimal, localcontext

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from centernet.device import eager
from centernet.models.centernet import StackedCenterNet, build_centernet
from centernet.models.heads import Heads, joint_logits
from centernet.models.precision import lower
from tests.golden_weights import PLAIN

NET = replace(PLAIN, block_class=(1, 1, 1, 1), neck_filters=(16, 12, 8), head_conv=8, box_head="ltrb",
              reg_offset=False, iou_score=True)


def reference(hm, iou):
    """The score and its logit, from the definition with 60 digits."""
    with localcontext() as context:
        context.prec = 60
        p, q = (1 / (1 + (-Decimal(float(logit))).exp()) for logit in (hm, iou))
        score = (p * q).sqrt()
        return float(score), float((score / (1 - score)).ln())


def references(hm, iou):
    """Arrays of the score and its logit; iou has one channel for all of hm's."""
    pairs = np.nditer(np.broadcast_arrays(hm, iou))
    return (np.reshape(values, hm.shape) for values in zip(*(reference(*pair) for pair in pairs)))


def require_scores(found, hm, iou):
    score, logit = references(hm, iou)
    np.testing.assert_allclose(1 / (1 + np.exp(-found.astype(np.float64))), score, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found, logit, rtol=2e-6, atol=2e-6)


def test_logits_equal_the_reference():
    """Also where a sigmoid of float32 is exactly 1, or its product with another one is 0."""
    random = np.random.default_rng(0)
    some = np.array([-88, -60, -30, -17, -9.2, -3, -1e-3, 0, 1e-3, 1, 9.2, 17, 30, 60, 88], np.float32)
    cases = [(some.reshape(1, -1, 1, 1), some.reshape(-1, 1, 1, 1)),
             (random.normal(0, 6, (2, 3, 9, 11)).astype(np.float32), random.normal(0, 6, (2, 1, 9, 11)))]
    for hm, iou in cases:
        hm, iou = np.broadcast_to(hm, (len(iou), *hm.shape[1:])).copy(), iou.astype(np.float32)
        with eager():
            found = joint_logits(Tensor(hm), Tensor(iou))
        assert found.dtype == ms.float32 and found.shape == hm.shape
        require_scores(found.asnumpy(), hm, iou)


@pytest.mark.usefixtures("layer_by_layer")
@pytest.mark.parametrize("training", [False, True])
def test_maps_of_the_network(training):
    """Whoever detects gets two maps, the losses get three; the mode of training does not matter."""
    network = build_centernet(NET, 3)
    for parameter in network.heads.get_parameters():
        if parameter.name.endswith("weight"):  # else all values are alike
            values = np.random.default_rng(1).normal(0, 0.5, parameter.shape)
            parameter.set_data(Tensor(values.astype(np.float32)))
    for _, cell in network.cells_and_names():
        if isinstance(cell, nn.BatchNorm2d):
            cell.use_batch_statistics = False
    network.set_train(training)
    image = Tensor(np.random.default_rng(0).standard_normal((2, 3, 64, 32)).astype(np.float32))
    hm, ltrb = (maps.asnumpy() for maps in network(image))
    (raw,) = network.of_each_stack(image)
    logits, same, iou = (maps.asnumpy() for maps in raw)
    assert (hm.shape, ltrb.shape, iou.shape) == ((2, 3, 16, 8), (2, 4, 16, 8), (2, 1, 16, 8))
    assert np.ptp(iou) > 0.1
    np.testing.assert_array_equal(ltrb, same)
    require_scores(hm, logits, iou)
    assert {name.split(".")[1] for name in network.parameters_dict() if name.startswith("heads.")} == {
        "hm", "ltrb", "iou"}


@pytest.mark.usefixtures("layer_by_layer")
def test_the_last_stack_detects_with_its_own_iou():
    class Twice(nn.Cell):
        def construct(self, x):
            return x, x * 2

    heads = [Heads(4, 3, 8, False, False, "ltrb", True) for _ in range(2)]
    network = StackedCenterNet(Twice(), heads)
    x = Tensor(np.random.default_rng(0).standard_normal((1, 4, 4, 4)).astype(np.float32))
    stacks = network.of_each_stack(x)
    assert [len(maps) for maps in stacks] == [3, 3]
    require_scores(network(x)[0].asnumpy(), stacks[1][0].asnumpy(), stacks[1][2].asnumpy())


@pytest.mark.usefixtures("layer_by_layer")
def test_the_score_is_computed_in_float32():
    """In float16, a logit of 9 has steps of 0.008."""
    heads, biases = Heads(16, 3, 8, False, False, "ltrb", True), {"hm": 8.0011, "iou": 9.0013}
    lower(heads, "float16")
    for name, value in biases.items():
        bias = getattr(heads, name)[-1].bias
        bias.set_data(Tensor(np.full(bias.shape, value, np.float32)))
    x = Tensor(np.zeros((1, 16, 2, 2), np.float16))
    hm, _ = heads(x)
    assert {maps.dtype for maps in (hm, *heads.raw(x))} == {ms.float32}
    assert heads.iou[0](x).dtype == ms.float16
    require_scores(hm.asnumpy(), *(np.full((1, 3, 2, 2), value, np.float32) for value in biases.values()))
