"""All numbers of a report in one JSON object. The page shows them; report.json keeps them for a comparison."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from pycocotools.cocoeval import COCOeval

from centernet.categories import Categories
from centernet.evaluation.html_report.confusion import confusion_matrix
from centernet.evaluation.html_report.curves import best_point, ranking_of
from centernet.evaluation.html_report.error_types import FOREGROUND, error_types
from centernet.evaluation.html_report.matching import ImageMatches, match_images
from centernet.evaluation.metrics import Evaluated, mean_precision

SIZES = (("small", 0.0, 32.0**2), ("medium", 32.0**2, 96.0**2), ("large", 96.0**2, 1e10))  # areas, square pixels
IOUS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.9)  # of the curves over all categories
FALLBACK = 0.3  # threshold where no detection is right, so that there is no best one


def report_numbers(evaluated: Evaluated, categories: Categories,
                   max_dets: int = 100) -> tuple[dict[str, Any], list[ImageMatches]]:
    """Return the numbers of a report, and the matches at FOREGROUND that they come from.

    Args:
        evaluated: see metrics.run_evaluation.
        categories: the evaluated categories.
        max_dets: detections of an image and category that count.

    Returns:
        A JSON object: metrics, overall, classes, sizes, curves, errors, confusion; and the matches of each image. An AP
        or AR is -1 where nothing is annotated; what cannot be computed is None.
    """
    images = match_images(evaluated.boxes, evaluated.found, evaluated.coco.params.imgIds, FOREGROUND, max_dets)
    overall = best_point(ranking_of(images))
    threshold = overall.threshold if overall else FALLBACK
    errors = error_types(images)
    matrix = confusion_matrix(images, categories.ids, threshold, FOREGROUND)
    return {"metrics": evaluated.metrics.to_json(), "threshold": threshold,
            "overall": asdict(overall) if overall else None,
            "classes": _classes(evaluated, images, categories),
            "sizes": _sizes(evaluated, images, threshold),
            "curves": _curves(evaluated.coco, images),
            "errors": asdict(errors) if errors else None,
            "confusion": {"names": list(categories.names), "rows": matrix.tolist()}}, images


def _classes(evaluated: Evaluated, images: Sequence[ImageMatches], categories: Categories) -> list[dict[str, Any]]:
    precision = evaluated.coco.eval["precision"]  # (IoU, recall, category, size, detections)
    column = {number: index for index, number in enumerate(evaluated.coco.params.catIds)}
    rows = []
    for metrics, number in zip(evaluated.metrics.classes, categories.ids):
        ranking = ranking_of(images, number)
        point = best_point(ranking)
        by_size = {f"AP_{name}": mean_precision(precision[:, :, column[number], 1 + place, -1])
                   for place, (name, _, _) in enumerate(SIZES)}
        rows.append({**asdict(metrics), **by_size, "best": asdict(point) if point else None,
                     "curve": _short(ranking.interpolated()) if ranking.objects else None})
    return rows


def _sizes(evaluated: Evaluated, images: Sequence[ImageMatches], threshold: float) -> list[dict[str, Any]]:
    """Return AP and AR of each size, and how many of its objects are found at the threshold."""
    totals, hits = dict.fromkeys([name for name, _, _ in SIZES], 0), dict.fromkeys([name for name, _, _ in SIZES], 0)
    for image in images:
        matched = set(image.partner[image.scores >= threshold].tolist())
        for place, row in enumerate(image.truth):
            name = next((name for name, low, high in SIZES if low <= row["area"] < high), "large")
            totals[name] += 1
            hits[name] += place in matched
    metrics = evaluated.metrics.to_json()
    return [{"name": name, "AP": metrics[f"AP_{name}"], "AR": metrics[f"AR_{name}"], "objects": totals[name],
             "found": hits[name]} for name, _, _ in SIZES]


def _curves(coco: COCOeval, images: Sequence[ImageMatches]) -> dict[str, Any]:
    """Return COCO's precision over recall at some IoUs, the mean of all categories; and both over the score."""
    means = {}
    for iou in IOUS:
        place = int(np.abs(coco.params.iouThrs - iou).argmin())
        rows = coco.eval["precision"][place, :, :, 0, -1]  # (recall, category)
        known = rows[:, (rows > -1).all(0)]
        if known.size:
            means[f"{iou:.2f}"] = _short(known.mean(1))
    ranking = ranking_of(images)
    precision, recall = ranking.curve()
    thresholds = np.linspace(0, 1, 101)
    kept = np.searchsorted(-ranking.scores, -thresholds, side="right") - 1  # the last detection of a threshold
    shown = kept >= 0 if ranking.objects else np.zeros(len(kept), bool)
    return {"by_iou": means, "thresholds": _short(thresholds[shown]), "precision": _short(precision[kept[shown]]),
            "recall": _short(recall[kept[shown]])}


def _short(values: np.ndarray) -> list[float]:
    return np.round(values, 4).tolist()
