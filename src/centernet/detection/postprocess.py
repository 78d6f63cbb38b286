"""Post-processing: convert decoded detections to boxes in the image, COCO results and result files."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from centernet.categories import Categories
from centernet.detection.soft_nms import GAUSSIAN, soft_nms
from centernet.detection.transform import Meta
from centernet.files import write_json
from centernet.geometry import affine_matrix, transform_points


def to_image_boxes(detections: np.ndarray, meta: Meta) -> np.ndarray:
    """Map one image's detections from output cells to pixels of the original image.

    Args:
        detections: (K, 6) float32: x1, y1, x2, y2 in output cells, score, class.
        meta: how the image was transformed to the network's input.

    Returns:
        (K, 6) float32 with boxes in pixels. Boxes may extend beyond the image, as they may in COCO results.
    """
    matrix = affine_matrix(np.array(meta.c), np.array(meta.s), 0, (meta.out_width, meta.out_height), inverse=True)
    boxes = np.array(detections, np.float32)
    boxes[:, :4] = transform_points(boxes[:, :4].reshape(-1, 2), matrix).reshape(-1, 4) / meta.scale
    return boxes


def merge(per_scale: Sequence[np.ndarray], K: int, use_soft_nms: bool, method: int = GAUSSIAN) -> np.ndarray:
    """Merge one image's boxes of all scales and keep the K best.

    Args:
        per_scale: for each scale (N, 6) float32: x1, y1, x2, y2 in image pixels, score, class.
        K: largest number of boxes, over all classes.
        use_soft_nms: apply soft-NMS first. It is always applied to several scales.
        method: of soft_nms: HARD, LINEAR or GAUSSIAN.

    Returns:
        (<=K, 6) float32 by descending score.
    """
    boxes = np.concatenate(per_scale)
    if use_soft_nms or len(per_scale) > 1:
        boxes = soft_nms(boxes, method)
    return boxes[np.argsort(-boxes[:, 4], kind="stable")[:K]]


def to_coco_results(image_id: int, boxes: np.ndarray, categories: Categories) -> list[dict[str, Any]]:
    """Return the COCO results of one image: x, y, width, height in pixels, and the category's COCO id.

    Coordinates are rounded to 0.01 pixel, as usual. Scores are rounded to 6 decimals: with the usual 2 decimals,
    different scores become equal and AP changes by chance.
    """
    corners = boxes[:, :4].astype(np.float64)
    sides = np.round(np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]), 2).tolist()
    scores = np.round(boxes[:, 4].astype(np.float64), 6).tolist()
    return [{"image_id": image_id, "category_id": categories.ids[index], "bbox": side, "score": score}
            for side, score, index in zip(sides, scores, boxes[:, 5].astype(int).tolist())]


def to_readable(boxes: np.ndarray, categories: Categories) -> list[dict[str, Any]]:
    """Return one image's boxes in readable form: category name, score, and x1, y1, x2, y2 in pixels."""
    return [{"category": categories.names[int(index)], "score": round(float(score), 4),
             "box": [round(float(value), 1) for value in corners]}
            for *corners, score, index in boxes]


def write_results(folder: Path, mode: str, detections: Mapping[int, np.ndarray], names: Mapping[int, str],
                  categories: Categories, file_ids: Mapping[int, Any] = MappingProxyType({})) -> list[dict[str, Any]]:
    """Write {mode}_pred_eval.json (COCO results) and {mode}_pred_result.json (readable) into a folder.

    Args:
        folder: output folder; it is created if necessary.
        mode: "val" or "test".
        detections: image id -> (N, 6) boxes in pixels, as `merge` returns them.
        names: image id -> file name.
        categories: the model's categories.
        file_ids: image id -> id in the annotation file, where that is not the same; for {mode}_pred_eval.json.

    Returns:
        The COCO results, with the image ids of detections.
    """
    results = [row for image_id, boxes in detections.items() for row in to_coco_results(image_id, boxes, categories)]
    write_json(folder / f"{mode}_pred_eval.json",
               [{**row, "image_id": file_ids.get(row["image_id"], row["image_id"])} for row in results])
    keys = distinct_names(names)
    write_json(folder / f"{mode}_pred_result.json",
               {keys[image_id]: {"image_id": image_id, "detections": to_readable(boxes, categories)}
                for image_id, boxes in detections.items()})
    return results


def distinct_names(names: Mapping[int, str]) -> dict[int, str]:
    """Return the file names by image id; a name that an earlier image has gets the image id: a.jpg, a_id7.jpg."""
    used: set[str] = set()
    distinct = {}
    for image_id, name in names.items():
        while os.path.normpath(name) in used:
            stem, suffix = os.path.splitext(name)
            name = f"{stem}_id{image_id}{suffix}"
        used.add(os.path.normpath(name))
        distinct[image_id] = name
    return distinct
