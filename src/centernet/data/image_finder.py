"""Finder of image files by the file_name of an annotation file, also of one that another tool or machine wrote."""
from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from centernet.data.defects import MISSING, Report
from centernet.errors import UserError
from centernet.files import files_below


class ImageFinder:
    """Finds image files below a folder. Subfolders are searched once, for the first name that is not in the folder."""

    def __init__(self, image_dir: Path, allow_outside: bool = False):
        self.image_dir, self.allow_outside = image_dir, allow_outside
        self.by_name: dict[str, list[str]] | None = None

    def find(self, file_name: str, image_id: int, report: Report) -> Path | None:
        """Return the path of an image, or None; then the reason is added to the report's defects.

        Raises:
            UserError: file_name leads to a file outside of the folder (/etc/passwd, ../private.jpg), no file in the
                folder has its name, and allow_outside is false.
        """
        path = self._existing(file_name)
        outside = path is not None and not self.allow_outside and self._is_outside(path)
        if path is None or outside:
            places, foreign = self._search(file_name)
            if not places and outside:
                raise UserError(f"image id {image_id}: its file_name {file_name} leads out of the image folder "
                                f"{self.image_dir}. Put the images below this folder, or set --allow_outside true if "
                                "you trust the annotation file")
            if len(places) != 1:
                kind = "image name in several folders" if places else MISSING
                report.defects.add(kind, f"id {image_id}: {', '.join(places[:2]) or file_name}", lost=True)
                return None
            path = Path(places[0])
            if foreign:
                report.notes.add("file_name of another system (folders, \\, %20, URL, case): found by the end of its "
                                 "path", f"{file_name}: {os.path.relpath(path, self.image_dir)}")
            if not path.is_file():  # a link whose target is missing
                report.defects.add(MISSING, f"id {image_id}: {file_name}", lost=True)
                return None
        if path.stat().st_size == 0:
            report.defects.add("image file of 0 bytes", f"id {image_id}: {file_name}", lost=True)
            return None
        return path

    def _existing(self, file_name: str) -> Path | None:
        path = self.image_dir / file_name
        if ".." in PurePosixPath(file_name).parts:
            # The system follows a link before "..", abspath does not. So the path that is checked must be opened.
            folder = os.path.abspath(self.image_dir)
            inner = os.path.relpath(os.path.join(folder, file_name), folder)
            path = path if inner.split(os.sep)[0] == ".." else self.image_dir / inner
        try:
            return path if path.is_file() else None
        except (OSError, ValueError):  # a name that is too long, or has a zero byte
            return None

    def _is_outside(self, path: Path) -> bool:
        """Return whether the names of a path lead out of the folder. A link inside of it may lead anywhere."""
        folder = os.path.abspath(self.image_dir)
        return os.path.commonpath([folder, os.path.abspath(path)]) != folder

    def _search(self, file_name: str) -> tuple[list[str], bool]:
        """Return the files below image_dir with this name, and whether the name had to be changed to find them.

        First all files whose path ends in file_name. If there is none, those whose path and file_name have the same
        end, up to the whole of one of them: images/a/1.jpg is found as a/1.jpg, and the other way round.
        """
        if self.by_name is None:
            self.by_name = self._listed()
        tail = "/" + os.path.normpath(file_name).lstrip("/")
        same = self.by_name.get(_folded(os.path.basename(file_name)), [])
        exact = sorted(path for path in same if path.endswith(tail))
        if exact:
            return exact, False
        for name in dict.fromkeys((_plain(file_name), _plain(unquote(file_name)))):
            wanted = PurePosixPath(_folded(name)).parts
            alike = self.by_name.get(wanted[-1], []) if wanted else []
            places = sorted(path for path in alike if self._ends_alike(path, wanted))
            if places:
                return places, True
        return [], True

    def _ends_alike(self, path: str, wanted: tuple[str, ...]) -> bool:
        return same_end(PurePosixPath(_folded(os.path.relpath(path, self.image_dir))).parts, wanted)

    def _listed(self) -> dict[str, list[str]]:
        """Return all files below image_dir by folded name, see files_below."""
        by_name: dict[str, list[str]] = defaultdict(list)
        for path in files_below(self.image_dir):
            by_name[_folded(path.name)].append(str(path))
        return by_name


def same_end(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Return whether the parts of two paths have the same end, up to the whole of one of them."""
    count = min(len(one), len(other))
    return one[-count:] == other[-count:]


def name_forms(file_name: str) -> tuple[tuple[str, ...], ...]:
    """Return the parts of a path or URL of any system in three forms, for comparisons of names.

    The first is exact, the second has no %20 and no regard to case and Unicode form, the third has no suffix, too.
    """
    plain = _plain(file_name)
    folded = _folded(unquote(plain))
    return tuple(PurePosixPath(form).parts for form in (plain, folded, os.path.splitext(folded)[0]))


def _plain(file_name: str) -> str:
    """Return a path or URL of any system with slashes only, without drive, host and query."""
    path = file_name.replace("\\", "/")
    if "://" in path:
        path = path.partition("://")[2].partition("?")[0].partition("/")[2]
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    return "/".join(parts[1:] if parts and parts[0].endswith(":") else parts)


def _folded(name: str) -> str:
    """Return a name for comparison: in one Unicode form, without regard to case."""
    return unicodedata.normalize("NFC", name).casefold()
