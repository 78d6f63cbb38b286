"""Comparison of the outputs of two forms of a model."""
from __future__ import annotations

import numpy as np

TOLERANCE = 1e-3  # largest allowed difference of an exported model's output, measured by the functions below


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of two arrays of one shape, divided by the largest expected value or by 1.

    The larger divisor counts. The difference is not relative to each value: if a sum of large terms is close to 0, it
    is not more exact than other sums.
    """
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1))


def largest_difference_of_detections(found: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE) -> float:
    """Return the largest difference of two (B,K,6) arrays of detections. Rows with similar scores may change places.

    Scores are compared in their order. A row is compared with the most similar row of the other array, if its score is
    above the last score by more than the tolerance: of two detections with equal scores at the end, either one may be
    missing. For values above 1 the difference is relative.
    """
    worst = largest_difference(found[..., 4], expected[..., 4])
    for one, other in ((found, expected), (expected, found)):
        for rows, partners in zip(one, other):
            kept = rows[distinct(rows, tolerance)]
            scale = np.maximum(np.abs(kept[:, None]), 1)
            pairs = (np.abs(kept[:, None] - partners[None]) / scale).max(axis=2)
            worst = float(np.maximum(worst, pairs.min(axis=1).max(initial=0)))  # keeps NaN; Python's max() may not
    return worst


def distinct(rows: np.ndarray, tolerance: float) -> np.ndarray:
    """Return which detections (..., K, 6) have scores above their image's last score by more than the tolerance."""
    return rows[..., 4] > rows[..., -1:, 4] + tolerance
