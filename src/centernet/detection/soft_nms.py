"""Soft-NMS: lower the scores of boxes that overlap better ones (Bodla et al. 2017)."""
from __future__ import annotations

import numpy as np

HARD, LINEAR, GAUSSIAN = 0, 1, 2


def soft_nms(boxes: np.ndarray, method: int = GAUSSIAN, Nt: float = 0.5, threshold: float = 0.001,
             sigma: float = 0.5) -> np.ndarray:
    """Lower the scores of boxes from the best to the worst and remove boxes with a low new score.

    Args:
        boxes: (N, 5) or (N, 6) float32: x1, y1, x2, y2 in pixels, score, class. Boxes of different classes do not
            affect each other.
        method: 0 (hard) removes boxes that overlap a better one by more than Nt; 1 (linear) multiplies their scores
            by 1 - overlap; 2 (Gaussian) multiplies the score of every overlapping box by exp(-overlap^2 / sigma).
        Nt: overlap (intersection over union) for methods 0 and 1.
        threshold: overlapping boxes are removed if their final score is below this. A box that overlaps no better box
            keeps its score, even below the threshold.
        sigma: width of the Gaussian of method 2.

    Returns:
        (M, 5 or 6) float32 with M <= N, by descending new score.
    """
    if len(boxes) == 0:
        return boxes.copy()
    overlap = _overlaps(boxes)
    touching = overlap > 0
    weight = _weights(overlap, method, Nt, sigma)
    scores = boxes[:, 4].astype(np.float64)
    touched = np.zeros(len(boxes), bool)
    kept = np.ones(len(boxes), bool)
    # Only boxes that overlap another box are processed; -1 marks boxes without an overlap and processed boxes.
    waiting = np.where(touching.any(axis=1), scores, -1.0)
    for _ in range(np.count_nonzero(waiting >= 0)):
        best = int(waiting.argmax())
        scores[best] = waiting[best]
        waiting[best] = -1.0
        weight[:, best] = 1.0
        if touched[best] and scores[best] < threshold:
            kept[best] = False
            continue
        waiting *= weight[best]
        touched |= touching[best]
    result = boxes[kept].copy()
    result[:, 4] = scores[kept]
    return result[np.argsort(-result[:, 4], kind="stable")]


def _overlaps(boxes: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes: (N, N) float64, 0 for different classes and on the diagonal.

    The width of a box is x2 - x1 + 1, as in the code that produced the published results.
    """
    x1, y1, x2, y2 = boxes[:, :4].astype(np.float64).T
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    width = np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1) + 1
    height = np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1) + 1
    common = np.maximum(width, 0) * np.maximum(height, 0)
    if boxes.shape[1] > 5:
        common *= boxes[:, None, 5] == boxes[:, 5]
    np.fill_diagonal(common, 0)
    return common / np.maximum(area[:, None] + area - common, np.finfo(np.float64).tiny)


def _weights(overlap: np.ndarray, method: int, Nt: float, sigma: float) -> np.ndarray:
    """Return the factors (N, N) by which a box (row) multiplies the scores of the other boxes (columns)."""
    if method == GAUSSIAN:
        return np.exp(-overlap * overlap / sigma)
    return np.where(overlap > Nt, 1 - overlap if method == LINEAR else 0.0, 1.0)
