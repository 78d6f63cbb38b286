"""What a path is that was given in place of a folder of shards, or of a data set."""
from __future__ import annotations

import shlex
from pathlib import Path

from centernet.data.image_file import SUFFIXES
from centernet.data.info_file import INFO
from centernet.data.layouts import found
from centernet.errors import printable
from centernet.files import exists
from centernet.program import command


def no_shards(folder: Path) -> str:
    """Return what a folder without shards is and which command comes first; "" if nothing is known.

    A folder of images with annotations, of any layout, has to be converted to shards.
    """
    name, annotations = shlex.quote(str(folder)), folder / "annotations"
    layouts = found.foreign_layouts(folder)
    if any(annotations.glob("*.json")) or len(layouts) == 1:
        return (f"{folder} is a data set with images. Convert it first: {command('dataset')} --data {name} --out "
                "SHARDS, and give SHARDS here")
    if layouts:
        return (f"{folder} {found.describe(layouts)}. Import it first: {found.command(folder)}, then convert it: "
                f"{command('dataset')} --data {name} --out SHARDS, and give SHARDS here")
    if any(path.suffix.lower() in SUFFIXES for path in folder.iterdir()):
        return (f"{folder} has images, but no annotations that this program knows ({found.MOST_COMMON}). A "
                f"training needs annotated images as shards: {command('dataset')} --data DATA --out SHARDS")
    return ""


def file_for_shards(file: Path) -> str:
    """Return what a file is that was given in place of a folder of shards, and what to do with it."""
    shards = f"{command('dataset')} --data DATA --out SHARDS, and give SHARDS here"
    if any(file.parent.glob(f"*{INFO}")):
        return f"is a file. Name its folder, which has shards: {printable(file.parent)}"
    if found.find_layouts(file):
        return (f"is a table of boxes, but a training needs shards. Import it first: {found.command(file)} --out DATA, "
                f"then convert it: {shards}")
    if found.is_archive(file):
        return (f"is an archive. Unpack it. If it has shards, give their folder here. If it has a data set with "
                f"images, convert that first: {shards}")
    return f"is a file, but a training needs a folder of shards. Convert a data set first: {shards}"


def no_data_set(root: Path) -> str:
    """Return what a path without a data set in COCO's layout is and what to name instead; "" if nothing is known."""
    if not exists(root):
        return "does not exist"
    if found.is_archive(root):
        return "is an archive. Unpack it, and name the data set's folder"
    if not root.is_dir():
        return f"is a file. Name its data set's folder, or --annotation_file {printable(root)} and --image_dir" \
            if root.suffix.lower() == ".json" else "is a file. Name the data set's folder"
    if any(root.glob(f"*{INFO}")):
        return "It is a folder of shards. Name the data set that they were made of"
    return found.parent_of(root)
