"""Detection in image files: it writes a JSON list of the detections, and images with boxes (visualisations)."""
from __future__ import annotations

import glob
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from centernet.data.defects import EXAMPLES, report_all
from centernet.data.image_file import decode_file, is_dark, read_file
from centernet.data.orientation import DARK
from centernet.detection.detector import Detector
from centernet.detection.postprocess import to_readable
from centernet.detection.result import Result
from centernet.detection.visualize import save_picture
from centernet.errors import UserError
from centernet.files import require_utf8, write_json
from centernet.interrupt import stop_if_interrupted
from centernet.runtimes.sizes import speed

LOG = logging.getLogger("centernet")

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jpe", ".jp2", ".png", ".bmp", ".webp", ".tif", ".tiff")


def find_images(pattern: str) -> list[Path]:
    """Return the image files of --image, sorted: one file, the files in a folder, or the files that match a glob.

    Raises:
        UserError: there is no image, or the name of one is not UTF-8: detections.json could not have it.
    """
    path = Path(pattern)
    if path.is_file():
        found = [path]
    else:
        candidates = sorted(path.iterdir() if path.is_dir() else map(Path, glob.glob(pattern, recursive=True)))
        files = [item for item in candidates if item.is_file()]
        found = [item for item in files if item.suffix.lower() in SUFFIXES]
        if others := [item.name for item in files if item.suffix.lower() not in SUFFIXES]:
            LOG.warning("--image %s: %d files have no suffix of an image (%s) and are passed over: %s%s", pattern,
                        len(others), ", ".join(SUFFIXES), ", ".join(others[:EXAMPLES]),
                        ", ..." * (len(others) > EXAMPLES))
    if not found:
        raise UserError(f"--image {pattern}: there is no such file, no folder of this name with images "
                        f"({', '.join(SUFFIXES)}), and no image that matches it as a glob pattern")
    for item in found:
        require_utf8(str(item), "image")
    return found


def infer_images(detector: Detector, images: list[Path], folder: Path) -> None:
    """Detect objects in image files; write folder/detections.json and folder/pictures/.

    Files that are not complete images are reported and left out.

    Args:
        detector: detections below its score_thresh are neither listed nor drawn.
        images: files, from find_images.
        folder: output folder; it is created if necessary.

    Raises:
        UserError: no file could be read, or the folder is not writable.
    """
    rows: list[dict[str, Any]] = []
    dark: list[tuple[str, str]] = []
    seconds: list[float] = []
    if any((folder / "pictures").glob("*")):
        LOG.warning("%s contains images of an earlier run: images with the same names are replaced, the others stay",
                    folder / "pictures")
    root = Path(os.path.commonpath([image.parent.absolute() for image in images]))
    for path in tqdm(images, unit="image", disable=None):
        stop_if_interrupted()
        try:
            data = read_file(path)
            image = decode_file(data, path)
        except UserError as error:
            LOG.warning("left out: %s", error)
            continue
        if is_dark(data):
            dark.append((DARK, str(path)))
        start = time.perf_counter()
        result = detector(image)
        seconds.append(time.perf_counter() - start)
        rows.append({"file": str(path), "width": image.shape[1], "height": image.shape[0],
                     "detections": _listed(result)})
        save_picture(folder / "pictures" / _picture_name(path.absolute().relative_to(root)), result.draw())
    report_all("the images", dark)
    if not rows:
        raise UserError(f"none of the {len(images)} files could be read: see the messages above")
    write_json(folder / "detections.json", {"score_thresh": detector.settings.score_thresh, "images": rows})
    LOG.info("%d boxes in %d of %d images: %s and pictures/", sum(len(row["detections"]) for row in rows), len(rows),
             len(images), folder / "detections.json")
    LOG.info("%s", speed(seconds, 1))


def _listed(result: Result) -> list[dict[str, Any]]:
    """Return one image's boxes with category name and COCO id, score, and x1, y1, x2, y2 in pixels."""
    rows = np.column_stack([result.boxes, result.scores, result.labels])
    return [{**readable, "category_id": found["category_id"]} for readable, found in
            zip(to_readable(rows, result.categories), result.to_coco(0))]


def _picture_name(name: Path) -> Path:
    """Return a name with the suffix of an output format (.jpg, .png). Different files keep different names."""
    return name if name.suffix.lower() in (".jpg", ".png") else name.with_name(f"{name.name}.jpg")
