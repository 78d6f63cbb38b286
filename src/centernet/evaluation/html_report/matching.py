"""Which detection matches which annotated box, by the rules of COCO's evaluation.

All functions of this and the neighbouring modules take rows of COCO files: boxes with image_id, bbox (x, y, width,
height in pixels), category_id and iscrowd; detections with image_id, bbox, category_id and score.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.mask import iou as box_iou

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class ImageMatches:
    """The boxes of one image, and its detections by descending score."""

    image_id: int
    truth: list[Row]        # annotated objects, without regions
    regions: list[Row]      # boxes with iscrowd: detections in them do not count
    found: list[Row]        # at most max_dets of a category
    overlaps: np.ndarray    # (found, truth) float64: IoU, whatever the categories
    partner: np.ndarray     # (found,) int: the position in truth of the object that a detection matches, or -1
    ignored: np.ndarray     # (found,) bool: matches a region only, so it is neither right nor wrong

    @property
    def scores(self) -> np.ndarray:
        """Return the scores (found,) float64."""
        return np.array([row["score"] for row in self.found], np.float64)

    @property
    def same(self) -> np.ndarray:
        """Return (found, truth) bool: whether both have the same category."""
        return np.array([row["category_id"] for row in self.found], np.int64).reshape(-1, 1) \
            == np.array([row["category_id"] for row in self.truth], np.int64)


def match_images(boxes: Iterable[Row], detections: Iterable[Row], image_ids: Iterable[int], iou: float = 0.5,
                 max_dets: int = 100) -> list[ImageMatches]:
    """Match the detections of each image, those with the highest scores first.

    Args:
        boxes, detections: of any images.
        image_ids: the evaluated images.
        iou: the lowest IoU of a match.
        max_dets: detections of an image and category that count.

    Returns:
        The images by ascending id, as COCO's code takes them.
    """
    of_boxes, of_detections = _by_image(boxes), _by_image(detections)
    return [_match(number, of_boxes.get(number, []), of_detections.get(number, []), iou, max_dets)
            for number in sorted(set(image_ids))]


def object_counts(images: Sequence[ImageMatches]) -> Counter[int]:
    """Return the number of annotated objects of each category id, without regions."""
    return Counter(row["category_id"] for image in images for row in image.truth)


def _by_image(rows: Iterable[Row]) -> dict[int, list[Row]]:
    found = defaultdict(list)
    for row in rows:
        found[row["image_id"]].append(row)
    return found


def _match(image_id: int, boxes: list[Row], detections: list[Row], iou: float, max_dets: int) -> ImageMatches:
    truth = [row for row in boxes if not row.get("iscrowd")]
    regions = [row for row in boxes if row.get("iscrowd")]
    found = _best(detections, max_dets)
    partner, ignored = np.full(len(found), -1), np.zeros(len(found), bool)
    image = ImageMatches(image_id, truth, regions, found, overlap(found, truth), partner, ignored)
    fitting = np.where(image.same & (image.overlaps >= min(iou, 1 - 1e-10)), image.overlaps, -1)
    for number in np.flatnonzero((fitting >= 0).any(1)):
        row = fitting[number]
        best = len(row) - 1 - int(row[::-1].argmax())  # of equal ones the last, as in COCO's code
        if row[best] >= 0:
            partner[number] = best
            fitting[:, best] = -1
    if regions and found:
        covered = overlap(found, regions, crowd=True) >= min(iou, 1 - 1e-10)
        same = np.array([[row["category_id"] == region["category_id"] for region in regions] for row in found])
        ignored[:] = (covered & same).any(1) & (partner < 0)
    return image


def _best(detections: list[Row], max_dets: int) -> list[Row]:
    """Return the detections by descending score, without those beyond max_dets of their category."""
    counts: Counter[int] = Counter()
    kept = []
    for row in sorted(detections, key=lambda row: -row["score"]):
        counts[row["category_id"]] += 1
        if counts[row["category_id"]] <= max_dets:
            kept.append(row)
    return kept


def overlap(rows: Sequence[Row], others: Sequence[Row], crowd: bool = False) -> np.ndarray:
    """Return the IoU (rows, others) float64; with crowd the intersection divided by the area of the first."""
    if not rows or not others:
        return np.zeros((len(rows), len(others)))
    first, second = (np.array([row["bbox"] for row in part], np.float64) for part in (rows, others))
    return np.asarray(box_iou(first, second, [int(crowd)] * len(others)))
