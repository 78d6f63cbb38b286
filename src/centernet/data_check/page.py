"""The report on a data set: a short text, and one HTML file that needs nothing else."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from centernet import markup
from centernet.data_check.advice import Pair
from centernet.data_check.statistics import Statistics, cells, quantiles, ratios
from centernet.markup import Html, bar, data_address, element, note, section

SPREAD = "smallest / 10 % / median / 90 % / largest"
LEFT_OUT = "What the reader left out or repaired"
MOST_ROWS = 200  # of a list or table on the page
WIDEST = 240     # pixels of the longest bar of a chart


@dataclass(frozen=True)
class Findings:
    """All that the report says."""

    title: str                      # name of the data set
    splits: dict[str, Statistics]
    pairs: list[Pair]
    contradictions: list[str]       # of image files, one line each: "SPLIT/FILE: TEXT"
    defects: dict[str, list[str]]   # lines of the reader's report, by split
    advice: list[str]
    input_size: tuple[int, int]     # height, width
    max_objs: int


def table(found: Findings) -> list[tuple[str, list[str]]]:
    """Return the rows of the table of numbers: name, and a text for each split."""
    rows = {split: _column(numbers, found) for split, numbers in found.splits.items()}
    names = list(next(iter(rows.values())))
    return [(name, [column[name] for column in rows.values()]) for name in names]


def _column(numbers: Statistics, found: Findings) -> dict[str, str]:
    pixels = np.sqrt(numbers.boxes.prod(axis=1))
    parts = [int((pixels < 32).sum()), int(((pixels >= 32) & (pixels < 96)).sum()), int((pixels >= 96).sum())]
    sizes, counts = np.unique(numbers.sides, axis=0, return_counts=True)
    usual = " x ".join(map(str, sizes[counts.argmax()])) if len(sizes) else "none"
    return {
        "images": str(numbers.images), "images without boxes": str(numbers.empty),
        "image sizes": f"{len(sizes)}, most often {usual}", "boxes": str(len(numbers.boxes)),
        "boxes to ignore": str(numbers.ignored), "boxes small / medium / large (COCO)": " / ".join(map(str, parts)),
        "shorter side in cells of stride 4": quantiles(cells(numbers)),
        "width / height": quantiles(ratios(numbers)),
        "boxes of an image": quantiles(numbers.counts),
        f"images with more than {found.max_objs} boxes (max_objs)": str(int((numbers.counts > found.max_objs).sum())),
        "centres in the cell of another box": f"{numbers.shared_cells}, of their class {numbers.collisions}",
        "boxes labelled twice": str(len(numbers.repeated)), "boxes past their image": str(numbers.past)}


def text(found: Findings) -> str:
    """Return the short text for the terminal."""
    rows = [("", list(found.splits)), *table(found), *_class_rows(found)]
    widest = max(len(name) for name, _ in rows)
    width = max(len(value) for _, values in rows for value in values)
    lines = [f"{name:{widest}s}  " + "  ".join(f"{value:>{width}s}" for value in values) for name, values in rows]
    inner = sum(not pair.across for pair in found.pairs)
    lines += [f"same or nearly same images: {inner} pairs within a split, {len(found.pairs) - inner} across splits",
              f"image files that contradict the annotations: {len(found.contradictions)}",
              f"(of several numbers: {SPREAD}; sizes at an input of {found.input_size[0]} x {found.input_size[1]})",
              *(line for split, rows in found.defects.items() if rows for line in ("", f"{LEFT_OUT}: {split}", *rows)),
              ""]
    return "\n".join([*lines, *(found.advice or ["Nothing looks wrong."])])


def _class_rows(found: Findings) -> list[tuple[str, list[str]]]:
    names = list(dict.fromkeys(name for numbers in found.splits.values() for name in numbers.class_boxes))
    return [(f"class {name}", [f"{numbers.class_boxes.get(name, 0)} in {numbers.class_images.get(name, 0)} images"
                               for numbers in found.splits.values()]) for name in names]


def page(found: Findings, sheets: Sequence[tuple[str, str, np.ndarray | None]]) -> str:
    """Return the HTML file. It refers to nothing outside of it.

    Args:
        found: what the report says.
        sheets: title, explanation and uint8 BGR picture each; None: there is no picture.
    """
    title = f"Data check: {found.title}"
    rows = [*table(found), *_class_rows(found)[:MOST_ROWS]]
    pairs = [f"{pair.one} = {pair.two}{'' if pair.exact else ' (nearly)'}"
             for pair in sorted(found.pairs, key=lambda pair: not pair.across)]
    return markup.page(title, [
        element("h1", title),
        section("Advice", _items(found.advice or ["Nothing looks wrong."])),
        section("Numbers", markup.table(["", *found.splits], [[name, *values] for name, values in rows]),
                note(f"Of several numbers: {SPREAD}. Sizes at an input of {found.input_size[0]} x "
                     f"{found.input_size[1]} (the whole image fitted into it).")),
        *(section(split, *_charts(numbers)) for split, numbers in found.splits.items()),
        *(section(heading, note(words), _image(picture, heading))
          for heading, words, picture in sheets if picture is not None),
        *_list("Same or nearly same images", pairs),
        *_list("Image files that contradict the annotations", found.contradictions),
        *(part for split, lines in found.defects.items()
          for part in _list(f"{LEFT_OUT}: {split}", lines))])


def _items(lines: list[str]) -> Html:
    return element("ul", *(element("li", line) for line in lines))


def _list(title: str, lines: list[str]) -> list[Html]:
    """Return a section with the first lines of a list; nothing for an empty one."""
    more = [f"... and {len(lines) - MOST_ROWS} more"] if len(lines) > MOST_ROWS else []
    return [section(f"{title} ({len(lines)})", _items([*lines[:MOST_ROWS], *more]))] if lines else []


def _charts(numbers: Statistics) -> list[Html]:
    classes = sorted(numbers.class_boxes.items(), key=lambda item: -item[1])[:40]
    charts = [_histogram("Shorter side of the boxes, in cells of stride 4", cells(numbers),
                         [0, 1, 2, 4, 8, 16, 32, 64, 128, np.inf]),
              _histogram("Width / height", ratios(numbers), [0, 0.125, 0.25, 0.5, 0.8, 1.25, 2, 4, 8, np.inf]),
              _histogram("Boxes of an image", numbers.counts, [0, 1, 2, 5, 10, 20, 50, 100, 128, np.inf]),
              _bars("Boxes of each class", classes)]
    return [element("div", *charts, class_="columns")]


def _histogram(title: str, values: np.ndarray, edges: list[float]) -> Html:
    counts = [int(((values >= low) & (values < high)).sum()) for low, high in zip(edges, edges[1:])]
    names = [f"{low:g} to {high:g}" if high < np.inf else f"{low:g} and more" for low, high in zip(edges, edges[1:])]
    return _bars(title, list(zip(names, counts)))


def _bars(title: str, rows: list[tuple[str, int]]) -> Html:
    most = max((count for _, count in rows), default=0) or 1
    lines = [[name, count, bar(count / most, WIDEST)] for name, count in rows]
    return element("div", element("h3", title), markup.table((), lines))


def _image(picture: np.ndarray, title: str) -> Html:
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    return element("img", src=data_address(data, "image/jpeg"), alt=title, class_="plot")
