from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from centernet.device import eager
from centernet.models.heads import gather_pairs
from centernet.training.losses.terms import EPS, DetectionLoss, focal_loss, l1_loss, relative_l1_loss, smooth_l1_loss
from tests.golden_weights import PLAIN


def focal(logits, hm):
    total, centres = focal_loss(logits, hm)
    return total / ms.ops.maximum(centres, 1.0)


@pytest.mark.parametrize(("case", "factor"), [("focal", 1.0), ("focal_nopos", 0.5)])
def test_focal_loss_and_gradient_equal_official_code(case, factor, golden):
    """The file's case without centres is the same map times 0.5."""
    arrays = golden("losses")
    hm = Tensor(arrays["hm"] * np.float32(factor))
    loss, gradient = ms.value_and_grad(focal)(Tensor(arrays["logits"]), hm)
    np.testing.assert_allclose(loss.asnumpy(), arrays[case], rtol=1e-5)
    expected = arrays[f"g{case}"]
    np.testing.assert_allclose(gradient.asnumpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_focal_loss_is_finite_and_flat_at_saturated_logits():
    logits = np.array([-1e4, -9.3, -9.1, 9.1, 9.3, 1e4], np.float32).reshape(1, 1, 1, 6)
    for target in (0.0, 1.0):
        loss, gradient = ms.value_and_grad(focal)(Tensor(logits), Tensor(np.full_like(logits, target)))
        assert np.isfinite(float(loss))
        flat = gradient.asnumpy().ravel() == 0
        assert flat[[0, 1, 4, 5]].all() and not flat[2 if target else 3]


# The file's relative loss was made with the targets plus 1, which keeps divisors away from 0.
@pytest.mark.parametrize(("case", "loss_of", "shift"), [("l1", l1_loss, 0), ("sl1", smooth_l1_loss, 0),
                                                        ("norm_l1", relative_l1_loss, 1)])
def test_regression_losses_and_gradients_equal_official_code(case, loss_of, shift, golden):
    arrays = golden("losses")
    ind, mask = Tensor(arrays["ind"].astype(np.int32)), Tensor(arrays["mask"].astype(np.float32)[..., None])
    target = Tensor(arrays["target"] + np.float32(shift))

    def run(predicted):
        total, count = loss_of(gather_pairs(predicted, ind), target, mask)
        return total / (count + EPS)

    loss, gradient = ms.value_and_grad(run)(Tensor(arrays["pred"]))
    np.testing.assert_allclose(loss.asnumpy(), arrays[f"reg_{case}"], rtol=1e-5)
    expected = arrays[f"greg_{case}"]
    np.testing.assert_allclose(gradient.asnumpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("loss_of", [l1_loss, smooth_l1_loss, relative_l1_loss])
def test_regression_losses_without_objects_are_zero(loss_of, golden):
    pairs = Tensor(golden("losses")["target"])
    total, count = loss_of(pairs, Tensor(np.zeros(pairs.shape, np.float32)),
                           Tensor(np.zeros((2, 128, 1), np.float32)))
    assert float(total) == float(count) == golden("losses")["reg_l1_empty"] == 0


def batch(num_classes=3, size=(6, 8)):
    """Outputs and targets of two images; the second has one object, slots 2.. are unused."""
    random = np.random.RandomState(5)
    outputs = [random.randn(2, channels, *size).astype(np.float32) for channels in (num_classes, 2, 2)]
    targets = {"hm": random.uniform(0, 0.9, (2, num_classes, *size)).astype(np.float32),
               "cls": np.array([[0, 2, 0], [1, 0, 0]], np.int32), "ind": np.array([[9, 30, 0], [47, 0, 0]], np.int32),
               "wh": random.uniform(1, 5, (2, 3, 2)).astype(np.float32),
               "reg": random.uniform(0, 1, (2, 3, 2)).astype(np.float32),
               "reg_mask": np.array([[1, 1, 0], [1, 0, 0]], np.int32)}
    targets["hm"][0, 0].flat[9] = targets["hm"][0, 2].flat[30] = targets["hm"][1, 1].flat[47] = 1
    return outputs, targets


def run_loss(net, outputs, targets, **more):
    """Layer by layer: test_loss_network.py compiles each of these losses."""
    with eager():
        losses = DetectionLoss(net)(tuple(map(Tensor, outputs)), *map(Tensor, targets.values()), **more)
        return [float(loss) for loss in losses]


def at_objects(maps, targets, channels=(0, 1)):
    """(objects, 2) values of an output's two channels at the objects' cells."""
    return np.array([[maps[b, c].flat[targets["ind"][b, k]] for c in channels]
                     for b, k in np.argwhere(targets["reg_mask"])])


def test_weights_of_the_sum():
    outputs, targets = batch()
    net = replace(PLAIN, hm_weight=2.0, wh_weight=3.0, off_weight=5.0)
    loss, hm, wh, off = run_loss(net, outputs, targets)
    assert min(hm, wh, off) > 0 and loss == pytest.approx(2 * hm + 3 * wh + 5 * off, rel=1e-6)
    kept = targets["reg_mask"] == 1
    assert wh == pytest.approx(np.abs(at_objects(outputs[1], targets) - targets["wh"][kept]).sum() / 6.0001, rel=1e-5)
    assert off == pytest.approx(np.abs(at_objects(outputs[2], targets) - targets["reg"][kept]).sum() / 6.0001,
                                rel=1e-5)


def test_without_offsets_the_offset_loss_is_zero():
    outputs, targets = batch()
    loss, hm, wh, off = run_loss(replace(PLAIN, reg_offset=False), outputs[:2], targets)
    assert off == 0 and loss == pytest.approx(hm + 0.1 * wh, rel=1e-6)


def test_smooth_l1_is_chosen_for_sizes_and_offsets():
    outputs, targets = batch()
    *_, wh, off = run_loss(replace(PLAIN, reg_loss="sl1"), outputs, targets)
    kept = targets["reg_mask"] == 1
    for loss, output, name in ((wh, outputs[1], "wh"), (off, outputs[2], "reg")):
        error = np.abs(at_objects(output, targets) - targets[name][kept])
        assert loss == pytest.approx(np.where(error < 1, error**2 / 2, error - 0.5).sum() / 3.0001, rel=1e-5)


def test_relative_sizes():
    outputs, targets = batch()
    wh = run_loss(replace(PLAIN, norm_wh=True), outputs, targets)[2]
    kept = targets["reg_mask"] == 1
    error = np.abs(at_objects(outputs[1], targets) / (targets["wh"][kept] + 1e-4) - 1)
    assert wh == pytest.approx(error.sum() / 6.0001, rel=1e-5)


def test_sizes_of_each_category():
    outputs, targets = batch()
    outputs[1] = np.random.RandomState(6).randn(2, 6, 6, 8).astype(np.float32)
    wh = run_loss(replace(PLAIN, cat_spec_wh=True), outputs, targets)[2]
    expected = 0.0
    for b, k in np.argwhere(targets["reg_mask"]):
        cls, ind = targets["cls"][b, k], targets["ind"][b, k]
        expected += sum(abs(outputs[1][b, 2 * cls + c].flat[ind] - targets["wh"][b, k, c]) for c in (0, 1))
    assert wh == pytest.approx(expected / 6.0001, rel=1e-5)


def test_mean_squared_error_compares_scores():
    outputs, targets = batch()
    hm = run_loss(replace(PLAIN, mse_loss=True), outputs, targets)[1]
    assert hm == pytest.approx(((1 / (1 + np.exp(-outputs[0])) - targets["hm"]) ** 2).mean(), rel=1e-5)


def test_dense_sizes_weigh_each_cell_by_the_strongest_heatmap():
    outputs, targets = batch()
    radius = np.array([[1, 0, 0], [2, 0, 0]], np.int32)
    # The cells of each object's Gaussian; the rest of the map gets no weight.
    near = np.zeros((2, 6, 8), int) - 1
    near[0, 0:3, 0:3] = 0
    near[0].flat[30] = 1
    near[1, 3:6, 5:8] = 0
    targets["hm"][np.broadcast_to((near < 0)[:, None], targets["hm"].shape)] = 0
    loss = run_loss(replace(PLAIN, dense_wh=True), outputs, targets, radius=Tensor(radius))[2]
    weight = targets["hm"].max(1)
    expected = sum(weight[b, y, x] * np.abs(outputs[1][b, :, y, x] - targets["wh"][b, near[b, y, x]]).sum()
                   for b, y, x in np.argwhere(near >= 0))
    assert loss == pytest.approx(expected / (2 * weight.sum() + 1e-4), rel=1e-5)


def test_losses_are_float32_for_float16_outputs():
    outputs, targets = batch()
    halves = tuple(Tensor(output, ms.float16) for output in outputs)
    for loss in DetectionLoss(PLAIN)(halves, *map(Tensor, targets.values())):
        assert loss.dtype == ms.float32 and np.isfinite(float(loss))
