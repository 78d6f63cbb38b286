"""Precision and recall over the score: AP as COCO computes it, and the threshold with the best F1."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from centernet.evaluation.html_report.matching import ImageMatches

RECALLS = np.linspace(0, 1, 101)  # the recalls of COCO's curves


@dataclass(frozen=True, eq=False)
class Ranking:
    """Detections by descending score, and the number of objects that they should have found."""

    scores: np.ndarray  # (N,) float64
    hits: np.ndarray    # (N,) bool: matches an object
    objects: int

    @staticmethod
    def of(scores: Sequence[float] | np.ndarray, hits: Sequence[bool] | np.ndarray, objects: int) -> Ranking:
        """Sort detections; those with equal scores keep their order."""
        values = np.asarray(scores, np.float64)
        order = np.argsort(-values, kind="stable")
        return Ranking(values[order], np.asarray(hits, bool)[order], objects)

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Return precision and recall (N,) after each detection; recall is 0 without objects."""
        right = np.cumsum(self.hits)
        return right / (np.arange(len(right)) + 1), right / max(self.objects, 1)

    def interpolated(self) -> np.ndarray:
        """Return the precision (101,) at RECALLS: the highest one at this recall or a higher one; 0 if not reached."""
        precision, recall = self.curve()
        highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        return highest[np.minimum(np.searchsorted(recall, RECALLS, side="left"), len(precision))]

    def average_precision(self) -> float:
        """Return the AP, 0..1. Without objects there is none: -1, as in COCO's code."""
        return float(self.interpolated().mean()) if self.objects else -1.0


@dataclass(frozen=True)
class Point:
    """The numbers of detections with at least this score."""

    threshold: float
    precision: float
    recall: float
    f1: float


def best_point(ranking: Ranking) -> Point | None:
    """Return the threshold with the highest F1, of equal ones the highest; None if no threshold finds an object."""
    if not ranking.hits.any() or not ranking.objects:
        return None
    precision, recall = ranking.curve()
    f1 = 2 * np.cumsum(ranking.hits) / (np.arange(len(precision)) + 1 + ranking.objects)
    last = np.append(ranking.scores[1:] != ranking.scores[:-1], True)  # a threshold takes all detections of a score
    best = int(np.where(last, f1, -1).argmax())
    return Point(float(ranking.scores[best]), float(precision[best]), float(recall[best]), float(f1[best]))


def ranking_of(images: Iterable[ImageMatches], category_id: int | None = None) -> Ranking:
    """Return the detections and objects of one category; None: of all categories together."""
    scores, hits, objects = [], [], 0
    for image in images:
        objects += sum(category_id in (None, row["category_id"]) for row in image.truth)
        for row, partner, ignored in zip(image.found, image.partner, image.ignored):
            if not ignored and category_id in (None, row["category_id"]):
                scores.append(row["score"])
                hits.append(partner >= 0)
    return Ranking.of(scores, hits, objects)
