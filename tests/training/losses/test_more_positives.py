"""net_config.more_positives equals a reference of loops in float64, written from the formulas (accuracy, A.2)."""
import math
from dataclasses import replace
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from centernet.config.schema import NetConfig
from centernet.data.targets import draw_heatmap, encode
from centernet.device import eager
from centernet.geometry import IGNORED
from centernet.training.losses.positives import fitting_cells
from centernet.training.losses.terms import DetectionLoss
from tests.giou_reference import giou_error

SIZE = (14, 18)
SLOTS = 10
CLASSES = 3
NET = NetConfig(box_head="ltrb", reg_offset=False, hm_gaussian="ellipse", wh_weight=5.0, more_positives=True)
BOXES = np.array([[1, 2, 12, 11.5],            # large
                  [3, 3, 9.2, 9],              # overlaps it: the same class and the same centre
                  [4, 3, 9, 8.6],              # and another class at nearly the same place
                  [12.3, 3, 16, 7], [8.6, 3, 12.3, 7],   # they touch
                  [0, 10.5, 3, 14],            # at the left and lower border
                  [15.2, 0, 18, 1.5],          # at the upper right corner
                  [16.45, 12.2, 16.9, 12.75],  # smaller than a cell; the cell's point is outside
                  [13.9, 9.9, 14.1, 10.05],    # smaller than a pixel
                  [5.5, 11.6, 10.5, 12.6]], np.float32)   # wide and flat: only one row of cells is inside
LABELS = np.array([0, 0, 1, 2, 2, 1, 0, 1, 2, 0], np.int32)


@pytest.fixture(scope="module")
def case():
    """Two images' columns, heatmaps, raw maps near the true boxes, and the reference's positives."""
    columns = [encode(BOXES, LABELS, SIZE, SLOTS), encode(BOXES[2:4], LABELS[2:4], SIZE, SLOTS)]
    stacked = {name: np.stack([getattr(image, name) for image in columns]) for name in columns[0]._fields}
    stacked["wh"][1, 5], stacked["ind"][1, 5] = 6, 100  # of an unused slot: must not count
    hm = draw_heatmap(stacked["cls"], stacked["radius"], stacked["ind"], stacked["reg_mask"], CLASSES, *SIZE,
                      stacked["wh"])
    random = np.random.default_rng(3)
    ltrb = np.stack([near_the_boxes(boxes, random) for boxes in (BOXES, BOXES[2:4])])
    logits = random.normal(-1, 1.5, (2, CLASSES, *SIZE)).astype(np.float32)
    return SimpleNamespace(columns=stacked, hm=hm, ltrb=ltrb, logits=logits,
                           positive=np.stack([reference(stacked, image, ltrb[image]) for image in range(2)]))


def near_the_boxes(boxes, random):
    """Distances to the sides of the box whose middle is nearest to each cell, most of them nearly right."""
    height, width = SIZE
    found = np.zeros((4, *SIZE), np.float32)
    for y in range(height):
        for x in range(width):
            middle = (boxes[:, :2] + boxes[:, 2:]) / 2
            one = boxes[np.argmin(np.hypot(*(middle - [x + 0.375, y + 0.375]).T))]
            sides = [x + 0.375 - one[0], y + 0.375 - one[1], one[2] - x - 0.375, one[3] - y - 0.375]
            noise = 0.25 if x < 9 else 0.06
            found[:, y, x] = np.maximum(0, sides) * random.uniform(1 - noise, 1 + noise, 4)
    return found


def errors_of(columns, image, slot, ltrb):
    """The GIoU loss of each candidate cell (y, x) of an object, and its centre's cell."""
    w, h = map(float, columns["wh"][image, slot])
    y0, x0 = divmod(int(columns["ind"][image, slot]), SIZE[1])
    cx, cy = x0 + float(columns["reg"][image, slot, 0]), y0 + float(columns["reg"][image, slot, 1])
    box = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    errors = {}
    for y in range(y0 - 1, y0 + 2):
        for x in range(x0 - 1, x0 + 2):
            px, py = (4 * x + 1.5) / 4, (4 * y + 1.5) / 4  # the mean of the cell's four pixels
            if 0 <= y < SIZE[0] and 0 <= x < SIZE[1] and box[0] < px < box[2] and box[1] < py < box[3]:
                left, top, right, bottom = ltrb[:, y, x].astype(np.float64)
                errors[y, x] = giou_error((px - left, py - top, px + right, py + bottom), box)
    return errors, (y0, x0)


def reference(columns, image, ltrb):
    """1 for the positives of an image, (C,H,W)."""
    positive = np.zeros((CLASSES, *SIZE))
    for slot in np.flatnonzero(columns["reg_mask"][image]):
        errors, center = errors_of(columns, image, slot, ltrb)
        limit = min(0.2, sorted(errors.values())[8] if len(errors) == 9 else math.inf)
        for cell in [center, *(cell for cell, error in errors.items() if error < limit)]:
            positive[columns["cls"][image, slot], cell[0], cell[1]] = 1
    return positive


def reference_loss(logits, hm, positive):
    """The heatmap's loss: positives by the list, negatives at all cells by the heatmap."""
    score = np.clip(1 / (1 + np.exp(-logits.astype(np.float64))), 1e-4, 1 - 1e-4)
    loss = -(positive * (1 - score) ** 2 * np.log(score) + (1 - hm) ** 4 * score ** 2 * np.log(1 - score))
    return loss / max(positive.sum(), 1)


def tensors(case, logits=None, ltrb=None, hm=None):
    """Arguments of DetectionLoss for the raw maps as separate arguments."""
    names = ("cls", "ind", "wh", "reg", "reg_mask")
    return (Tensor(case.logits if logits is None else logits), Tensor(case.ltrb if ltrb is None else ltrb),
            Tensor(case.hm if hm is None else hm), *[Tensor(case.columns[name]) for name in names])


def test_the_cases_are_what_they_say(case):
    columns, counts, limited = case.columns, [], 0
    for slot in range(SLOTS):
        errors, center = errors_of(columns, 0, slot, case.ltrb[0])
        counts.append(len(errors))
        limited += len(errors) == 9 and max(errors.values()) < 0.2
        assert all(abs(error - 0.2) > 1e-4 for error in errors.values()), "float32 and float64 agree on this side"
        assert (center in errors) == (slot not in (7, 8)), "the two tiny boxes' points are outside"
    assert counts[0] == 9 and counts[7] == counts[8] == 0 and 0 < counts[9] < 9 and 0 < counts[6] < 9
    assert limited, "an object whose ninth smallest error is the limit"
    by_class = case.positive[0].sum((1, 2))
    assert (by_class > [4, 3, 3]).all()
    assert (case.hm[0] == 1).sum() == SLOTS - 1, "two objects of a class share their centre"
    assert ((case.positive == 1) & (case.hm == 0)).any(), "a positive outside of all Gaussians"


def test_positives_equal_the_reference(case):
    _, ltrb, _, *rest = tensors(case)
    with eager():
        found = fitting_cells(ltrb, *rest, CLASSES).asnumpy()
    np.testing.assert_array_equal(found, case.positive)
    assert found.dtype == np.float32


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
def test_losses_equal_the_reference(case, half):
    """Maps of float16 have the positives and the loss that their values have in float32."""
    logits, ltrb = ((case.logits, case.ltrb) if not half else
                    (case.logits.astype(np.float16), case.ltrb.astype(np.float16)))
    positive = np.stack([reference(case.columns, image, ltrb[image]) for image in range(2)])
    with eager():
        logit_map, box_map, *rest = tensors(case, logits, ltrb)
        loss, hm_loss, wh_loss, _ = DetectionLoss(NET)((logit_map, box_map), *rest)
        plain = DetectionLoss(replace(NET, more_positives=False))((logit_map, box_map), *rest)
    assert loss.dtype == hm_loss.dtype == ms.float32
    assert float(hm_loss) == pytest.approx(reference_loss(logits, case.hm, positive).sum(), rel=1e-5)
    assert float(wh_loss) == float(plain[2]), "the boxes learn as before"
    assert float(plain[1]) == pytest.approx(reference_loss(logits, case.hm, case.hm == 1).sum(), rel=1e-5)


def test_gradients_equal_finite_differences_of_the_reference(case):
    logits, ltrb, *rest = tensors(case)
    with eager():
        loss = DetectionLoss(NET)
        found = ms.grad(lambda maps: loss((maps, ltrb), *rest)[1])(logits).asnumpy()
        to_boxes = ms.grad(lambda boxes: loss((logits, boxes), *rest)[1])(ltrb).asnumpy()
    step = 1e-5
    change = [reference_loss(case.logits.astype(np.float64) + sign * step, case.hm, case.positive)
              for sign in (1, -1)]  # each logit has its own term
    np.testing.assert_allclose(found, (change[0] - change[1]) / (2 * step), rtol=1e-4, atol=1e-7)
    assert not to_boxes.any(), "which cells are positives is no function to learn"


def test_without_objects_there_are_no_positives_and_any_boxes_are_finite(case):
    empty = SimpleNamespace(**{**vars(case), "hm": case.hm * 0,
                               "columns": {**case.columns, "reg_mask": case.columns["reg_mask"] * 0}})
    with eager():
        logits, ltrb, hm, *rest = tensors(empty)
        assert not fitting_cells(ltrb, *rest, CLASSES).asnumpy().any()
        loss = float(DetectionLoss(NET)((logits, ltrb), hm, *rest)[1])
        assert loss == pytest.approx(reference_loss(case.logits, empty.hm, empty.hm).sum(), rel=1e-5)
        for scale in (0, 1e-20, 1e6):
            _, ltrb, hm, *rest = tensors(case, ltrb=case.ltrb * 0 + np.float32(scale))
            found = fitting_cells(ltrb, *rest, CLASSES).asnumpy()
            np.testing.assert_array_equal(found, case.hm == 1, "only the centres")


def test_an_object_in_an_ignored_region_keeps_its_positives(case):
    hm = np.where(case.hm < 1, np.float32(IGNORED), case.hm)
    with eager():
        logits, ltrb, hm_map, *rest = tensors(case, hm=hm)
        loss = float(DetectionLoss(NET, regions=True)((logits, ltrb), hm_map, *rest)[1])
    assert loss == pytest.approx(reference_loss(case.logits, hm, case.positive).sum(), rel=1e-5)
