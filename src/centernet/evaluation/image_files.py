"""Detection in image files: it writes a list of the detections, and images with boxes (visualisations)."""
from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from centernet.data.defects import report_all
from centernet.data.image_file import decode_file, is_dark, read_file
from centernet.data.orientation import DARK
from centernet.detection.finder import Finder
from centernet.detection.postprocess import distinct_names
from centernet.detection.visualize import enlargement, picture_path, save_picture
from centernet.errors import UserError
from centernet.evaluation.found_files import DETECTIONS, PICTURES, listed, remove_earlier, write_found
from centernet.interrupt import stop_if_interrupted
from centernet.runtimes.sizes import speed

LOG = logging.getLogger("centernet")


def infer_images(finder: Finder, images: list[Path], folder: Path, formats: Iterable[str] = ("json",)) -> None:
    """Detect objects in image files; write folder/detections.json and folder/pictures/.

    Files that are not complete images are reported and left out. The files of an earlier run are removed.

    Args:
        finder: detections below its score_thresh are neither listed nor drawn.
        images: files, from find_inputs.
        folder: output folder; it is created if necessary.
        formats: see write_found.

    Raises:
        UserError: no file could be read, or the folder is not writable.
    """
    if others := remove_earlier(folder):
        LOG.warning("%s has %d pictures that are not of the last run here: images with the same names are replaced, "
                    "the others stay", folder / PICTURES, others)
    rows: list[dict[str, Any]] = []
    dark: list[tuple[str, str]] = []
    seconds: list[float] = []
    best = 0.0
    for path, name in zip(tqdm(images, unit="image", disable=None), _picture_names(images)):
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
        result, highest = finder.find(image)
        seconds.append(time.perf_counter() - start)
        best = max(best, highest)
        picture = Path(PICTURES) / name
        rows.append({"file": str(path), "width": image.shape[1], "height": image.shape[0], "picture": str(picture),
                     "detections": listed(result)})
        save_picture(folder / picture, result.draw(enlargement(image)))
    report_all("the images", dark)
    if not rows:
        raise UserError(f"none of the {len(images)} files could be read: see the messages above")
    write_found(folder, rows, finder.detector.spec.categories, finder.score_thresh, formats)
    boxes = sum(len(row["detections"]) for row in rows)
    LOG.info("%d boxes in %d of %d images: %s and pictures/%s", boxes, len(rows), len(images), folder / DETECTIONS,
             "" if boxes else no_boxes(best, finder.score_thresh))
    LOG.info("%s", speed(seconds, 1))


def no_boxes(highest: float, score_thresh: float) -> str:
    """Return the end of a log line for a run without boxes: the highest score, and what to do."""
    if not highest:
        return ". The model gave no box of the chosen categories at all"
    return (f". The highest score is {highest:.3g}, the threshold {score_thresh:g}: to see the boxes, use a "
            f"lower --score_thresh; good models have objects above 0.3")


def _picture_names(images: Sequence[Path]) -> list[str]:
    """Return the names of the images' pictures below their folder, all different."""
    # abspath, because a ".." must not lead out of the folder of pictures: it could overwrite the original images.
    paths = [Path(os.path.abspath(image)) for image in images]
    root = os.path.commonpath([path.parent for path in paths])
    # Names after the change of the suffix: b.webp and b.webp.jpg would be the same picture.
    return list(distinct_names({number: str(picture_path(path.relative_to(root)))
                                for number, path in enumerate(paths, 1)}).values())
