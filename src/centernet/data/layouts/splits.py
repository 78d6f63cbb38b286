"""Selection of classes, and division of a data set into train, val and test."""
from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from centernet.data.layouts.form import Imported, Picture, file_name
from centernet.errors import UserError, printable

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
        raise UserError(f"--classes {' '.join(classes)}: " + (f"the data set has no class {unknown[0]}" if unknown else
                        "a class is named twice") + f"; its classes are {', '.join(imported.names)}")
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
        names: see named_splits.
        val_share: share of the images for val, 0: as the data set says. With a share, the images of train and val, and
            those without a split, are divided anew.
        group_by: "folder", or a regular expression: images of one folder, or with one text of its first group (or of
            its match) in their names, go together.
        seed: another seed gives another division. An image that is added does not move the others.

    Raises:
        UserError: the data set has no split for train, or group_by is no regular expression, or puts all in one group.
    """
    parts: dict[str, list[Picture]] = {}
    for picture in imported.pictures:
        ours = names.get(picture.split, "" if picture.split else "train" if val_share else "")
        if ours:
            parts.setdefault(ours, []).append(picture)
    if not parts.get("train"):
        raise UserError(f"{imported.root}: no image is for training (splits: "
                        f"{', '.join(filter(None, imported.splits())) or 'none'}). Divide them: --val_share 0.2, or "
                        "name the splits: --splits train=NAME val=NAME")
    if not val_share:
        if group_by:
            raise UserError(f"--group_by {group_by} has no effect without --val_share: give the share, such as "
                            "--val_share 0.2, or leave it out")
        return parts
    pool = [*parts["train"], *parts.pop("val", [])]
    val = _drawn(pool, imported, val_share, group_by, seed)
    parts["train"], parts["val"] = [item for item in pool if id(item) not in val], \
        [item for item in pool if id(item) in val]
    return parts


def _drawn(pool: list[Picture], imported: Imported, share: float, group_by: str, seed: int) -> set[int]:
    """Return the ids of the objects for val: whole groups in the order of a hash, until the share is reached."""
    groups: dict[Any, list[Picture]] = {}
    for picture in pool:
        groups.setdefault(_group(file_name(picture.path, imported, True), group_by), []).append(picture)
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


def _group(name: str, group_by: str) -> str | None:
    """Return the group of a name; None if the pattern does not fit it."""
    if not group_by:
        return name
    if group_by == "folder":
        return name.rpartition("/")[0]
    try:
        found = re.search(group_by, name)
    except re.error as error:
        raise UserError(f"--group_by {group_by} is neither 'folder' nor a regular expression: {error}") from error
    if found is None:
        return None
    return (found[1] if found.re.groups else found[0]) or ""
