"""How far the outputs of two forms of a model are apart."""
from __future__ import annotations

import numpy as np

TOLERANCE = 1e-3  # of an exported model's output, as the functions below measure it


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of two arrays of one shape, as a share of the largest expected value where that is above 1.

    Not of each value: a sum of large terms that happens to end near 0 is not more exact than the others.
    """
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1))


def largest_difference_of_detections(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of two (B,K,6) arrays, whatever the order of rows of nearly equal scores.

    Scores are compared by rank. Of the rows, those clearly above the last score are compared with
    their nearest partner, each value above 1 as a ratio: two detections tied for the last place
    may be cut off differently.
    """
    worst = largest_difference(found[..., 4], expected[..., 4])
    for one, other in ((found, expected), (expected, found)):
        for rows, partners in zip(one, other):
            kept = rows[rows[:, 4] > rows[-1, 4] + TOLERANCE]
            scale = np.maximum(np.abs(kept[:, None]), 1)
            pairs = (np.abs(kept[:, None] - partners[None]) / scale).max(axis=2)
            worst = float(np.maximum(worst, pairs.min(axis=1).max(initial=0)))  # NaN stays, unlike with max()
    return worst
