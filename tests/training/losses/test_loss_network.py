from contextlib import nullcontext
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from centernet.config.load import load_config
from centernet.data.augment import jitter_matrix, unchanged_colors
from centernet.device import eager
from centernet.models.centernet import CenterNet, StackedCenterNet
from centernet.models.heads import Heads
from centernet.training.losses.heatmap import DrawHeatmap, ellipse_radii
from centernet.training.losses.network import LossNetwork, Normalize
from centernet.training.losses.terms import DetectionLoss
from tests.golden_weights import PLAIN
from tests.tiny_training import apply_colors

CLASSES = 3


def small_network(net):
    """The heads on one convolution that takes images to a quarter."""
    heads = Heads(16, CLASSES, 8, net.cat_spec_wh, net.reg_offset, net.box_head, net.iou_score)
    return CenterNet(nn.Conv2d(3, 16, 4, 4, pad_mode="pad", weight_init="HeNormal"), nn.ReLU(), heads)


class TwoStacks(nn.Cell):
    """Features of two stacks, the second made from the first."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 4, 4, pad_mode="pad", weight_init="HeNormal")
        self.second = nn.Conv2d(16, 16, 1, pad_mode="pad", weight_init="HeNormal")

    def construct(self, x):
        features = self.first(x)
        return features, self.second(features)


@pytest.fixture(scope="module")
def data():
    return load_config("train", [], "").dataset_config


def batch():
    """Two images of 64x96; slots without an object hold zeros, as the pipeline makes them."""
    random = np.random.RandomState(0)
    mask = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], np.int32)
    return {"image": random.randint(0, 256, (2, 64, 96, 3)).astype(np.uint8),
            "colors": random.uniform(-0.004, 0.004, (2, 3, 4)).astype(np.float32),
            "cls": np.array([[0, 2, 0, 0], [0, 0, 0, 0]], np.int32), "radius": np.array([[2, 1, 0, 0]] * 2, np.int32),
            "ind": np.array([[30, 200, 0, 0], [0, 0, 0, 0]], np.int32),
            "wh": (random.uniform(1, 9, (2, 4, 2)) * mask[..., None]).astype(np.float32),
            "reg": (random.uniform(0, 1, (2, 4, 2)) * mask[..., None]).astype(np.float32), "reg_mask": mask}


def heatmap(columns, kind="circle"):
    ind, cls, radius, mask, wh = (Tensor(columns[name]) for name in ("ind", "cls", "radius", "reg_mask", "wh"))
    with eager():
        return DrawHeatmap(CLASSES)(ind, cls, ellipse_radii(wh) if kind == "ellipse" else radius, mask, (16, 24))


@pytest.mark.parametrize("to_rgb", [False, True])
def test_images_are_normalized_as_on_the_host(data, to_rgb, layer_by_layer):
    data = replace(data, to_rgb=to_rgb, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    image = batch()["image"]
    ordered = image[..., ::-1] if to_rgb else image
    expected = ((ordered / 255 - np.array(data.mean)) / np.array(data.std)).transpose(0, 3, 1, 2)
    ours = Normalize(data)(Tensor(image), Tensor(np.stack([unchanged_colors()] * 2)))
    assert ours.dtype == ms.float32
    np.testing.assert_allclose(ours.asnumpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("to_rgb", [False, True])
def test_colours_change_as_in_the_papers_code(data, to_rgb, golden, layer_by_layer):
    """Bright and dark crops of real images with the draws of the paper's code; its values are not clipped to 0..1."""
    data = replace(data, to_rgb=to_rgb)
    recorded = golden("jitter")
    draws = zip(*(recorded[name] for name in ("image", "order", "factor", "lighting")))
    colors = np.stack([jitter_matrix(*draw, data) for draw in draws])
    expected = recorded["output"]
    assert expected.min() < -0.1 and expected.max() > 1.3
    ordered = expected[..., ::-1] if to_rgb else expected
    ours = Normalize(data)(Tensor(recorded["image"]), Tensor(colors)).asnumpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours * data.std + data.mean, ordered, rtol=0, atol=1e-5)
    for image, matrix, values in zip(recorded["image"], colors, expected):
        np.testing.assert_allclose(apply_colors(image, matrix), values, rtol=0, atol=1e-5)


VARIANTS = {"plain": {}, "cat_spec_wh": {"cat_spec_wh": True},
            "dense_wh": {"dense_wh": True}, "norm_wh": {"norm_wh": True}, "no reg": {"reg_offset": False},
            "mse": {"mse_loss": True}, "smooth": {"reg_loss": "sl1"},
            "ltrb": {"box_head": "ltrb", "reg_offset": False, "hm_gaussian": "ellipse"},
            "more positives": {"box_head": "ltrb", "reg_offset": False, "hm_gaussian": "ellipse",
                               "more_positives": True},
            "iou score": {"box_head": "ltrb", "reg_offset": False, "iou_score": True}}


@pytest.mark.parametrize("variant", [pytest.param(name, marks=pytest.mark.slow)
                                     if VARIANTS[name].get("box_head") else name for name in VARIANTS])
def test_losses_are_those_of_the_parts_with_either_heatmap(data, variant):
    """What is trained is compiled, what it is compared with runs layer by layer."""
    net = replace(PLAIN, **VARIANTS[variant])
    network = small_network(net)
    columns = batch()
    hm = heatmap(columns, net.hm_gaussian)
    loss_network = LossNetwork(network, net, data, CLASSES)
    loss_network.set_train(True)
    inputs = [Tensor(column) for column in columns.values()]
    ours = [float(loss) for loss in loss_network(*inputs)]
    with nullcontext() if variant == "plain" else eager():
        with_host_heatmap = [float(loss) for loss in loss_network(*inputs, hm)]
    np.testing.assert_allclose(ours, with_host_heatmap, rtol=1e-5)
    with eager():
        (outputs,) = network.of_each_stack(Normalize(data)(*inputs[:2]))
        targets = [Tensor(columns[name]) for name in ("cls", "ind", "wh", "reg", "reg_mask", "radius")]
        expected = [float(loss) for loss in DetectionLoss(net)(outputs, hm, *targets)]
    np.testing.assert_allclose(ours, expected, rtol=1e-4)
    assert np.isfinite(ours).all() and min(ours[:3]) > 0 and (ours[3] > 0) == (net.reg_offset or net.iou_score)


@pytest.mark.parametrize("variant", ["plain", pytest.param("iou score", marks=pytest.mark.slow)])
def test_stacks_are_trained_alike_and_the_last_one_detects(data, variant):
    net = replace(PLAIN, **VARIANTS[variant])
    network = StackedCenterNet(TwoStacks(), [Heads(16, CLASSES, 8, False, net.reg_offset, net.box_head, net.iou_score)
                                             for _ in range(2)])
    columns = batch()
    inputs = [Tensor(column) for column in columns.values()]
    loss_network = LossNetwork(network, net, data, CLASSES)
    # The losses and the gradients of one compilation.
    ours, gradients = ms.value_and_grad(loss_network, None, network.trainable_params(), has_aux=True)(*inputs)
    ours = [float(loss) for loss in ours]
    with eager():
        x = Normalize(data)(*inputs[:2])
        features = network.backbone(x)
        targets = [Tensor(columns[name]) for name in ("cls", "ind", "wh", "reg", "reg_mask", "radius")]
        each = [[float(loss) for loss in DetectionLoss(net)(heads.raw(out), heatmap(columns), *targets)]
                for heads, out in zip(network.heads, features)]
        last = [output.asnumpy() for output in network.heads[1](features[1])]
        detections = network(x)
    assert each[0] != each[1]
    np.testing.assert_allclose(ours, np.mean(each, 0), rtol=1e-4)
    for detected, expected in zip(detections, last):
        np.testing.assert_allclose(detected.asnumpy(), expected, rtol=1e-5, atol=1e-6)
    unmoved = [parameter.name for parameter, gradient in zip(network.trainable_params(), gradients)
               if not gradient.asnumpy().any()]
    assert not unmoved


def test_parameters_keep_the_names_of_the_network(data):
    network = small_network(PLAIN)
    names = [parameter.name for parameter in network.get_parameters()]
    loss_network = LossNetwork(network, PLAIN, data, CLASSES)
    assert [parameter.name for parameter in loss_network.get_parameters()] == names


def test_gradient_steps_lower_the_loss(data):
    network = small_network(PLAIN)
    loss_network = LossNetwork(network, PLAIN, data, CLASSES)
    loss_network.set_train(True)
    optimizer = ms.nn.Adam(network.trainable_params(), 1e-2)
    step = ms.value_and_grad(loss_network, None, optimizer.parameters, has_aux=True)
    inputs = [Tensor(column) for column in batch().values()]
    losses = []
    for _ in range(30):
        (loss, *_), gradients = step(*inputs)
        optimizer(gradients)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
