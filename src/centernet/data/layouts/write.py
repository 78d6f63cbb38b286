"""The import itself: annotation files in COCO's format beside the images, which are not copied."""
from __future__ import annotations

import os
from pathlib import Path

from centernet.data.layouts.coco_files import IMPORTED
from centernet.data.layouts.form import Imported, Picture, to_coco
from centernet.data.layouts.found import READERS, count_boxes
from centernet.data.layouts.splits import OURS
from centernet.errors import UserError, printable
from centernet.files import exists, is_file, make_folder, require_writable, user_errors, write_json


def write_import(imported: Imported, parts: dict[str, list[Picture]], out: Path | None,
                 allow_outside: bool) -> list[str]:
    """Write annotations/imported_{train,val,test}.json and return the lines of a table about them.

    The names of the images are relative to the folder of the data set. If the files go to another folder, that folder
    gets the link images to the data set, and the names begin with images/.

    Args:
        imported: the data set.
        parts: images of train, val and test.
        out: folder of the files; None: the folder of the data set.
        allow_outside: see to_coco.

    Raises:
        UserError: a file or the link cannot be written.
    """
    target = out or imported.root
    linked = target.resolve() != imported.root.resolve()
    documents = {split: to_coco(imported, pictures, "images/" if linked else "", allow_outside)
                 for split, pictures in parts.items()}
    if linked:
        _link(imported.root, target / "images")
    for split in OURS:
        file = target / "annotations" / IMPORTED.format(split)
        if split in documents:
            write_json(file, documents[split])
        else:
            with user_errors(str(file)):
                file.unlink(missing_ok=True)  # of an earlier import: its images may be in another split now
    return _table(imported, parts)


def require_place(source: Path, out: Path | None) -> None:
    """Raise UserError if the files cannot go to their folder. Nothing is created. A missing data set is passed over.

    Args:
        source: the folder of the data set, or its CSV file.
        out: the folder for the files; None: the folder of the data set.
    """
    root = source.parent if is_file(source) else source
    if out:
        require_writable(out, "--out")
        _require_outside(root, out)
    elif exists(root):
        require_writable(root / "annotations", "--data", "Name a folder for the annotation files with --out")


def _require_outside(root: Path, out: Path) -> None:
    """Raise UserError if a folder for the files lies inside the data set: its link to the images would contain itself.

    Programs that follow links would then find the images again and again. The folder of the data set itself is allowed:
    there, no link is made.
    """
    place = out.resolve()
    if root.resolve() in place.parents:
        raise UserError(f"--out {printable(out)} lies inside the data set {printable(root)}, so its link to the images "
                        "would lead to a folder that contains the link. Leave out --out: then the files are written "
                        "beside the images. Or choose a folder outside")


def _link(root: Path, link: Path) -> None:
    make_folder(link.parent, "--out")
    with user_errors(f"cannot make the link {link} to the images",
                     "Import without --out, so that the files are written into the folder of the data set"):
        if os.path.lexists(link):
            if link.is_symlink() and os.path.realpath(link) == os.path.realpath(root):
                return  # of an earlier import
            found = f"a link {link.name} to {os.readlink(link)}" if link.is_symlink() else f"a folder {link.name}"
            raise UserError(f"--out {link.parent}: it has {found}, where the link to the images must be: "
                            "choose another folder")
        os.symlink(root.resolve(), link, target_is_directory=True)


def _table(imported: Imported, parts: dict[str, list[Picture]]) -> list[str]:
    splits = [split for split in OURS if split in parts]
    counts = {split: count_boxes(parts[split], imported.names) for split in splits}
    ignored = {split: sum(box.ignored for picture in parts[split] for box in picture.boxes) for split in splits}
    empty = {split: sum(not picture.boxes for picture in parts[split]) for split in splits}
    rows = [("images", {split: len(parts[split]) for split in splits}),
            ("boxes", {split: sum(counts[split].values()) for split in splits}),
            ("ignored boxes", ignored), ("images without boxes", empty),
            *((f"class {name}", {split: counts[split][name] for split in splits}) for name in imported.names)]
    widest = max(len(name) for name, _ in rows)
    lines = [f"{imported.root}: {READERS[imported.layout].title}",
             f"{'':{widest}s}" + "".join(f"{split:>8s}" for split in splits)]
    return lines + [f"{name:{widest}s}" + "".join(f"{values[split]:8d}" for split in splits) for name, values in rows]
