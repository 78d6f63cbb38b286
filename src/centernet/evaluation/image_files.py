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

from centernet.data.image_file import read_image
from centernet.detection.detector import Detector
from centernet.detection.postprocess import to_readable
from centernet.detection.result import Result
from centernet.detection.visualize import save_picture
from centernet.errors import UserError
from centernet.files import write_json
from centernet.runtimes.sizes import speed

LOG = logging.getLogger("centernet")

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


def infer_images(detector: Detector, images: list[Path], folder: Path) -> None:
    """Write folder/detections.json and folder/pictures/; files that are no whole images are named and left out.

    Args:
        detector: its score_thresh decides: lower scores are neither listed nor drawn.
        images: files, from find_images.
        folder: made if it is not there.

    Raises:
        UserError: no file could be read, or the folder cannot be written.
    """
    rows: list[dict[str, Any]] = []
    seconds: list[float] = []
    if any((folder / "pictures").glob("*")):
        LOG.warning("%s holds pictures of an earlier run: those of the same names are replaced, the others stay",
                    folder / "pictures")
    root = Path(os.path.commonpath([image.parent.absolute() for image in images]))
    for path in tqdm(images, unit="image", disable=None):
        try:
            image = read_image(path)
        except UserError as error:
            LOG.warning("left out: %s", error)
            continue
        start = time.perf_counter()
        result = detector(image)
        seconds.append(time.perf_counter() - start)
        rows.append({"file": str(path), "width": image.shape[1], "height": image.shape[0],
                     "detections": _listed(result)})
        save_picture(folder / "pictures" / _picture_name(path.absolute().relative_to(root)), result.draw())
    if not rows:
        raise UserError(f"none of the {len(images)} files could be read; see above")
    write_json(folder / "detections.json", {"score_thresh": detector.settings.score_thresh, "images": rows})
    LOG.info("%d boxes in %d of %d images: %s and pictures/", sum(len(row["detections"]) for row in rows), len(rows),
             len(images), folder / "detections.json")
    LOG.info("%s", speed(seconds, 1))


def _listed(result: Result) -> list[dict[str, Any]]:
    """One image's boxes with the category's name and COCO id, the score, and x1, y1, x2, y2 in pixels."""
    rows = np.column_stack([result.boxes, result.scores, result.labels])
    return [{**readable, "category_id": found["category_id"]} for readable, found in
            zip(to_readable(rows, result.categories), result.to_coco(0))]


def _picture_name(name: Path) -> Path:
    """A name whose suffix is a format that pictures are written in; different files keep different names."""
    return name if name.suffix.lower() in (".jpg", ".png") else name.with_name(f"{name.name}.jpg")
