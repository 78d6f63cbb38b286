"""Report on a data set: what was left out, and what was repaired or only looks wrong. One report for all commands."""
from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from centernet.errors import UserError

LOG = logging.getLogger("centernet")

EXAMPLES = 3  # number of examples that are listed for each kind
MISSING = "image file missing"
UNNAMED = "image entry without file_name"


@dataclass
class Defects:
    """Findings in a data set by kind: their number, and the first few examples.

    Attributes:
        lost: those that cost an image each, by the split of the image; "": the data set or the reader knows no splits.
        splits: the splits of what is added; others than "" only in what of() returns.
    """

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    lost: dict[str, Defects] = field(default_factory=dict)
    splits: tuple[str, ...] = ("",)

    def of(self, *splits: str) -> Defects:
        """Return the same findings; what is added there belongs to images of these splits."""
        return replace(self, splits=splits)

    def add(self, kind: str, place: str, lost: bool = False) -> None:
        """Count a finding. `place` names the image or annotation; `lost`: an image is left out because of it."""
        for split in self.splits if lost else ():
            self.lost.setdefault(split, Defects()).add(kind, place)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        places = self.examples.setdefault(kind, [])
        if len(places) < EXAMPLES:
            places.append(place)

    def add_many(self, kind: str, count: int, places: list[str]) -> None:
        """Count the findings of another reader: their number, and its examples."""
        self.counts[kind] = self.counts.get(kind, 0) + count
        self.examples[kind] = [*self.examples.get(kind, []), *places][:EXAMPLES]

    def add_all(self, theirs: Defects) -> None:
        """Count all findings of another reader."""
        for kind, count in theirs.counts.items():
            self.add_many(kind, count, theirs.examples[kind])
        for split, found in theirs.lost.items():
            for own in (split,) if split else self.splits:
                self.lost.setdefault(own, Defects()).add_all(found)

    def all_lost(self) -> Defects:
        """Return the findings that cost an image each, of all splits. An image of two splits counts twice."""
        found = Defects()
        for of_split in self.lost.values():
            found.add_all(of_split)
        return found

    def lines(self) -> list[str]:
        """Return one line with examples for each kind."""
        return [f"{count:8d}  {kind} ({'; '.join(self.examples[kind])}{'; ...' if count > EXAMPLES else ''})"
                for kind, count in self.counts.items()]


@dataclass
class Report:
    """Findings of a reader.

    Attributes:
        defects: entries, boxes or files that were left out, or that contradict each other. Errors with --strict true.
        notes: values that were repaired, and data that can be read but looks like a mistake. Never errors.
    """

    defects: Defects = field(default_factory=Defects)
    notes: Defects = field(default_factory=Defects)

    def of(self, *splits: str) -> Report:
        """Return the same report; what is added there belongs to images of these splits."""
        return replace(self, defects=self.defects.of(*splits))

    def lines(self) -> list[str]:
        """Return the lines of the table: the defects, then the notes."""
        return [*self.defects.lines(), *(f"{line[:10]}note: {line[10:]}" for line in self.notes.lines())]

    def add_all(self, theirs: Report) -> None:
        """Add the findings of another reader."""
        self.defects.add_all(theirs.defects)
        self.notes.add_all(theirs.notes)

    def with_defects(self, message: str) -> str:
        """Return a message with the defects below it, if there are any: they may be why there is something to say."""
        return "\n".join([message, *(["left out before:"] if self.defects.counts else []), *self.defects.lines()])

    def require_none(self, source: str, strict: bool, done: str = "") -> None:
        """Raise UserError with all defects if strict is set and there is a defect. `done` is what was not done."""
        if strict and self.defects.counts:
            listed = "\n".join(self.defects.lines())
            raise UserError(f"{source}: {sum(self.defects.counts.values())} defect(s){done}; correct them, or use "
                            f"--strict false to leave them out:\n{listed}")

    def announce(self, source: str, strict: bool) -> None:
        """Log the findings, if there are any. Raise UserError as require_none does."""
        self.require_none(source, strict)
        if lines := self.lines():
            LOG.warning("%s: %d defects, %d notes\n%s", source, sum(self.defects.counts.values()),
                        sum(self.notes.counts.values()), "\n".join(lines))


def report_all(source: str, notes: Iterable[tuple[str, str]]) -> None:
    """Log notes, given as kind and example each, as one report."""
    report = Report()
    for kind, example in notes:
        report.notes.add(kind, example)
    report.announce(source, strict=False)
