"""The box head's targets and loss equal a reference of loops in float64, written from the formulas."""
import math
from dataclasses import replace
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from centernet.config.schema import NetConfig
from centernet.data.targets import encode
from centernet.device import eager
from centernet.training.losses.box_targets import draw_boxes, find_owners, later_of
from centernet.training.losses.heatmap import ellipse_radii, profiles
from centernet.training.losses.terms import DetectionLoss, giou_loss, iou_loss
from tests.giou_reference import giou_error, iou

SIZE = (14, 18)
SLOTS = 12
NAMES = ("ind", "wh", "reg", "reg_mask")
BOXES = np.array([[1, 2, 12, 11.5],       # large, under most others
                  [5, 5, 8.6, 8.9],       # inside it
                  [8.6, 5, 12.3, 8.9],    # touches the one before
                  [3, 3, 3, 9],           # dropped: no width
                  [2, 1, 6, 9],           # 4 x 8, and over it
                  [0, 3, 8, 7],           # 8 x 4: the same area and centre, a later slot
                  [6, 6, 8, 8], [6, 6, 8, 8],  # identical
                  [0, 9, 3, 13],          # at the left and lower border
                  [13, 0, 17, 1.5],       # at the upper right corner
                  [16.1, 12.2, 16.7, 12.75],   # smaller than a cell; the cell's point is outside
                  [13.9, 6.9, 14.1, 7.05]], np.float32)  # smaller than a pixel
FEW = [[[4, 4, 9, 10]], [[0.2, 0.1, 16.9, 13]], []]


@pytest.fixture(scope="module")
def drawn():
    """Five images' columns, their targets on the device, and the reference's."""
    encoded = [encode(np.array(boxes, np.float32).reshape(-1, 4), np.zeros(len(boxes), np.int32), SIZE, SLOTS)
               for boxes in (BOXES, BOXES[::-1], *FEW)]
    columns = {name: np.stack([getattr(image, name) for image in encoded]) for name in NAMES}
    columns["wh"][4, 3] = 5  # of an unused slot: must not count
    with eager():
        ltrb, weight = draw_boxes(*[Tensor(columns[name]) for name in NAMES], SIZE)
    expected = [reference(*[columns[name][image] for name in NAMES]) for image in range(len(encoded))]
    return SimpleNamespace(columns=columns, ltrb=ltrb.asnumpy(), weight=weight.asnumpy()[:, 0],
                           owner=np.stack([one for one, _, _ in expected]),
                           box=np.stack([one for _, one, _ in expected]),
                           expected=np.stack([one for _, _, one in expected]))


def half_widths(wh):
    return [int(0.54 * float(side) / 2) for side in wh]


def reference(ind, wh, reg, mask):
    """Slot, corners (x1, y1, x2, y2) and weight of each cell, by drawing one object after the other."""
    height, width = SIZE
    owner, box, weights = np.full(SIZE, -1), np.full((*SIZE, 4), np.nan), np.zeros(SIZE)
    kept = np.flatnonzero(mask)
    for slot in sorted(kept, key=lambda slot: (-float(wh[slot, 0]) * float(wh[slot, 1]), slot)):
        w, h = map(float, wh[slot])
        y0, x0 = divmod(int(ind[slot]), width)
        rx, ry = half_widths(wh[slot])
        sx, sy = (2 * rx + 1) / 6, (2 * ry + 1) / 6
        g = {(y, x): math.exp(-(x - x0) ** 2 / (2 * sx ** 2) - (y - y0) ** 2 / (2 * sy ** 2))
             for y in range(y0 - ry, y0 + ry + 1) for x in range(x0 - rx, x0 + rx + 1)
             if 0 <= y < height and 0 <= x < width}
        cx, cy = x0 + float(reg[slot, 0]), y0 + float(reg[slot, 1])
        for cell, value in g.items():
            owner[cell] = slot
            box[cell] = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
            weights[cell] = math.log(max(16 * w * h, 1)) * value / sum(g.values())
    return owner, box, weights


def corners_of(y, x, sides):
    """A predicted box at a cell, x1, y1, x2, y2."""
    px, py = (4 * x + 1.5) / 4, (4 * y + 1.5) / 4  # the mean of the cell's four pixels
    return px - sides[0], py - sides[1], px + sides[2], py + sides[3]


def cell_loss(y, x, sides, box):
    """1 - GIoU of a predicted box at a cell and a true one."""
    return giou_error(corners_of(y, x, sides), box)


def iou_terms(drawn, images, predicted, logits):
    """The loss of each cell of the predicted IoU, with its weight, (N,H,W): -(t log p + (1 - t) log(1 - p))."""
    found = np.zeros((len(images), *SIZE))
    for n, y, x in np.argwhere(drawn.owner[images] >= 0):
        wanted = iou(corners_of(y, x, predicted[n, :, y, x].astype(np.float64)), drawn.box[images[n], y, x])
        logit = float(logits[n, 0, y, x])
        found[n, y, x] = drawn.expected[images[n], y, x] * (wanted * math.log(1 + math.exp(-logit))
                                                            + (1 - wanted) * math.log(1 + math.exp(logit)))
    return found


def iou_case(drawn):
    """Boxes, of which some are perfect, and logits up to 30."""
    random = np.random.default_rng(9)
    predicted = predictions(len(drawn.weight))
    perfect = random.random((len(predicted), 1, *SIZE)) < 0.2
    predicted = np.where(perfect, np.maximum(drawn.ltrb, 0), predicted).astype(np.float32)
    logits = random.normal(0, 2, (len(predicted), 1, *SIZE))
    kind = random.integers(0, 8, logits.shape)
    logits = np.select([kind == 0, kind == 1, kind == 2], [30, -30, 0], logits)
    return predicted, logits.astype(np.float32)


def predictions(count):
    """Distances from none at all to much too far."""
    random = np.random.default_rng(7)
    return (random.uniform(0, 5, (count, 4, *SIZE)) * random.uniform(0, 1, (count, 1, *SIZE))).astype(np.float32)


def test_the_cases_are_what_they_say(drawn):
    shares = [np.unique(owner, return_counts=True)[0].tolist() for owner in drawn.owner]
    assert shares[0] == [-1, 0, 1, 2, 4, 5, 7, 8, 9, 10, 11] and shares[4] == [-1]
    sides = drawn.columns["wh"][0]
    assert sides[4].prod() == sides[5].prod() == 32 and (sides[6] == sides[7]).all()
    assert not drawn.columns["reg_mask"][0, 3] and drawn.owner[0, 6, 14] == 11
    assert drawn.expected[0, 6, 14] == 0 < drawn.expected[0, 12, 16]


def test_targets_and_weights_equal_the_reference(drawn):
    np.testing.assert_allclose(drawn.weight, drawn.expected, rtol=1e-5, atol=1e-7)
    for image, y, x in np.argwhere(drawn.owner >= 0):
        point = np.array([x + 0.375, y + 0.375] * 2)
        corners = point + drawn.ltrb[image, :, y, x] * [-1, -1, 1, 1]
        np.testing.assert_allclose(corners, drawn.box[image, y, x], rtol=0, atol=2e-5, err_msg=f"{image} {y} {x}")


def test_a_cell_belongs_to_the_smallest_box(drawn):
    ind, wh, _, mask = (Tensor(drawn.columns[name]) for name in NAMES)
    with eager():
        rows, columns = profiles(ind, ellipse_radii(wh), mask, SIZE)
        found = find_owners(rows, columns, wh[:, :, 0] * wh[:, :, 1]).asnumpy()
    inside = drawn.owner >= 0
    np.testing.assert_array_equal(found[inside], drawn.owner[inside])
    assert not found[~inside].any()


def test_the_order_of_equal_areas_is_that_of_slots():
    assert later_of(Tensor(np.array([[2, 5, 2, 0, 2, 9]], np.float32))).asnumpy().tolist() == [[2, 1, 3, 5, 4, 0]]


def test_losses_equal_the_reference(drawn):
    predicted = predictions(len(drawn.weight))
    with eager():
        loss, count = giou_loss(*map(Tensor, (predicted, drawn.ltrb, drawn.weight[:, None])))
    cells = np.argwhere(drawn.owner >= 0)
    expected = sum(drawn.expected[n, y, x] * cell_loss(y, x, predicted[n, :, y, x].astype(np.float64),
                                                       drawn.box[n, y, x]) for n, y, x in cells)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(count) == pytest.approx(drawn.expected.sum(), rel=1e-6)


def test_gradients_equal_finite_differences_of_the_reference(drawn):
    predicted = predictions(len(drawn.weight))
    rest = [Tensor(drawn.ltrb), Tensor(drawn.weight[:, None])]
    with eager():
        found = ms.grad(lambda maps: giou_loss(maps, *rest)[0])(Tensor(predicted)).asnumpy()
    expected, step = np.zeros(predicted.shape), 1e-6
    for n, y, x in np.argwhere(drawn.owner >= 0):
        for side in range(4):
            values = [cell_loss(y, x, predicted[n, :, y, x].astype(np.float64) + change * np.eye(4)[side],
                                drawn.box[n, y, x]) for change in (step, -step)]
            expected[n, side, y, x] = drawn.expected[n, y, x] * (values[0] - values[1]) / (2 * step)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("images", [[0, 1, 4], [4]], ids=["objects", "no objects"])
def test_the_loss_of_the_boxes_is_a_mean_by_weight(drawn, images):
    net = NetConfig(box_head="ltrb", reg_offset=False, wh_weight=5.0)
    hm = np.zeros((len(images), 2, *SIZE), np.float32)
    columns = {name: Tensor(drawn.columns[name][images]) for name in NAMES}
    outputs = Tensor(hm - 3), Tensor(predictions(len(images)))
    rest = columns["ind"] * 0, columns["ind"], columns["wh"], columns["reg"], columns["reg_mask"]
    with eager():
        loss, hm_loss, wh_loss, off_loss = map(float, DetectionLoss(net)(outputs, Tensor(hm), *rest))
        counts = DetectionLoss(net).counts(Tensor(hm), *rest).asnumpy()
    weight = drawn.expected[images]
    expected = sum(weight[n, y, x] * cell_loss(y, x, outputs[1].asnumpy()[n, :, y, x], drawn.box[images[n], y, x])
                   for n, y, x in np.argwhere(weight > 0)) / (weight.sum() + 1e-4)
    assert wh_loss == pytest.approx(expected, rel=1e-5, abs=1e-9)
    assert (wh_loss > 0) == (images != [4]) and off_loss == 0
    assert loss == pytest.approx(hm_loss + 5 * wh_loss, rel=1e-6)
    np.testing.assert_allclose(counts, [0, weight.sum(), 1], rtol=1e-6)


def test_a_perfect_prediction_has_no_loss_and_boxes_of_any_size_are_finite(drawn):
    with eager():
        perfect = Tensor(np.where(drawn.weight[:, None] > 0, drawn.ltrb, 1))
        rest = Tensor(drawn.ltrb), Tensor(drawn.weight[:, None])
        assert float(giou_loss(perfect, *rest)[0]) == pytest.approx(0, abs=1e-4)
        for scale in (0, 1e-20, 1e6):
            value, gradient = ms.value_and_grad(lambda maps: giou_loss(maps, *rest)[0])(Tensor(drawn.ltrb * 0 + scale))
            assert np.isfinite(float(value)) and np.isfinite(gradient.asnumpy()).all()


def test_the_loss_of_the_iou_equals_the_reference(drawn):
    predicted, logits = iou_case(drawn)
    with eager():
        loss, count = iou_loss(*map(Tensor, (logits, predicted, drawn.ltrb, drawn.weight[:, None])))
    expected = iou_terms(drawn, range(len(logits)), predicted, logits)
    assert float(loss) == pytest.approx(expected.sum(), rel=1e-5)
    assert float(count) == pytest.approx(drawn.expected.sum(), rel=1e-6)


def test_gradients_of_the_iou_equal_finite_differences_and_boxes_have_none(drawn):
    predicted, logits = iou_case(drawn)
    rest = [Tensor(drawn.ltrb), Tensor(drawn.weight[:, None])]
    with eager():
        found, to_boxes = ms.grad(lambda *maps: iou_loss(*maps, *rest)[0], (0, 1))(Tensor(logits), Tensor(predicted))
    step = 1e-5
    change = [iou_terms(drawn, range(len(logits)), predicted, logits.astype(np.float64) + sign * step)
              for sign in (1, -1)]
    expected = (change[0] - change[1])[:, None] / (2 * step)
    assert np.abs(expected).max() > 0.1 and (logits == 0).any()
    np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-4, atol=1e-6)
    assert not to_boxes.asnumpy().any(), "the IoU is a number to learn"


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize("images", [[0, 1, 4], [4]], ids=["objects", "no objects"])
def test_the_loss_of_the_iou_is_a_mean_by_weight(drawn, images, half):
    """Maps of float16 have the loss that their values have in float32. The other losses are as without the IoU."""
    net = NetConfig(box_head="ltrb", reg_offset=False, wh_weight=5.0, off_weight=2.0, iou_score=True)
    kind = np.float16 if half else np.float32
    predicted, logits = (maps[images].astype(kind) for maps in iou_case(drawn))
    hm = np.zeros((len(images), 2, *SIZE), np.float32)
    columns = {name: Tensor(drawn.columns[name][images]) for name in NAMES}
    rest = columns["ind"] * 0, columns["ind"], columns["wh"], columns["reg"], columns["reg_mask"]
    outputs = Tensor((hm - 3).astype(kind)), Tensor(predicted), Tensor(logits)
    with eager():
        losses = DetectionLoss(net)(outputs, Tensor(hm), *rest)
        plain = DetectionLoss(replace(net, iou_score=False))(outputs[:2], Tensor(hm), *rest)
        counts = DetectionLoss(net).counts(Tensor(hm), *rest).asnumpy()
    assert {loss.dtype for loss in losses} == {ms.float32}
    loss, hm_loss, wh_loss, off_loss = map(float, losses)
    weight = drawn.expected[images].sum()
    expected = iou_terms(drawn, images, predicted, logits).sum() / (weight + 1e-4)
    assert off_loss == pytest.approx(expected, rel=1e-5, abs=1e-9) and (off_loss > 0) == (images != [4])
    assert loss == pytest.approx(hm_loss + 5 * wh_loss + 2 * off_loss, rel=1e-6)
    assert (hm_loss, wh_loss) == (float(plain[1]), float(plain[2]))
    np.testing.assert_allclose(counts, [0, weight, weight], rtol=1e-6)


def test_the_loss_of_the_iou_is_finite_for_boxes_of_any_size(drawn):
    rest = Tensor(drawn.ltrb), Tensor(drawn.weight[:, None])
    with eager():
        for scale in (0, 1e-20, 1e6):
            boxes = Tensor((drawn.ltrb * 0 + scale).astype(np.float32))
            value, gradient = ms.value_and_grad(lambda maps, boxes=boxes: iou_loss(maps, boxes, *rest)[0])(
                Tensor(drawn.weight[:, None] * 0 - 88))
            assert np.isfinite(float(value)) and np.isfinite(gradient.asnumpy()).all()
