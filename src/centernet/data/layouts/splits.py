"""Selection of classes, and division of a data set into train, val and test."""
from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from centernet.config.near_flags import nearest
from centernet.data.defects import EXAMPLES
from centernet.data.layouts.form import Imported, Picture, file_name
from centernet.errors import UserError, printable, without_commas

OURS = ("train", "val", "test")
# Names of splits in other data sets -> ours. VOC's published results are of a training on trainval.
USUAL = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
         "testing": "test"}


def select_classes(imported: Imported, classes: Sequence[str]) -> Imported:
    """Return the data set with these classes only, in this order. Images without their boxes stay, as background.

    Raises:
        UserError: the data set does not have one of the classes, or one is named twice.
    """
    if not classes:
        return imported
    unknown = [name for name in classes if name not in imported.names]
    if unknown or len(set(classes)) < len(classes):
        what = f"the data set has no class {unknown[0]}" if unknown else "a class is named twice"
        hint = (without_commas("".join(unknown)) or nearest(unknown[0][:80], imported.names)) if unknown else "."
        raise UserError(f"--classes {' '.join(classes)}: {what}; its classes are {', '.join(imported.names)}{hint}")
    once = {picture.path: picture for picture in imported.pictures}.values()  # an image of train is in trainval too
    left_out = [box.label for picture in once for box in picture.boxes if box.label not in classes]
    for label in dict.fromkeys(left_out):
        imported.report.notes.add_many("box of another class than --classes: left out", left_out.count(label), [label])
    pictures = tuple(replace(picture, boxes=tuple(box for box in picture.boxes if box.label in classes))
                     for picture in imported.pictures)
    return replace(imported, pictures=pictures, names=tuple(classes))


def named_splits(imported: Imported, words: Sequence[str] = (), val_share: float = 0) -> dict[str, str]:
    """Return which split of the data set becomes which of ours: theirs -> train, val or test.

    Args:
        words: of --splits, such as train=trainval; empty: by the usual names.
        val_share: see assign. With a share, VOC's test stays out of train and val.

    Raises:
        UserError: a word has another form, or names a split that the data set does not have.
    """
    known = imported.splits()
    if words:
        found = {}
        for word in words:
            ours, _, theirs = word.partition("=")
            if ours not in OURS or theirs not in known:
                raise UserError(f"--splits {word}: expected train=NAME, val=NAME or test=NAME, where NAME is a split "
                                f"of the data set: {', '.join(filter(None, known)) or 'it has none'}")
            found[theirs] = ours
        return found
    if {"trainval", "test"} <= set(known):
        return {"trainval": "train", "test": "test" if val_share else "val"}
    if "trainval" in known and "train" not in known:
        return {"trainval": "train"} | {name: USUAL[name] for name in known if name in USUAL}
    return {name: USUAL[name.lower()] for name in known if name.lower() in USUAL}


def assign(imported: Imported, names: dict[str, str], val_share: float, group_by: str,
           seed: int) -> dict[str, list[Picture]]:
    """Return the images of train, val and test.

    Args:
        names: see named_splits. Images of other splits are counted in the report.
        val_share: share of the images for val, 0: as the data set says. With a share, the images of train and val, and
            those without a split, are divided anew; if names is empty, those of all splits.
        group_by: "folder", or a regular expression: images of one folder, or with one text of its first group (or of
            its match) in their names, go together.
        seed: another seed gives another division. An image that is added does not move the others.

    Raises:
        UserError: the data set has no split for train, or group_by is no regular expression, or puts all in one group.
    """
    names = names or (dict.fromkeys(imported.splits(), "train") if val_share else {})
    parts: dict[str, list[Picture]] = {}
    for picture in imported.pictures:
        ours = names.get(picture.split, "" if picture.split else "train" if val_share else "")
        if ours:
            parts.setdefault(ours, []).append(picture)
    _note_unused(imported, parts)
    if not parts.get("train"):
        raise UserError(f"{imported.root}: no image is for training (splits: "
                        f"{', '.join(filter(None, imported.splits())) or 'none'}). Divide them: --val_share 0.2, or "
                        "name the splits: --splits train=NAME val=NAME")
    if not val_share:
        if group_by:
            raise UserError(f"--group_by {group_by} has no effect without --val_share: give the share, such as "
                            "--val_share 0.2, or leave it out")
        _count_repeated(imported, parts)
        return parts
    pool = _merged([*parts["train"], *parts.pop("val", [])], imported)
    val = _drawn(pool, imported, val_share, group_by, seed)
    parts["train"], parts["val"] = [item for item in pool if id(item) not in val], \
        [item for item in pool if id(item) in val]
    _count_repeated(imported, parts)
    return parts


def _note_unused(imported: Imported, parts: dict[str, list[Picture]]) -> None:
    """Note the images of each split that become part of none of ours. An image of VOC's train is in trainval too."""
    used = {_place(picture) for pictures in parts.values() for picture in pictures}
    for split in imported.splits():
        left_out = [picture.path.name for picture in imported.of_split(split) if _place(picture) not in used]
        if left_out:
            kind = f"split {printable(split)}: not used" if split else "image without a split: not used"
            imported.report.notes.add_many(kind, len(left_out), left_out[:EXAMPLES])


def _count_repeated(imported: Imported, parts: dict[str, list[Picture]]) -> None:
    """Count images that are in two splits, or twice in one: a score on images of the training means nothing."""
    first: dict[str, str] = {}
    for split in OURS:
        once = {_place(picture): picture for picture in parts.get(split, [])}
        twice = [picture for picture in parts.get(split, []) if once[_place(picture)] is not picture]
        for picture in twice:
            imported.report.defects.add(f"the same image twice in {split}", str(picture.path))
        for place, picture in once.items():
            if (before := first.setdefault(place, split)) != split:
                imported.report.defects.add(f"the same image in {before} and in {split}", str(picture.path))


def _merged(pool: list[Picture], imported: Imported) -> list[Picture]:
    """Return each image of a pool once, with the boxes of all its entries: two entries could be drawn apart."""
    found: dict[str, Picture] = {}
    for picture in pool:
        first = found.setdefault(_place(picture), picture)
        if first is not picture:
            more = tuple(box for box in picture.boxes if box not in first.boxes)
            found[_place(picture)] = replace(first, boxes=first.boxes + more)
            imported.report.notes.add("image with several entries: taken once, with the boxes of all",
                                      str(picture.path))
    return list(found.values())


def _place(picture: Picture) -> str:
    """Return the path of an image in one spelling: a list can name it through ../ too."""
    return os.path.normpath(picture.path)


def _drawn(pool: list[Picture], imported: Imported, share: float, group_by: str, seed: int) -> set[int]:
    """Return the ids of the objects for val: whole groups in the order of a hash, until the share is reached."""
    pattern = group_pattern(group_by)
    groups: dict[Any, list[Picture]] = {}
    for picture in pool:
        groups.setdefault(_group(file_name(picture.path, imported, True), group_by, pattern), []).append(picture)
    if single := groups.pop(None, []):
        raise UserError(f"--group_by {group_by} fits no part of {len(single)} of {len(pool)} names, such as "
                        f"{printable(single[0].path)}: give a pattern that fits all, so that no group is divided")
    if len(groups) < 2:
        raise UserError(f"--group_by {group_by}: all {len(pool)} images are in one group, so they cannot be divided"
                        if group_by else "--val_share needs at least two images")
    order = sorted(groups, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    wanted = max(1, round(share * len(pool)))
    val: set[int] = set()
    for name in order[:-1]:  # one group is left for training
        if len(val) >= wanted:
            break
        val |= {id(picture) for picture in groups[name]}
    return val


def group_pattern(group_by: str) -> re.Pattern[str] | None:
    """Return the regular expression of --group_by; None for "" and "folder".

    Raises:
        UserError: it is none.
    """
    if group_by in ("", "folder"):
        return None
    try:
        return re.compile(group_by)
    except (re.error, OverflowError, RecursionError) as error:  # the last two: a huge number, or thousands of "("
        raise UserError(f"--group_by {printable(group_by)} is neither 'folder' nor a regular expression: "
                        f"{error}") from error


def _group(name: str, group_by: str, pattern: re.Pattern[str] | None) -> str | None:
    """Return the group of a name; None if the pattern does not fit it."""
    if pattern is None:
        return name.rpartition("/")[0] if group_by else name
    found = pattern.search(name)
    if found is None:
        return None
    return (found[1] if pattern.groups else found[0]) or ""
