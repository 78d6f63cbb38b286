"""Confusion matrix of a detector: which category is detected where another one is annotated."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from centernet.evaluation.html_report.matching import ImageMatches


def confusion_matrix(images: Sequence[ImageMatches], category_ids: Sequence[int], threshold: float,
                     iou: float = 0.5) -> np.ndarray:
    """Count pairs of annotated and detected categories.

    A detection that matches an object of its category is counted on the diagonal. Of the others, those with the highest
    scores choose first: each takes the free object of another category with which its IoU is largest.

    Args:
        images: matched images.
        category_ids: the order of rows and columns.
        threshold: the lowest score of a detection that counts.
        iou: the lowest IoU of a pair.

    Returns:
        (C+1, C+1) int64. Rows: the annotated category, in the last row nothing (a false positive). Columns: the
        detected category, in the last column nothing (a missed object).
    """
    place = {number: index for index, number in enumerate(category_ids)}
    nothing = len(category_ids)
    matrix = np.zeros((nothing + 1, nothing + 1), np.int64)
    for image in images:
        counted = (image.scores >= threshold) & ~image.ignored
        pairs = {int(row): int(image.partner[row]) for row in np.flatnonzero(counted & (image.partner >= 0))}
        pairs.update(_confused(image, counted, set(pairs.values()), iou))
        for row in np.flatnonzero(counted).tolist():
            truth = image.truth[pairs[row]]["category_id"] if row in pairs else None
            matrix[nothing if truth is None else place[truth], place[image.found[row]["category_id"]]] += 1
        for number in set(range(len(image.truth))).difference(pairs.values()):
            matrix[place[image.truth[number]["category_id"]], nothing] += 1
    return matrix


def _confused(image: ImageMatches, counted: np.ndarray, taken: set[int], iou: float) -> dict[int, int]:
    """Return the pairs (detection, object) of different categories."""
    if not image.truth:
        return {}
    overlaps = np.where(image.same, -1, image.overlaps)
    overlaps[:, sorted(taken)] = -1
    pairs = {}
    for row in np.flatnonzero(counted & (image.partner < 0)).tolist():
        best = int(overlaps[row].argmax())
        if overlaps[row, best] >= iou:
            pairs[row] = best
            overlaps[:, best] = -1
    return pairs
