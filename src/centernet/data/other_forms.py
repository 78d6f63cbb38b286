"""Boxes in another form than x, y, width, height in pixels."""
from __future__ import annotations

import numpy as np

from centernet.data.annotations import Annotations, place
from centernet.data.defects import Report


def find_other_forms(annotations: Annotations, sizes: dict[int, tuple[int, int] | None], report: Report) -> None:
    """Count boxes that are probably not x, y, width, height in pixels, if that holds for most boxes of the file."""
    known = [row for row, image_id in enumerate(annotations.box_images.tolist()) if sizes.get(image_id)]
    if not known:
        return
    boxes, image_ids = annotations.boxes[known], annotations.box_images[known].tolist()
    limits = np.array([sizes[image_id] for image_id in image_ids], np.float64) + 1  # a pixel more, for rounded numbers
    past = (boxes[:, :2] + boxes[:, 2:] > limits).any(1)
    corners = (boxes[:, 2:] > boxes[:, :2]).all(1) & (boxes[:, 2:] <= limits).all(1)
    suspicions = (("box past its image, as most boxes of the file: x1, y1, x2, y2 in place of x, y, width, height? Box "
                   "kept", past & corners),
                  ("box with all numbers at most 1, as all boxes of the file: fractions of the image in place of "
                   "pixels? Box kept", (np.abs(boxes) <= 1).all(1) & (limits > 10).all(1)))
    for (kind, rows), share in zip(suspicions, (0.5, 0.999)):
        if rows.mean() > share:
            for row in np.flatnonzero(rows).tolist():
                report.defects.add(kind, f"{place(annotations.box_ids[known[row]], image_ids[row])}: "
                                         f"{boxes[row].tolist()}")
