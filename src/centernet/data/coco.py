"""Data sets in COCO format: find their files, and select the usable images and boxes."""
from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from centernet.categories import Categories, by_name
from centernet.data.annotations import Annotations, place, read_annotations
from centernet.data.defects import UNNAMED, Defects, Report
from centernet.data.image_file import read_image
from centernet.data.image_finder import ImageFinder
from centernet.data.image_size import MAX_SIDE
from centernet.data.layouts.coco_files import ANNOTATION_NAMES, IMAGE_DIRS, IMPORTED
from centernet.data.layouts.found import annotations_of, command, describe, foreign_layouts
from centernet.data.other_forms import find_other_forms
from centernet.data.repair import WRITTEN, whole
from centernet.data.wrong_folder import no_data_set
from centernet.errors import UserError, shown
from centernet.files import is_file

LOG = logging.getLogger("centernet")

OUTSIDE = "box without area inside the image"


@dataclass(frozen=True, eq=False)
class CocoImage:
    """One image and its boxes."""

    id: int
    path: Path
    file_name: str      # as in the annotation file
    width: int          # pixels
    height: int
    boxes: np.ndarray   # (N, 4) float32: x1, y1, x2, y2 in pixels, as annotated (may extend beyond the image)
    classes: np.ndarray  # (N,) int32, 0..C-1
    ignored: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))  # (N,) bool; see Annotations.crowds


@dataclass(frozen=True, eq=False)
class CocoDataset:
    """The usable images of an annotation file, all its annotations, and the defects found."""

    images: tuple[CocoImage, ...]
    annotations: Annotations
    image_dir: Path

    @property
    def report(self) -> Report:
        """Return what was left out, repaired or looks wrong."""
        return self.annotations.report

    @property
    def defects(self) -> Defects:
        """Return what was left out, or contradicts itself."""
        return self.report.defects

    @property
    def categories(self) -> Categories:
        """Return the categories of the annotation file."""
        return self.annotations.categories

    @property
    def annotation_file(self) -> Path:
        """Return the path of the annotation file."""
        return self.annotations.path

    def of_model(self, model: Categories, source: str, remedy: str) -> CocoDataset:
        """Return the same data set with the classes of a model, compared by name.

        Raises:
            UserError: as categories.by_name; the message calls the model `source` and ends with `remedy`.
        """
        return self.with_categories(by_name(model, self.categories, source, str(self.annotation_file), remedy))

    def with_categories(self, categories: Categories) -> CocoDataset:
        """Return the same data set with the classes of other categories, see Annotations.with_categories."""
        if categories == self.categories:
            return self
        classes = self.categories.classes_in(categories)
        images = tuple(replace(image, classes=classes[image.classes]) for image in self.images)
        return replace(self, images=images, annotations=self.annotations.with_categories(categories))


def require_whole(dataset: CocoDataset) -> None:
    """Raise UserError if images of the annotation file are unusable: an AP of fewer images cannot be compared."""
    if lost := [line.strip() for line in dataset.defects.all_lost().lines()]:
        raise UserError(f"not all images of {dataset.annotation_file} can be evaluated: {'; '.join(lost)}. Correct or "
                        f"complete {dataset.image_dir}, or use an annotation file that lists only the usable images")


def locate(data_dir: str, split: str, annotation_file: str = "", image_dir: str = "") -> tuple[Path, Path]:
    """Find the annotation file and the folder of images.

    Args:
        data_dir: folder in COCO's layout: annotations/instances_train2017.json with train2017/ or images/train2017/,
            or annotations/train.json with images/train/; or a folder that was imported: annotations/imported_train.json
            with names relative to the folder. For a split that was not imported, COCO's own files are used.
        split: "train", "val" or "test"; for test it uses image_info_test-dev2017.json or image_info_test2017.json.
        annotation_file, image_dir: paths to use instead of a search in data_dir.

    Raises:
        UserError: the file or folder was not found; the message lists the paths that were tried.
    """
    if annotation_file or image_dir:
        return _existing_pair(annotation_file, image_dir)
    if not data_dir:
        raise UserError("no data set is given: give the folder of a data set in COCO's layout, or --annotation_file "
                        "and --image_dir")
    root = Path(data_dir)
    if not root.is_dir():
        raise UserError(f"the data set's folder {root} {no_data_set(root)}")
    if is_file(imported := root / "annotations" / IMPORTED.format(split)):
        return imported, root
    (found_file, files), (found_dir, folders) = _search(root, split)
    if others := _imports(root):
        if found_file is None or found_dir is None:
            raise UserError(f"{root} was imported without images for {split}: it has {', '.join(others)}. Import it "
                            f"again with them: {command(root)} --splits {split}=NAME, or --val_share 0.2 --out "
                            "OTHER_FOLDER, which divides all images anew")
        LOG.info("%s was imported without images for %s: using its own %s", root, split, found_file)
    if found_file is None or found_dir is None:
        what, tried = ("annotation file", files) if found_file is None else ("folder of images", folders)
        listed = ", ".join(str(path.relative_to(root)) for path in tried)
        if layouts := foreign_layouts(root):
            raise UserError(f"{root} {describe(layouts)}, not in COCO's own (tried {listed}). Import it: "
                            f"{command(root)}. Or name your files: --annotation_file and --image_dir.")
        raise UserError(f"{root} has no {what} of the {split} split; tried {listed}. "
                        f"{no_data_set(root) or 'For another layout use --annotation_file and --image_dir.'}")
    return found_file, found_dir


def _imports(root: Path) -> list[str]:
    """Return the names of the files that centernet import-dataset wrote."""
    return sorted(file.name for file in (root / "annotations").glob(IMPORTED.format("*")))


def _search(root: Path, split: str) -> tuple[tuple[Path | None, list[Path]], tuple[Path | None, list[Path]]]:
    """Return the annotation file and the folder of images in COCO's layout or None, and the places that were tried."""
    files = [root / "annotations" / name for name in ANNOTATION_NAMES[split]]
    folders = [root / pattern.format(split) for pattern in IMAGE_DIRS]
    return ((next((path for path in files if path.is_file()), None), files),
            (next((path for path in folders if path.is_dir()), None), folders))


def _existing_pair(annotation_file: str, image_dir: str) -> tuple[Path, Path]:
    if not annotation_file or not image_dir:
        raise UserError("--annotation_file and --image_dir go together: set both")
    if not Path(annotation_file).is_file():
        found = "this is a folder. Name its JSON file" if Path(annotation_file).is_dir() else "there is no such file"
        raise UserError(f"--annotation_file {annotation_file}: {found}")
    if not Path(image_dir).is_dir():
        found = "this is a file. Name the folder of images" if Path(image_dir).is_file() else "there is no such folder"
        raise UserError(f"--image_dir {image_dir}: {found}")
    return Path(annotation_file), Path(image_dir)


def read_coco(annotation_file: Path, image_dir: Path, allow_outside: bool = False) -> CocoDataset:
    """Read an annotation file and find its images. Only images without a width and height are decoded.

    Images with an unusable entry or file are left out, and so are unusable boxes; `report` counts both. Crowd boxes
    and images without boxes are kept. A file without the key "annotations" (a test set) has no boxes.

    Raises:
        UserError: the file is not JSON in COCO format, or has no images, categories or annotations; or the file_name
            of an image leads out of image_dir and allow_outside is false.
    """
    return make_dataset(read_annotations(annotation_file), image_dir, allow_outside)


def read_data(data_dir: str, split: str, annotation_file: str = "", image_dir: str = "",
              allow_outside: bool = False) -> CocoDataset:
    """Find and read a data set: in COCO's layout, see locate; or in another one that says its splits.

    Raises:
        UserError: as locate, read_coco and annotations_of.
    """
    root = Path(data_dir)
    given = annotation_file or image_dir or not data_dir or _imports(root)
    missing = not given and None in (found for found, _ in _search(root, split))
    layouts = foreign_layouts(root) if missing else {}
    if not layouts:
        return read_coco(*locate(data_dir, split, annotation_file, image_dir), allow_outside)
    LOG.info("reading %s, which %s", root, describe(layouts))
    annotations = annotations_of(root, split, allow_outside)
    return make_dataset(annotations, annotations.path, allow_outside)


def make_dataset(annotations: Annotations, image_dir: Path, allow_outside: bool) -> CocoDataset:
    """Find the images of annotations, see read_coco."""
    report, finder = annotations.report, ImageFinder(image_dir, allow_outside)
    found = [(image_id, entry, path) for image_id, entry in zip(annotations.image_ids, annotations.images)
             if (path := _image_path(image_id, entry, finder, report))]
    _note_shared_files(found, report)
    sizes = {image_id: _size(image_id, entry, path, report) for image_id, entry, path in found}
    rows = _rows_of_images(annotations, sizes, report)
    images = tuple(_coco_image(annotations, image_id, entry["file_name"], path, size, rows.get(image_id, []))
                   for image_id, entry, path in found if (size := sizes[image_id]))
    find_other_forms(annotations, sizes, report)
    return CocoDataset(images, annotations, image_dir)


def _coco_image(annotations: Annotations, image_id: int, file_name: str, path: Path, size: tuple[int, int],
                rows: list[int]) -> CocoImage:
    boxes = annotations.boxes[rows]
    boxes[:, 2:] += boxes[:, :2]
    return CocoImage(image_id, path, file_name, *size, boxes.astype(np.float32), annotations.box_classes[rows],
                     annotations.crowds[rows])


def _image_path(image_id: int, entry: dict[str, Any], finder: ImageFinder, report: Report) -> Path | None:
    if not _is_named(entry):
        report.defects.add(UNNAMED, f"id {image_id}: {shown(entry)}", lost=True)
        return None
    return finder.find(entry["file_name"], image_id, report)


def _is_named(entry: dict[str, Any]) -> bool:
    return isinstance(entry.get("file_name"), str) and entry["file_name"] != ""


def _size(image_id: int, entry: dict[str, Any], path: Path, report: Report) -> tuple[int, int] | None:
    """Return (width, height) of an image: those of its entry, or if it has none, of the file; None for no image."""
    values = entry.get("width"), entry.get("height")
    width, height = map(whole, values)
    if max(width or 0, height or 0) > MAX_SIDE:
        report.defects.add(f"image entry with a side above {MAX_SIDE} pixels", f"id {image_id}: {entry['file_name']}",
                           lost=True)
        return None
    if width and height and width > 0 and height > 0:
        if not all(type(value) is int for value in values):
            report.notes.add(WRITTEN, f"image {image_id}: width {shown(values[0])}, height {shown(values[1])}")
        return width, height
    try:
        pixels = read_image(path)
    except UserError:
        report.defects.add("image entry without width and height, and a file that is not an image",
                           f"id {image_id}: {entry['file_name']}", lost=True)
        return None
    report.notes.add("image entry without width and height: taken from the file", f"id {image_id}: {path.name}")
    return pixels.shape[1], pixels.shape[0]


def _note_shared_files(found: list[tuple[int, dict[str, Any], Path]], report: Report) -> None:
    """Count entries whose file an earlier entry has: boxes of another image of that name would get its pixels."""
    first: dict[Path, int] = {}
    for image_id, entry, path in found:
        if first.setdefault(path, image_id) != image_id:
            report.defects.add("file name used twice, both entries kept",
                               f"id {image_id} and {first[path]}: {entry['file_name']}")


def _rows_of_images(annotations: Annotations, sizes: dict[int, tuple[int, int] | None],
                    report: Report) -> dict[int, list[int]]:
    """Return the rows of the boxes with area inside their image, by image id, in the file's order."""
    rows: dict[int, list[int]] = {}
    unnamed = {image_id for image_id, entry in zip(annotations.image_ids, annotations.images) if not _is_named(entry)}
    corners = (annotations.boxes[:, :2] + annotations.boxes[:, 2:]).tolist()
    numbers = zip(annotations.box_images.tolist(), annotations.boxes.tolist(), corners)
    for row, (image_id, bbox, (right, bottom)) in enumerate(numbers):
        size = sizes.get(image_id)
        if size is None:
            if image_id in unnamed:  # other images without a size are defects themselves
                report.defects.add("annotation of an unknown image", place(annotations.box_ids[row], image_id))
        elif min(right, size[0]) > max(bbox[0], 0) and min(bottom, size[1]) > max(bbox[1], 0):
            rows.setdefault(image_id, []).append(row)
        else:
            report.defects.add(OUTSIDE, f"{place(annotations.box_ids[row], image_id)}: {bbox}")
    return rows


def read_evaluated(data_dir: str, split: str, annotation_file: str, image_dir: str, strict: bool,
                   allow_outside: bool = False, whole: bool = True) -> CocoDataset:
    """Find and read a data set for an evaluation, and log what was left out or repaired.

    Args:
        data_dir, split, annotation_file, image_dir: see locate.
        strict: a defect is an error.
        whole: all images must be usable. Not needed for a comparison of models on the same images.

    Raises:
        UserError: as in locate, read_coco and require_whole; or strict is set and there is a defect.
    """
    dataset = read_data(data_dir, split, annotation_file, image_dir, allow_outside)
    if whole:
        require_whole(dataset)
    dataset.report.announce(str(dataset.annotation_file), strict)
    return dataset
