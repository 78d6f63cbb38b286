"""From raw maps to detections in NumPy, for maps that a runtime hands to the host: what decode.py does in the graph."""
from __future__ import annotations

import cv2
import numpy as np

WINDOW = np.ones((3, 3), np.uint8)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logits)) in float32; a new array."""
    values = np.negative(logits, dtype=np.float32)
    with np.errstate(over="ignore"):  # exp of more than 88 is infinite, and the score then 0, as it should be
        np.exp(values, out=values)
    values += 1
    return np.reciprocal(values, out=values)


def decode(scores: np.ndarray, wh: np.ndarray, reg: np.ndarray | None, K: int,
           cat_spec_wh: bool = False) -> np.ndarray:
    """The K highest peaks of the heatmaps as boxes, as decode.Decode gives them.

    Args:
        scores: (B,C,h,w) float32, after the sigmoid.
        wh: (B,2,h,w) or (B,2C,h,w), box sizes in cells.
        reg: (B,2,h,w), the centre's offset in its cell; None for the middle of the cell.
        K: detections of an image; at most h * w.
        cat_spec_wh: wh has two channels for each class.

    Returns:
        (B,K,6) float32, best first: x1, y1, x2, y2 in output-map cells, score, class index. NaN where the scores of
        an image have NaN, as no order is right then.
    """
    height, width = scores.shape[2:]
    found = np.empty((len(scores), K, 6), np.float32)
    for image, rows in enumerate(found):
        rows[:, 4], order = _best_peaks(scores[image], K)
        cls, cell = np.divmod(order, height * width)
        y, x = np.divmod(cell, width)
        center = np.stack([x, y], 1).astype(np.float32)
        center += 0.5 if reg is None else reg[image][:, y, x].T
        channel = 2 * cls if cat_spec_wh else 0
        half = np.stack([wh[image][channel, y, x], wh[image][channel + 1, y, x]], 1) * np.float32(0.5)
        rows[:, :2], rows[:, 2:4], rows[:, 5] = center - half, center + half, cls
    return found


def _best_peaks(scores: np.ndarray, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and positions in the flattened (C,h,w) map, of the K highest peaks, best first.

    A peak is its own 3x3 maximum; what is none counts as 0. Of equal ones the first comes first.
    """
    if np.isnan(scores.max()):
        return np.full(K, np.nan, np.float32), np.zeros(K, np.int64)
    highest = np.empty_like(scores)
    for plane, result in zip(scores, highest):
        cv2.dilate(plane, WINDOW, dst=result)
    peaks = np.flatnonzero(scores == highest)
    flat = scores.ravel()
    if len(peaks) < K:
        flat = np.where(scores == highest, scores, 0).ravel()
        peaks = np.arange(flat.size)
    values = flat[peaks]
    peaks = peaks[values >= np.partition(values, -K)[-K]]
    order = peaks[np.argsort(-flat[peaks], kind="stable")[:K]]
    return flat[order], order
