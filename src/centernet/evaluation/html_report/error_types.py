"""Errors by type, as TIDE defines them (Bolya et al. 2020, https://arxiv.org/abs/2008.08115).

A false positive gets one type by its largest IoU with the annotated objects, which must be matched at FOREGROUND:

| type         | definition                                                                                  |
|--------------|---------------------------------------------------------------------------------------------|
| localisation | IoU with an object of its category between BACKGROUND and FOREGROUND                        |
| class        | IoU with an object of another category of at least FOREGROUND                               |
| duplicate    | IoU with an object of its category of at least FOREGROUND, which a better detection matches |
| background   | IoU with every object at most BACKGROUND                                                    |
| both         | the others: neither the place nor the category is right                                     |
| missed       | an object that nothing matches, and that no error of localisation or class explains         |

The first type of this order that fits is taken. dAP of a type is the gain of AP50 if all its errors were corrected. It
is not a share: the gains of all types do not add up to what is missing.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from centernet.evaluation.html_report.curves import Ranking
from centernet.evaluation.html_report.matching import ImageMatches, object_counts

FOREGROUND, BACKGROUND = 0.5, 0.1
LOCALISATION, CLASS, BOTH, DUPLICATE, BACKGROUND_TYPE, MISSED = TYPES = (
    "localisation", "class", "both", "duplicate", "background", "missed")


@dataclass(frozen=True)
class ErrorTypes:
    """Numbers of errors by type, and the gain of AP50 (dAP, 0..1) if the errors of a type were corrected."""

    ap50: float
    counts: dict[str, int]
    gains: dict[str, float]
    false_positives: float  # gain without all false positives
    false_negatives: float  # gain if no object were missed


@dataclass
class _Detection:
    score: float
    category: int
    hit: bool
    kind: str = ""
    target: tuple[int, int] = (-1, -1)  # image and position of the object that an error of localisation or class means
    target_category: int = 0
    target_free: bool = False           # nothing matches this object


def error_types(images: Sequence[ImageMatches]) -> ErrorTypes | None:
    """Return the errors by type of images that were matched at FOREGROUND; None if nothing is annotated."""
    objects = object_counts(images)
    if not objects:
        return None
    rows = [row for image in images for row in _detections(image)]
    covered = {row.target for row in rows if row.target_free}
    missed = Counter(truth["category_id"] for image in images for place, truth in enumerate(image.truth)
                     if place not in image.partner and (image.image_id, place) not in covered)
    base = _mean_ap(rows, objects)
    gains = {kind: _mean_ap(_corrected(rows, kind), objects) - base for kind in TYPES if kind != MISSED}
    gains[MISSED] = _mean_ap(rows, {category: count - missed[category] for category, count in objects.items()}) - base
    counts = Counter(row.kind for row in rows if row.kind)
    found = Counter(row.category for row in rows if row.hit)
    return ErrorTypes(base, {kind: counts[kind] for kind in TYPES if kind != MISSED} | {MISSED: missed.total()},
                      {kind: gains[kind] for kind in TYPES},
                      _mean_ap([row for row in rows if row.hit], objects) - base,
                      _mean_ap(rows, {category: found[category] for category in objects}) - base)


def _detections(image: ImageMatches) -> list[_Detection]:
    kinds, targets = classify(image)
    taken = set(image.partner.tolist())
    rows = []
    for number, (row, kind) in enumerate(zip(image.found, kinds)):
        if image.ignored[number]:
            continue
        found = _Detection(row["score"], row["category_id"], bool(image.partner[number] >= 0), kind)
        if kind in (LOCALISATION, CLASS):
            place = int(targets[number])
            found.target, found.target_free = (image.image_id, place), place not in taken
            found.target_category = image.truth[place]["category_id"]
        rows.append(found)
    return rows


def classify(image: ImageMatches) -> tuple[list[str], np.ndarray]:
    """Return the type of each detection, "" for a right or ignored one, and the object that it means.

    Returns:
        Types; (found,) int: for localisation and class, the position of the object in image.truth, else -1.
    """
    count = len(image.found)
    wrong = (image.partner < 0) & ~image.ignored
    targets = np.full(count, -1)
    if not image.truth or not count:
        return [BACKGROUND_TYPE if value else "" for value in wrong], targets
    own, other = np.where(image.same, image.overlaps, 0), np.where(image.same, 0, image.overlaps)
    best_own, best_other = own.max(1), other.max(1)
    tests = ((LOCALISATION, (best_own > BACKGROUND) & (best_own < FOREGROUND)), (CLASS, best_other >= FOREGROUND),
             (DUPLICATE, best_own >= FOREGROUND), (BACKGROUND_TYPE, np.maximum(best_own, best_other) <= BACKGROUND),
             (BOTH, np.ones(count, bool)))
    kinds = []
    for number in range(count):
        kind = next(name for name, fits in tests if fits[number]) if wrong[number] else ""
        kinds.append(kind)
        if kind in (LOCALISATION, CLASS):
            targets[number] = (own if kind == LOCALISATION else other)[number].argmax()
    return kinds, targets


def _corrected(rows: Sequence[_Detection], kind: str) -> list[_Detection]:
    """Return the detections as if the errors of a type were corrected.

    An error of localisation or class becomes right. If several mean one object, that is the one with the highest score,
    and the others are left out, as all are if another detection already matches the object. Errors of the other types
    are left out.
    """
    best: dict[tuple[int, int], _Detection] = {}
    for row in rows:
        if row.kind == kind and row.target_free and (row.target not in best or row.score > best[row.target].score):
            best[row.target] = row
    fixed = []
    for row in rows:
        if row.kind != kind:
            fixed.append(row)
        elif best.get(row.target) is row:
            fixed.append(replace(row, hit=True, category=row.target_category))
    return fixed


def _mean_ap(rows: Sequence[_Detection], objects: Mapping[int, int]) -> float:
    """Return the mean AP of the categories. One whose objects are all gone counts 0 while detections of it remain."""
    by_category: dict[int, list[_Detection]] = {category: [] for category in objects}
    for row in rows:
        if row.category in by_category:  # COCO's mean leaves out categories that are not annotated
            by_category[row.category].append(row)
    values = [Ranking.of([row.score for row in found], [row.hit for row in found],
                         objects[category]).average_precision() if objects[category] else 0.0
              for category, found in by_category.items() if objects[category] or found]
    return float(np.mean(values)) if values else 0.0
