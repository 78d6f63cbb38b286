"""Detection in image files: it writes a list of the detections, and images with boxes (visualisations)."""
from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from centernet.data.defects import report_all
from centernet.data.image_file import decode_file, is_dark, read_file
from centernet.data.orientation import DARK
from centernet.detection.finder import Finder
from centernet.detection.postprocess import distinct_names
from centernet.detection.visualize import enlargement, picture_path, save_picture
from centernet.errors import Interrupted, UserError
from centernet.evaluation.found_files import DETECTIONS, PICTURES, listed, remove_earlier, write_found
from centernet.interrupt import stop_if_interrupted
from centernet.runtimes.sizes import speed

LOG = logging.getLogger("centernet")


def infer_images(finder: Finder, images: list[Path], folder: Path, formats: Iterable[str] = ("json",)) -> None:
    """Detect objects in image files; write folder/detections.json and folder/pictures/.

    Files that are not complete images are reported and left out. The files of an earlier run are removed. After a
    signal or an error, too, the lists have the images that were finished; the message says how many.

    Args:
        finder: detections below its score_thresh are neither listed nor drawn.
        images: files, from find_inputs.
        folder: output folder; it is created if necessary.
        formats: see write_found.

    Raises:
        UserError: no file could be read, or the folder is not writable.
        Interrupted: a signal arrived.
    """
    if others := remove_earlier(folder):
        LOG.warning("%s has %d pictures that are not of the last run here: images with the same names are replaced, "
                    "the others stay", folder / PICTURES, others)
    run = _Run(finder, images, folder, formats)
    try:
        run.detect()
    except (Interrupted, UserError) as stop:
        if run.rows:
            raise run.with_results(stop) from stop
        raise
    if not run.rows:
        raise UserError(f"none of the {len(images)} files could be read: see the messages above")
    run.finish()


@dataclass
class _Run:
    """The arguments of infer_images, and what is known so far."""

    finder: Finder
    images: list[Path]
    folder: Path
    formats: Iterable[str]
    rows: list[dict[str, Any]] = field(default_factory=list)  # of finished images, see write_found
    dark: list[tuple[str, str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    highest: float = 0.0

    def detect(self) -> None:
        """Detect in all images and write their pictures."""
        for path, name in zip(tqdm(self.images, unit="image", disable=None), _picture_names(self.images)):
            stop_if_interrupted()
            try:
                data = read_file(path)
                image = decode_file(data, path)
            except UserError as error:
                LOG.warning("left out: %s", error)
                continue
            if is_dark(data):
                self.dark.append((DARK, str(path)))
            start = time.perf_counter()
            result, highest = self.finder.find(image)
            self.seconds.append(time.perf_counter() - start)
            self.highest = max(self.highest, highest)
            picture = Path(PICTURES) / name
            save_picture(self.folder / picture, result.draw(enlargement(image)))
            self.rows.append({"file": str(path), "width": image.shape[1], "height": image.shape[0],
                              "picture": str(picture), "detections": listed(result)})

    def finish(self) -> None:
        """Write the lists and log the summary."""
        report_all("the images", self.dark)
        write_found(self.folder, self.rows, self.finder.detector.spec.categories, self.finder.score_thresh,
                    self.formats)
        boxes = sum(len(row["detections"]) for row in self.rows)
        LOG.info("%d boxes in %d of %d images: %s and pictures/%s", boxes, len(self.rows), len(self.images),
                 self.folder / DETECTIONS, "" if boxes else no_boxes(self.highest, self.finder.score_thresh))
        LOG.info("%s", speed(self.seconds, 1))

    def with_results(self, stop: Interrupted | UserError) -> Interrupted | UserError:
        """Write the results of the finished images. Return the reason of the stop with a sentence about them."""
        finished = f"{len(self.rows)} of {len(self.images)} images"
        try:
            self.finish()
            note = f"The results are those of {finished}"
        except UserError as error:
            note = f"The results of {finished} could not be listed: {error}"
        return Interrupted(stop.number, note) if isinstance(stop, Interrupted) else UserError(f"{stop}. {note}")


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
