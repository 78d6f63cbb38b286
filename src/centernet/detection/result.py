"""Detection result of one image."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from centernet.categories import Categories
from centernet.detection.postprocess import to_coco_results
from centernet.detection.visualize import draw_boxes


@dataclass(frozen=True)
class Result:
    """The objects detected in one image, by descending score.

    Attributes:
        boxes: (N, 4) float32: x1, y1, x2, y2 in pixels of the image; they may extend beyond the image.
        scores: (N,) float32 in 0..1.
        labels: (N,) int64, classes: positions in categories.
        categories: names and COCO category ids of all classes.
        image: (h, w, 3) uint8 BGR, the image itself.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    categories: Categories = field(repr=False)
    image: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def names(self) -> list[str]:
        """Return the category name of each object."""
        return [self.categories.names[label] for label in self.labels]

    def draw(self, enlarge: int = 1) -> np.ndarray:
        """Return a copy of the image with boxes, names and scores drawn on it: (h, w, 3) uint8 BGR times enlarge."""
        return draw_boxes(self.image, self.boxes, self.labels.tolist(), self.categories.names, self.scores.tolist(),
                          enlarge)

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """Return COCO results: rows of image_id, category_id, bbox (x, y, width, height in pixels) and score."""
        return to_coco_results(image_id, np.column_stack([self.boxes, self.scores, self.labels]), self.categories)


def result_of(rows: np.ndarray, image: np.ndarray, categories: Categories, score_thresh: float) -> Result:
    """Build a Result from (N, 6) rows: x1, y1, x2, y2 in pixels, score, class. Omit rows below score_thresh."""
    rows = rows[rows[:, 4] >= score_thresh]
    return Result(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64), categories, image)
