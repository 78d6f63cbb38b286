"""Images of a data set by name: which file does an annotation mean, and which images have none?"""
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from centernet.data.defects import MISSING, Report
from centernet.data.layouts.form import USUAL, Picture, images_below


class ImageIndex:
    """Image files below a folder, found by name or stem. Folders of one name may exist in several places."""

    def __init__(self, root: Path):
        self.root = root
        self.by_stem: dict[str, list[Path]] = {}
        for path in images_below(root):
            self.by_stem.setdefault(path.stem, []).append(path)

    def find(self, name: str, near: Path, report: Report, place: str, *, stem: str = "",
             by_stem: bool = False) -> Path | None:
        """Return the image that an annotation means. None if there is none, or if several fit equally: a defect.

        Args:
            name: the file's name or path in the annotation, as any system writes it; may be "".
            near: folder of the annotation: an image there, or in a folder beside it, is preferred.
            report: gets the defect.
            place: the annotation and the name, for the defect.
            stem: stem of the annotation file; its image usually has the same one.
            by_stem: images with this stem come before those with the name (then the name chooses among them).
        """
        said = PurePosixPath(name.replace("\\", "/"))
        same_stem, named_stem = self.by_stem.get(stem, []), self.by_stem.get(said.stem, [])
        named = [path for path in named_stem if path.name == said.name]
        chosen = [path for path in same_stem if path.name == said.name] or same_stem if by_stem else []
        places = self._best(chosen or named or same_stem or named_stem, near, said)
        if len(places) == 1:
            return places[0]
        if places:
            listed = ", ".join(str(path.relative_to(self.root)) for path in places[:2])
            report.defects.add("annotation that fits several images equally: left out", f"{place}: {listed}",
                               lost=True)
        else:
            report.defects.add(MISSING, place, lost=True)
        return None

    def _best(self, places: list[Path], near: Path, said: PurePosixPath) -> list[Path]:
        """Return the images that fit the path and the place of an annotation best: several, if nothing decides."""
        whole = os.path.normpath(near / said)

        def rank(path: Path) -> tuple[bool | int, ...]:
            return (os.path.normpath(path) != whole, path.parent != near,
                    -_common_end(path.parent.parts, said.parent.parts), -_common_end(path.parent.parts, near.parts),
                    not path.is_relative_to(near.parent), not set(USUAL) & set(path.relative_to(self.root).parts[:-1]))

        ranks = {path: rank(path) for path in places}
        best = [path for path in places if ranks[path] == min(ranks.values())]
        # As with COCO's files, a name stands for the file of the upper folder, not for one in a folder below.
        upper = [path for path in best if all(path.parent in other.parents for other in best)]
        return upper if len(upper) == 1 else best

    def has(self, name: str) -> bool:
        """Return whether a file with the name of an annotation (or the last part of its path) exists."""
        said = PurePosixPath(name.replace("\\", "/"))
        return any(path.name == said.name for path in self.by_stem.get(said.stem, []))

    def has_stem(self, stem: str) -> bool:
        """Return whether an image has this name, without regard to its suffix."""
        return stem in self.by_stem

    def all(self) -> list[Path]:
        """Return all images, in the order of their paths."""
        return sorted(path for paths in self.by_stem.values() for path in paths)


def _common_end(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Return how many folders at the ends of two paths are equal."""
    return next((count for count, (first, second) in enumerate(zip(reversed(one), reversed(other)))
                 if first != second), min(len(one), len(other)))


def note_unlabelled(index: ImageIndex, pictures: Iterable[Picture | None], report: Report,
                    reasons: Mapping[str, str] | None = None) -> None:
    """Note images that were not read: without annotation, or what reasons has for their stems ("": told elsewhere)."""
    known = {os.path.realpath(picture.path) for picture in pictures if picture}  # a link can give an image two paths
    for path in index.all():
        reason = (reasons or {}).get(path.stem, "image without annotation")
        if os.path.realpath(path) not in known and reason:
            report.notes.add(f"{reason}: left out", str(path.relative_to(index.root)))
