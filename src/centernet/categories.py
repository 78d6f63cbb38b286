"""Categories of a data set: classes 0..N-1 in the program, COCO category ids in files."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from centernet.data.repair import whole
from centernet.errors import UserError, listed, shown

# Category ids of COCO 2017 in the order of its 80 names; the ids have gaps.
COCO_IDS = tuple(number for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))


@dataclass(frozen=True)
class Categories:
    """Names and COCO category ids. A class is the position (0..N-1) in both."""

    names: tuple[str, ...]
    ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.names)

    def class_of(self) -> dict[int, int]:
        """Map from COCO category id to class."""
        return {category_id: index for index, category_id in enumerate(self.ids)}

    def classes_in(self, other: Categories) -> np.ndarray:
        """Return int32 (len(self),): the class that `other`, which holds all names of these, has for each class."""
        known = {name: index for index, name in reversed(list(enumerate(other.names)))}  # the first of equal names
        return np.array([known[name] for name in self.names], np.int32)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the categories in the form that info files, checkpoints and manifests store."""
        return [{"id": category_id, "name": name} for category_id, name in zip(self.ids, self.names)]


def categories_from_json(rows: Iterable[dict[str, Any]], source: str) -> Categories:
    """Read the `categories` of an annotation, info or manifest file, ordered by id.

    Raises:
        UserError: rows without id and name, duplicate ids, or no row at all.
    """
    try:
        pairs = sorted((_category_id(row["id"]), str(row["name"])) for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{source}: every category needs an integer 'id' and a 'name' ({error!r})") from error
    ids = tuple(category_id for category_id, _ in pairs)
    if not ids:
        raise UserError(f"{source}: the list 'categories' is empty; a detector needs at least one")
    repeated = sorted(category_id for category_id, count in Counter(ids).items() if count > 1)
    if repeated:
        raise UserError(f"{source}: category ids must differ, found more than once: {shown(repeated)}")
    return Categories(tuple(name for _, name in pairs), ids)


def _category_id(value: Any) -> int:
    found = whole(value)
    if found is None or abs(found) > 1 << 53:  # beyond it, not all programs read the same number from JSON
        raise ValueError(f"id {value!r:.60}")
    return found


def categories_from_names(names: tuple[str, ...]) -> Categories:
    """Build categories from names alone: with COCO's ids for 80 names, otherwise with ids 1..N."""
    return Categories(names, COCO_IDS if len(names) == len(COCO_IDS) else tuple(range(1, len(names) + 1)))


def require_same(model: Categories, data: Categories, model_source: str, data_source: str, remedy: str) -> None:
    """Raise UserError unless the model and the data have the same category names in the same order.

    Training needs this. An evaluation compares by name, see by_name.
    """
    if model.names == data.names:
        return
    known = set(model.names)
    missing = [name for name in data.names if name not in known]
    detail = f"not in the model: {listed(missing, 5)}" if missing else "the order or number differs"
    raise UserError(f"{model_source} detects {len(model)} categories ({listed(model.names)}), but "
                    f"{data_source} has {len(data)} ({listed(data.names)}); {detail}. {remedy}")


def by_name(model: Categories, data: Categories, model_source: str, data_source: str, remedy: str) -> Categories:
    """Return the model's categories with the ids of a data set to evaluate. Names that the data lacks get unused ids.

    Raises:
        UserError: the data set has a name that the model does not know, or one of them has a name twice.
    """
    unique = len(set(model.names)) == len(model) and len(set(data.names)) == len(data)
    if not unique or not set(data.names) <= set(model.names):
        require_same(model, data, model_source, data_source, remedy)
        return data
    free = (number for number in range(max(data.ids) + 1, max(data.ids) + 1 + len(model)))
    known = dict(zip(data.names, data.ids))
    return Categories(model.names, tuple(known[name] if name in known else next(free) for name in model.names))
