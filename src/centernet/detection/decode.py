"""Decoding of output maps in NumPy, for runtimes that return maps. models/decode.py does the same in the graph."""
from __future__ import annotations

import cv2
import numpy as np

from centernet.config.sections import CELL_POINT

WINDOW = np.ones((3, 3), np.uint8)
MIRRORED = (2, 1, 0, 3)  # channels of ltrb after mirroring: left and right change places


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-logits)) in float32, in a new array."""
    values = np.negative(logits, dtype=np.float32)
    with np.errstate(over="ignore"):  # exp of more than 88 is infinite; then the score is 0, which is correct
        np.exp(values, out=values)
    values += 1
    return np.reciprocal(values, out=values)


def decode(scores: np.ndarray, wh: np.ndarray, reg: np.ndarray | None, K: int,
           cat_spec_wh: bool = False, box_head: str = "wh_reg") -> np.ndarray:
    """Return the K highest peaks of the heatmaps as boxes, in the same form as models.decode.Decode.

    Args:
        scores: (B,C,h,w) float32, after the sigmoid.
        wh: (B,2,h,w) or (B,2C,h,w), box sizes in output cells; with box_head ltrb (B,4,h,w), distances in cells from a
            cell's point to the left, top, right and bottom side.
        reg: (B,2,h,w), offset of the centre within its output cell; None: the middle of the cell.
        K: detections per image; at most h * w.
        cat_spec_wh: wh has two channels for each class.
        box_head: "wh_reg" or "ltrb".

    Returns:
        (B,K,6) float32, best first: x1, y1, x2, y2 in output cells, score, class. If the scores of an image contain
        NaN, its scores here are NaN, because the peaks cannot be ordered.
    """
    height, width = scores.shape[2:]
    found = np.empty((len(scores), K, 6), np.float32)
    for image, rows in enumerate(found):
        rows[:, 4], order = _best_peaks(scores[image], K)
        cls, cell = np.divmod(order, height * width)
        y, x = np.divmod(cell, width)
        rows[:, 5] = cls
        center = np.stack([x, y], 1).astype(np.float32)
        if box_head == "ltrb":
            sides = wh[image][:, y, x].T
            center += CELL_POINT
            rows[:, :2], rows[:, 2:4] = center - sides[:, :2], center + sides[:, 2:]
            continue
        center += 0.5 if reg is None else reg[image][:, y, x].T
        channel = 2 * cls if cat_spec_wh else 0
        half = np.stack([wh[image][channel, y, x], wh[image][channel + 1, y, x]], 1) * np.float32(0.5)
        rows[:, :2], rows[:, 2:4] = center - half, center + half
    return found


def _best_peaks(scores: np.ndarray, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of the K highest peaks and their positions in the flattened (C,h,w) map, best first.

    A peak is the maximum of its 3x3 neighbourhood; other positions count as 0. Equal peaks keep their order.
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
