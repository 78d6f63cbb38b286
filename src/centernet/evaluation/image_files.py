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

VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".mts")


def find_images(pattern: str) -> list[Path]:
    """Return the image files of --image, sorted: one file, the files in a folder, or the files that match a glob.

    Raises:
        UserError: there is no image.
    """
    path = Path(pattern)
    if path.is_file():
        if path.suffix.lower() in VIDEOS:
            raise UserError(_no_video(path))
        return [path]
    candidates = list(path.iterdir() if path.is_dir() else map(Path, glob.glob(pattern, recursive=True)))
    videos = sorted(item for item in candidates if item.suffix.lower() in VIDEOS)
    if videos:
        LOG.warning("warning: %s", _no_video(videos[0], len(videos)))
    found = sorted(item for item in candidates if item.is_file() and item.suffix.lower() in SUFFIXES)
    if not found:
        raise UserError(f"--image {pattern}: there is no such file, no folder of this name with images "
                        f"({', '.join(SUFFIXES)}), and no image that matches it as a glob pattern")
    return found


def _no_video(path: Path, count: int = 1) -> str:
    files = f"{path}" if count == 1 else f"{path} and {count - 1} more files"
    return (f"--image: {files}: videos are not supported. Write the pictures of each first: ffmpeg -i {path.name} "
            f"frames/%06d.jpg; then use --image frames")


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
    seconds: list[float] = []
    if any((folder / "pictures").glob("*")):
        LOG.warning("%s contains images of an earlier run: images with the same names are replaced, the others stay",
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
        raise UserError(f"none of the {len(images)} files could be read: see the messages above")
    write_json(folder / "detections.json", {"score_thresh": detector.settings.score_thresh, "images": rows})
    LOG.info("%d boxes in %d of %d images: %s and pictures/", sum(len(row["detections"]) for row in rows), len(rows),
             len(images), folder / "detections.json")
    LOG.info("%s", speed(seconds, 1))


def _listed(result: Result) -> list[dict[str, Any]]:
    """Return one image's boxes with category name and COCO id, score, and x1, y1, x2, y2 in pixels of the image."""
    height, width = result.image.shape[:2]
    # A box may extend beyond the image. COCO results keep it so, but readers of this file cut out the pixels.
    rows = np.column_stack([np.clip(result.boxes, 0, [width, height] * 2), result.scores, result.labels])
    return [{**readable, "category_id": found["category_id"]} for readable, found in
            zip(to_readable(rows, result.categories), result.to_coco(0))]


def _picture_name(name: Path) -> Path:
    """Return a name with the suffix of an output format (.jpg, .png). Different files keep different names."""
    return name if name.suffix.lower() in (".jpg", ".png") else name.with_name(f"{name.name}.jpg")
