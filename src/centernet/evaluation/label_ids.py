"""Which entry of an annotation file is which image of a prepared set? The names of the files decide, not the ids.

preprocess.py takes ids and names from an annotation file. The C++ program only sees JPEG files: it takes the number in
their names as id, or counts them in the order of their names. These ids can belong to other images of the file.
"""
from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping

from centernet.data.annotations import Annotations
from centernet.data.image_finder import name_forms, same_end
from centernet.errors import UserError, printable, shown
from centernet.evaluation.prepared_set import INDEX, PreparedSet
from centernet.program import program

LOG = logging.getLogger("centernet")


def label_ids(prepared: PreparedSet, labels: Annotations) -> dict[int, int]:
    """Return the id in an annotation file for each image of a prepared set, and log a line if it is another one.

    Names fit if their paths have the same end, see image_finder.name_forms.

    Raises:
        UserError: the file has no image of a name, or several, or one for two images of the set.
    """
    names, index = prepared.names, printable(prepared.meta_dir / INDEX)
    said = {number: entry["file_name"] for number, entry in zip(labels.image_ids, labels.images)
            if isinstance(entry.get("file_name"), str)}
    if all(said.get(number) == name for number, name in names.items()):
        return {number: number for number in names}
    ids: dict[int, int] = {}
    owners: dict[int, int] = {}
    for number, found in _fitting(names, said).items():
        if prepared.annotation_file and number in found:
            found = [number]  # preprocess.py took the id from an annotation file
        if len(found) != 1 or found[0] in owners:
            what = _difference(number, names, said, found, owners)
            raise UserError(f"{index}: its image {number} is {printable(names[number])}, and {printable(labels.path)} "
                            f"has {what}. Name the annotation file of these images with --label_path, or prepare them "
                            f"with {program('preprocess')}, which takes their ids from that file")
        ids[number], owners[found[0]] = found[0], number
    if other := [number for number in names if ids[number] != number]:
        LOG.info("%s has other image ids than %s: images are matched by file name (%s: %d here, %d there)", index,
                 printable(labels.path), printable(names[other[0]]), other[0], ids[other[0]])
    return ids


def _fitting(names: Mapping[int, str], said: Mapping[int, str]) -> dict[int, list[int]]:
    """Return the ids in the annotation file that fit each image of the set: those of the first form that fits any."""
    by_end: dict[tuple[int, str], list[tuple[tuple[str, ...], int]]] = defaultdict(list)
    for number, name in said.items():
        for form, parts in enumerate(name_forms(name)):
            if parts:
                by_end[form, parts[-1]].append((parts, number))
    found: dict[int, list[int]] = {}
    for number, name in names.items():
        forms = [[other for theirs, other in by_end.get((form, parts[-1]), []) if same_end(parts, theirs)]
                 for form, parts in enumerate(name_forms(name)) if parts]
        found[number] = next(filter(None, forms), [])
    return found


def _difference(number: int, names: Mapping[int, str], said: Mapping[int, str], found: list[int],
                owners: Mapping[int, int]) -> str:
    """Return what the annotation file has in place of one entry for an image of the set."""
    if not found:
        return f"no image of this name{f' ({shown(said[number])} has its id)' if number in said else ''}"
    listed = ", ".join(f"{printable(said[other])} (id {other})" for other in found[:2])
    if len(found) > 1:
        return f"{len(found)} that fit: {listed}"
    return f"one entry for it and {printable(names[owners[found[0]]])}: {listed}"
