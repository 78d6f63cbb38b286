"""Which layout has a data set? What to do with it: read it as it is, or import it first."""
from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from centernet import program
from centernet.categories import categories_from_json
from centernet.data.annotations import Annotation, Annotations, Document, make_annotations
from centernet.data.defects import Report
from centernet.data.layouts import coco_files, csv_files, labelme, voc, yolo
from centernet.data.layouts.form import DAMAGED, Imported, Picture, to_coco
from centernet.data.layouts.splits import OURS, assign, named_splits
from centernet.errors import UserError, printable, shown
from centernet.files import files_below, is_file


class Reader(NamedTuple):
    """One layout: its name in messages, what makes a folder one, and how it is read."""

    title: str
    evidence: Callable[[Path], str]
    read: Callable[[Path, Report], Imported]


READERS = {
    "coco": Reader("COCO's format in the layout of another tool", coco_files.evidence, coco_files.read),
    "voc": Reader("Pascal VOC's layout", voc.evidence, voc.read),
    "yolo": Reader("YOLO's layout", yolo.evidence, yolo.read),
    "labelme": Reader("LabelMe's layout", labelme.evidence, labelme.read),
    "csv": Reader("CSV files", csv_files.evidence, csv_files.read),
}
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
MOST_COMMON = "Pascal VOC, YOLO, COCO of Roboflow and CVAT, LabelMe, CSV (file,x1,y1,x2,y2,label)"


def find_layouts(root: Path) -> dict[str, str]:
    """Return the layouts that a folder (or a CSV file) may have, and what was found of each.

    A layout that only a damaged file is like counts if there is no other one.
    """
    if not root.is_dir():
        return {"csv": seen} if (seen := csv_files.evidence(root)) else {}
    found = {name: seen for name, reader in READERS.items() if (seen := reader.evidence(root))}
    return {name: seen for name, seen in found.items() if not seen.endswith(DAMAGED)} or found


def foreign_layouts(root: Path) -> dict[str, str]:
    """Return what find_layouts returns, without COCO's own layout: data/coco.py finds its files."""
    found = find_layouts(root)
    return {name: seen for name, seen in found.items() if name != "coco" or not coco_files.is_own(root)}


def read_layout(root: Path, layout: str = "auto", allow_outside: bool = False) -> Imported:
    """Read a data set of any layout.

    Args:
        root: its folder, or a CSV file.
        layout: one of READERS; "auto": the only one that fits.
        allow_outside: read images outside of the image folder of a COCO file. For the other layouts, to_coco decides.

    Raises:
        UserError: the folder has none of these layouts, or several; or the reader refuses its files.
    """
    if not root.exists():
        what = "is a URL: download and unpack it first" if ":/" in str(root) else "does not exist"
        raise UserError(f"the data set {printable(root)} {what}")
    found = find_layouts(root)
    if root.is_file() and not found:
        if is_archive(root):
            raise UserError(f"the data set {printable(root)} is an archive: unpack it, and name its folder")
        raise UserError(f"the data set {printable(root)} is a file: name the folder of the data set, or a CSV file")
    if layout == "auto" and len(found) != 1:
        raise UserError(f"{printable(root)} {describe(found)}. {_choose(found, root)}")
    name = layout if layout != "auto" else next(iter(found))
    if name not in found:
        raise UserError(f"{printable(root)} is not in {READERS[name].title}: {describe(found)}. "
                        "--data_format auto finds the layout")
    imported = (coco_files.read(root, Report(), allow_outside) if name == "coco"
                else READERS[name].read(root, Report()))
    if not imported.pictures:
        listed = "\n".join(imported.report.lines()) or "       0  defects"
        raise UserError(f"{printable(root)} is in {READERS[name].title} ({found[name]}), but has no usable image:\n"
                        f"{listed}\n{parent_of(root)}".rstrip())
    without_boxes = not any(picture.boxes for picture in imported.pictures)
    if not imported.names or without_boxes and name != "coco":  # COCO has test sets without boxes
        listed = "\n".join(imported.report.lines()) or "       0  defects"
        raise UserError(f"{printable(root)} is in {READERS[name].title} ({found[name]}), but has no usable box:\n"
                        f"{listed}")
    _note_alike(imported)
    return imported


def _note_alike(imported: Imported) -> None:
    alike = defaultdict(list)
    for label in imported.names:
        alike[label.strip().casefold()].append(label)
    for labels in alike.values():
        if len(labels) > 1:
            imported.report.notes.add("classes whose names differ only in case or spaces",
                                      ", ".join(map(shown, labels)))


def is_archive(path: Path) -> bool:
    """Return whether a path is a file that has to be unpacked, by its suffix."""
    return path.suffix.lower() in ARCHIVES and is_file(path)


def describe(found: dict[str, str]) -> str:
    """Return what was found, as the end of a sentence about a folder."""
    if not found:
        return f"is in none of the known layouts: {MOST_COMMON}"
    listed = " and ".join(f"{READERS[name].title} ({seen})" for name, seen in found.items())
    return f"is in {listed}" if len(found) == 1 else f"has files of several layouts: {listed}"


def _choose(found: dict[str, str], root: Path) -> str:
    if found:
        return f"Choose one: --data_format {' or '.join(found)} (of {program.program('import_dataset')})"
    if any(path.suffix == ".txt" for path in files_below(root / "labels")):
        return "labels/ looks like YOLO: add data.yaml, or classes.txt with the name of each class on a line"
    if table := next(root.glob("*.csv"), None):
        return f"{table.name} is not such a table: its first line must be file,x1,y1,x2,y2,label"
    return parent_of(root) or "Name the folder that holds the images and their annotations"


def parent_of(root: Path) -> str:
    """Return the advice for a folder inside of a data set; "" for other folders."""
    folder = root.absolute().parent
    name = "Annotations" if (folder / "Annotations").is_dir() else "annotations"
    inside = name == "Annotations" or any((folder / name).glob("*.json"))
    return f"Name its parent folder, which has {name}: {printable(folder)}" if inside else ""


def annotations_of(root: Path, split: str, allow_outside: bool) -> Annotations:
    """Read one split of a data set that is not in COCO's own layout, without an import.

    Its report has the findings of all splits; but the images that were left out are those of this split, and those of
    which the data set does not say a split.

    Raises:
        UserError: as read_layout does; or the data set does not say which images are for this split. The message names
            the command that imports it.
    """
    imported = read_layout(root, allow_outside=allow_outside)
    names = named_splits(imported)
    try:
        pictures = assign(imported, names, 0, "", 0).get(split, [])
    except UserError:
        pictures = []
    if not pictures:
        raise UserError(imported.report.with_defects(
            f"{printable(root)} {describe(find_layouts(root))}, but {_without(split, imported, root)}"))
    document = to_coco(imported, pictures, "", allow_outside)
    rows = [Annotation(**{key: row.get(key) for key in Annotation._fields}) for row in document["annotations"]]
    found = make_annotations(imported.root, Document(document["images"], rows, categories_from_json(
        document["categories"], str(root))))
    found.report.add_all(imported.report)
    lost = found.report.defects.lost
    for theirs in [theirs for theirs in lost if theirs and names.get(theirs) != split]:
        del lost[theirs]
    return found


def _without(split: str, imported: Imported, root: Path) -> str:
    """Return why no image is for a split, and which command helps."""
    known = [name for name in imported.splits() if name]
    listed, names = f"(its splits: {', '.join(known) or 'none'})", named_splits(imported)
    used = names.get(split, split)
    if used != split:
        own = [f"{ours}={ours if ours in known else 'trainval'}" for ours in OURS if ours in known or ours == "train"]
        return (f"its split {split} is used as {used} {listed}. Use --run_mode {used}, or import it with its own "
                f"splits: {command(root)} --splits {' '.join(own)}")
    if "train" not in names.values() and names:
        return (f"no image is for training {listed}. Import it first: {command(root)} --splits train=NAME "
                f"{split}={split if split in known else 'NAME'}")
    return f"its images have no split {split} {listed}. Import it first: {command(root)} --val_share 0.2"


def command(root: Path) -> str:
    """Return the command that imports a data set."""
    return f"{program.command('import_dataset')} --data {shlex.quote(str(root))}"


def count_boxes(pictures: list[Picture], names: tuple[str, ...]) -> dict[str, int]:
    """Return the number of boxes of each class, without those to ignore."""
    counts = dict.fromkeys(names, 0)
    for picture in pictures:
        for box in picture.boxes:
            counts[box.label] += not box.ignored
    return counts
