"""Pascal VOC: an XML file for each image, in Annotations/ or beside the images, and lists of the splits in ImageSets/.

VOC's pixels count from 1, and a box includes its last pixel: xmin 1, xmax 1 is a box of one pixel at the left border.
So x1 = xmin - 1 and x2 = xmax. This is what VOC's own development kit means. Tools that write VOC files and count
from 0 move boxes by one pixel to the upper left.
"""
from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

from centernet.data.defects import Report
from centernet.data.image_file import SUFFIXES
from centernet.data.layouts.form import (
    Box,
    Imported,
    Picture,
    first_evidence,
    head_has,
    make_picture,
)
from centernet.data.layouts.image_index import ImageIndex, note_unlabelled
from centernet.data.repair import number, whole
from centernet.errors import UserError
from centernet.files import files_below, read_bytes, user_errors
from centernet.xml_document import XmlElement, parse_xml

MOST_BYTES = 1 << 24  # of an annotation file
ROOT = re.compile(rb"<annotation\b")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def evidence(root: Path) -> str:
    """Return what makes a folder a data set in VOC's layout; "" if it is none."""
    home = _home(root)
    lists = ", ImageSets/Main" if (home / "ImageSets/Main").is_dir() else ""
    return first_evidence(root, _files(home), f".xml{lists}", lambda file: _parsed(file).tag == "annotation",
                          lambda file: file.parent.name == "Annotations" or head_has(file, ROOT))


def read(root: Path, report: Report) -> Imported:
    """Read all images that the lists of ImageSets/Main name; without such lists, all XML files.

    An XML file in a folder train, valid, ... belongs to the split of that name.
    """
    home = _home(root)
    index = ImageIndex(root)
    lists = _lists(home)
    files = _by_name(home) if lists else {}
    named = [(name, split, _named(name, files)) for split, names in lists.items() for name in names]
    named = named or [(path.stem, "" if path.parent in (home, home / "Annotations") else path.parent.name, [path])
                      for path in _files(home)]
    splits: dict[Path, list[str]] = {}
    for _, split, places in named:
        for path in places:
            splits.setdefault(path, []).append(split)
    found: list[Picture] = []
    once: dict[Path, Picture | None] = {}  # an image of train is in trainval too
    for name, split, places in named:
        if len(places) != 1:
            kind = "with several XML files" if places else "without an XML file"
            report.of(split).defects.add(f"image of a list {kind}: left out", f"{split}.txt: {name}", lost=True)
            continue
        file = places[0]
        if file not in once:
            once[file] = _picture(file, index, report.of(*splits[file]))
        picture = once[file]
        found += [replace(picture, split=split)] if picture else []
    unlisted = [path for paths in files.values() for path in paths if path not in splits]
    note_unlabelled(index, found, report, {**{path.stem: "" for path in splits},
                                           **{path.stem: "image that no list in ImageSets/Main names"
                                              for path in unlisted}})
    names = tuple(sorted({box.label for picture in found for box in picture.boxes}))
    return Imported("voc", root, tuple(found), names, report)


def _home(root: Path) -> Path:
    """Return the folder of Annotations: the data set's, or VOCdevkit/VOC2012 and the like, if there is one."""
    inner = [path.parent for pattern in ("*/Annotations", "VOCdevkit/*/Annotations") for path in root.glob(pattern)]
    return inner[0] if len(inner) == 1 and not (root / "Annotations").is_dir() else root


def _files(home: Path) -> list[Path]:
    """Return the XML files of a data set: those of Annotations, else those beside the images."""
    inner = sorted(path for path in files_below(home / "Annotations") if path.suffix == ".xml")
    return inner or sorted(itertools.chain(home.glob("*.xml"), home.glob("*/*.xml")))


def _by_name(home: Path) -> dict[str, list[Path]]:
    """Return the XML files by what a list may call them: 0001, or a/0001 for Annotations/a/0001.xml."""
    found: dict[str, list[Path]] = {}
    for path in _files(home):
        inner = path.relative_to(home).with_suffix("").as_posix().removeprefix("Annotations/")
        for name in {path.stem, inner}:
            found.setdefault(name, []).append(path)
    # Annotations/0001.xml is 0001, also beside Annotations/a/0001.xml.
    return {name: [path for path in paths if path.parent in (home, home / "Annotations")] or paths
            for name, paths in found.items()}


def _named(name: str, files: dict[str, list[Path]]) -> list[Path]:
    """Return the XML files of a name in a list: 0001, as VOC means it, or 0001.jpg, or a path to this image."""
    path = Path(name.replace("\\", "/"))
    stem = path.with_suffix("") if path.suffix.lower() in SUFFIXES else path
    return files.get(name) or files.get(stem.as_posix()) or files.get(stem.name, [])


def _lists(home: Path) -> dict[str, list[str]]:
    """Return the names of the images of each split. Lists of single classes (aeroplane_train.txt) are left out."""
    found = {}
    for path in sorted((home / "ImageSets/Main").glob("*.txt")):
        if path.stem in ("train", "val", "trainval", "test"):
            with user_errors(str(path)):
                text = read_bytes(path).decode("utf-8-sig", "surrogateescape")
            # A list can have a second column, as those of single classes.
            found[path.stem] = [line.split()[0] for line in text.splitlines() if line.strip()]
    return found


def _parsed(file: Path) -> XmlElement:
    return parse_xml(read_bytes(file, MOST_BYTES), str(file))


def _picture(file: Path, index: ImageIndex, report: Report) -> Picture | None:
    try:
        element = _parsed(file)
    except UserError as error:
        report.defects.add("XML file that cannot be read: image left out", str(error), lost=True)
        return None
    name = element.find("filename")
    # Many tools keep an old <filename> when files get new names. So the XML file's own stem comes first.
    image = index.find(f"{element.find('folder')}/{name}".lstrip("/") if name else "", file.parent, report,
                       f"{file.name}: {name or file.stem}", stem=file.stem, by_stem=True)
    if image is None:
        return None
    if index.has(name) and not name.replace("\\", "/").endswith(image.name):
        report.notes.add("<filename> is another image: the one with the name of the XML file is taken",
                         f"{file.name}: {name}, taken: {image.relative_to(index.root)}")
    said = [whole(element.find("size", key)) or 0 for key in ("width", "height")]
    return make_picture(image, "", _boxes(element, file, report), report, (said[0], said[1]))


def _boxes(root: XmlElement, file: Path, report: Report) -> list[Box]:
    boxes = []
    for row in root.all("object"):
        corners = [number(row.find("bndbox", key)) for key in CORNERS]
        if None in corners or not row.find("name"):
            report.defects.add("object without name or box: left out", f"{file.name}: {row.find('name')} {corners}")
            continue
        x1, y1, x2, y2 = (float(value or 0) for value in corners)
        boxes.append(Box(row.find("name"), (x1 - 1, y1 - 1, x2, y2), row.find("difficult") == "1"))
    return boxes
