"""Detect on loose image files: a JSON list of what was found, and pictures with the boxes drawn."""
from __future__ import annotations

import glob
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from centernet.config.schema import EvalConfig
from centernet.detection.postprocess import to_coco_results, to_readable, write_json
from centernet.detection.visualize import draw_boxes, save_picture
from centernet.errors import UserError
from centernet.evaluation.detect import detect_image, read_image
from centernet.runtimes.base import Backend, speed

log = logging.getLogger("centernet")

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def find_images(pattern: str) -> list[Path]:
    """The image files that --image means: one file, those in a folder, or those that match a glob; sorted.

    Raises:
        UserError: there is none.
    """
    path = Path(pattern)
    if path.is_file():
        return [path]
    candidates = path.iterdir() if path.is_dir() else map(Path, glob.glob(pattern, recursive=True))
    found = sorted(item for item in candidates if item.is_file() and item.suffix.lower() in SUFFIXES)
    if not found:
        raise UserError(f"--image {pattern}: no such file, and no image ({', '.join(SUFFIXES)}) in a folder of "
                        "this name or matching it as a glob")
    return found


def detect_pictures(backend: Backend, images: list[Path], evaluation: EvalConfig, input_res: tuple[int, int],
                    folder: Path) -> None:
    """Write folder/detections.json and folder/pictures/; files that are no whole images are named and left out.

    Args:
        backend: the model.
        images: files, from find_images.
        evaluation: resolution, scales, soft-NMS, K, and score_thresh: lower scores are neither listed nor drawn.
        input_res: (height, width) of the input without keep_res.
        folder: made if it is not there.

    Raises:
        UserError: no file could be read, or the folder cannot be written.
    """
    rows, seconds = [], []
    if any((folder / "pictures").glob("*")):
        log.warning("%s holds pictures of an earlier run: those of the same names are replaced, the others stay",
                    folder / "pictures")
    root = Path(os.path.commonpath([image.parent.absolute() for image in images]))
    for path in tqdm(images, unit="image", disable=None):
        try:
            image = read_image(path)
        except UserError as error:
            log.warning("left out: %s", error)
            continue
        start = time.perf_counter()
        boxes = detect_image(backend, image, evaluation, input_res)
        seconds.append(time.perf_counter() - start)
        boxes = boxes[boxes[:, 4] >= evaluation.score_thresh]
        rows.append({"file": str(path), "width": image.shape[1], "height": image.shape[0],
                     "detections": _listed(boxes, backend)})
        picture = draw_boxes(image, boxes[:, :4], boxes[:, 5].astype(int), backend.categories.names, boxes[:, 4])
        save_picture(folder / "pictures" / _picture_name(path.absolute().relative_to(root)), picture)
    if not rows:
        raise UserError(f"none of the {len(images)} files could be read; see above")
    write_json(folder / "detections.json", {"score_thresh": evaluation.score_thresh, "images": rows})
    log.info("%d boxes in %d of %d images: %s and pictures/", sum(len(row["detections"]) for row in rows), len(rows),
             len(images), folder / "detections.json")
    log.info("%s", speed(seconds, 1))


def _listed(boxes: np.ndarray, backend: Backend) -> list[dict[str, Any]]:
    """One image's boxes with the category's name and COCO id, the score, and x1, y1, x2, y2 in pixels."""
    return [{**readable, "category_id": result["category_id"]} for readable, result in
            zip(to_readable(boxes, backend.categories), to_coco_results(0, boxes, backend.categories))]


def _picture_name(name: Path) -> Path:
    """A name whose suffix is a format that pictures are written in; different files keep different names."""
    return name if name.suffix.lower() in (".jpg", ".png") else name.with_name(f"{name.name}.jpg")
