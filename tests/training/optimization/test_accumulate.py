"""A step whose batch runs in parts is that of the whole batch, with the batch norm frozen."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from centernet.data.pipeline import COLUMNS
from centernet.device import eager
from tests.tiny_training import changed, detector_step, run, settings, values

OPTIONS = {"default": (), "cat_spec_wh": ("--net_config.cat_spec_wh", "true"),
           "dense_wh": ("--net_config.dense_wh", "true"), "norm_wh": ("--net_config.norm_wh", "true"),
           "smooth": ("--net_config.reg_loss", "sl1"), "mse": ("--net_config.mse_loss", "true"),
           "ltrb": ("--net_config.box_head", "ltrb", "--net_config.hm_gaussian", "ellipse"),
           "iou score": ("--net_config.box_head", "ltrb", "--net_config.iou_score", "true"),
           "no reg": ("--net_config.reg_offset", "false")}


def build(accumulate, *flags):
    ms.set_seed(1)
    config = settings("--train_config.accumulate", str(accumulate), *flags)
    step = detector_step(config)
    for _, cell in step.cells_and_names():
        if type(cell).__name__ == "BatchNorm2d":
            cell.use_batch_statistics = False
    return step


def batch():
    """Four images; the first has all objects but one, so the parts have other counts than the whole."""
    random = np.random.default_rng(0)
    mask = np.array([[1, 1, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]], np.int32)
    columns = {"image": random.integers(0, 256, (4, 64, 64, 3), np.uint8),
               "colors": random.uniform(-0.004, 0.004, (4, 3, 4)).astype(np.float32),
               "cls": np.array([[0, 2, 1]] * 4, np.int32),
               "radius": np.full((4, 3), 2, np.int32), "ind": np.array([[9, 100, 240]] * 4, np.int32),
               "wh": random.uniform(2, 9, (4, 3, 2)).astype(np.float32),
               "reg": random.uniform(0, 1, (4, 3, 2)).astype(np.float32), "reg_mask": mask}
    return [columns[name] for name in COLUMNS]


SLOW = OPTIONS.keys() - {"default"}


@pytest.mark.parametrize("option", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
                                    for name in OPTIONS])
def test_losses_and_gradients_are_those_of_the_whole_batch(option):
    with eager():
        tensors = tuple(map(Tensor, batch()))
        losses, whole = build(1, *OPTIONS[option])._run(tensors)
        parts, added = build(2, *OPTIONS[option])._accumulate(tensors)
    expected, found = (np.concatenate([part.asnumpy().ravel() for part in gradients]) for gradients in (whole, added))
    np.testing.assert_allclose([loss.asnumpy() for loss in parts], [loss.asnumpy() for loss in losses], rtol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_steps_are_those_of_the_whole_batch():
    whole, parts = build(1), build(4)
    for _ in range(3):
        one, other = run(whole, batch()), run(parts, batch())
        np.testing.assert_allclose(one, other, rtol=2e-5)
    before, after = values(whole), values(parts)
    assert changed(before, values(build(1)))
    for name, expected in before.items():
        np.testing.assert_allclose(after[name], expected, rtol=0, atol=2e-5 * max(np.abs(expected).max(), 1e-9),
                                   err_msg=name)
