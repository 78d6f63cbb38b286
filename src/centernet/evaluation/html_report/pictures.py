"""Best and worst images of an evaluation: the annotated boxes beside the detected ones.

The boxes are SVG over the image, so labels stay sharp in every script and size, and nothing depends on fonts here.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from centernet.data.coco import CocoImage
from centernet.data.orientation import read_annotated
from centernet.evaluation.html_report.matching import ImageMatches, Row
from centernet.markup import Html, data_address, element, join

SHOWN = 4            # best images, and as many worst ones
MOST_PIXELS = 720    # longer side of a picture in the page
MOST_LABELS = 40     # boxes with a label; the others tell it when the pointer is over them
HIT, WRONG, MISSED, REGION = "#12a150", "#e5352b", "#ff9500", "#7a8494"


@dataclass(frozen=True, eq=False)
class Judged:
    """An image with the numbers of right and wrong detections (score at least the threshold) and of missed objects."""

    matches: ImageMatches
    hits: int
    wrong: int
    missed: int

    @property
    def f1(self) -> float:
        """Return F1 of this image."""
        return 2 * self.hits / (2 * self.hits + self.wrong + self.missed)


def best_and_worst(images: Iterable[ImageMatches], threshold: float) -> tuple[list[Judged], list[Judged]]:
    """Return the images with the highest F1 and those with the lowest, at most SHOWN of each, none in both.

    Of equal ones, the best image has more right boxes, the worst one has more errors. Images without objects and
    without detections say nothing and are left out.
    """
    judged = [_judge(image, threshold) for image in images]
    ranked = sorted((image for image in judged if image.hits + image.wrong + image.missed),
                    key=lambda image: (-image.f1, -image.hits, image.wrong + image.missed))
    worst = ranked[len(ranked) - min(SHOWN, (len(ranked) + 1) // 2):]
    return ranked[:min(SHOWN, len(ranked) - len(worst))], worst[::-1]


def _judge(image: ImageMatches, threshold: float) -> Judged:
    counted = (image.scores >= threshold) & ~image.ignored
    hits = int((counted & (image.partner >= 0)).sum())
    return Judged(image, hits, int(counted.sum()) - hits, len(image.truth) - hits)


def picture_pair(judged: Judged, image: CocoImage, names: Mapping[int, str], threshold: float) -> Html:
    """Return a figure: the image with its annotated boxes, and with its detections.

    Args:
        judged, threshold: of best_and_worst.
        image: its file. It is read in the frame of its annotations, as in the evaluation.
        names: category id -> name.

    Raises:
        UserError: the file cannot be read.
    """
    matches, key = judged.matches, f"image{image.id}"
    pixels = read_annotated(image.path, image.width, image.height, [])
    height, width = pixels.shape[:2]
    counted = (matches.scores >= threshold) & ~matches.ignored
    found = set(matches.partner[counted].tolist())
    regions = [_box(row, REGION, f"{names[row['category_id']]} (ignored region)", width, dashed=True)
               for row in matches.regions]
    truth = [_box(row, HIT if place in found else MISSED, names[row["category_id"]], width,
                  place < MOST_LABELS, dashed=place not in found) for place, row in enumerate(matches.truth)]
    shown = np.flatnonzero(matches.scores >= threshold).tolist()
    detected = [_box(matches.found[number], REGION if matches.ignored[number] else
                     HIT if matches.partner[number] >= 0 else WRONG,
                     f"{names[matches.found[number]['category_id']]} {matches.found[number]['score']:.2f}", width,
                     place < MOST_LABELS) for place, number in enumerate(shown)]
    first = element("image", id=key, href=_jpeg(pixels), width=width, height=height)
    caption = element("figcaption", element("b", image.file_name), f": F1 {judged.f1:.2f}, {judged.hits} right, "
                      f"{judged.wrong} wrong, {judged.missed} missed")
    return element("figure", caption, element("div", _svg(width, height, first, [*regions, *truth]),
                                              _svg(width, height, element("use", href=f"#{key}"),
                                                   [*regions, *detected[::-1]]), class_="pair"))


def _svg(width: int, height: int, image: Html, boxes: Sequence[tuple[Html, Html]]) -> Html:
    """Return an image with its boxes. All labels come after all boxes, so that no box covers a label."""
    return element("svg", image, *(box for box, _ in boxes), *(label for _, label in boxes),
                   viewBox=f"0 0 {width} {height}", xmlns="http://www.w3.org/2000/svg")


def _box(row: Row, color: str, label: str, width: int, labelled: bool = True,
         dashed: bool = False) -> tuple[Html, Html]:
    """Return a rectangle and its label. Sizes follow the image's width, because the page shows all images equally."""
    x, y, w, h = row["bbox"]
    size = width / 46
    rectangle = element("rect", element("title", label), x=x, y=y, width=max(w, 0), height=max(h, 0), fill="none",
                        stroke=color, stroke_width=width / 280,
                        stroke_dasharray=f"{size / 2} {size / 3}" if dashed else "none")
    if not labelled:
        return rectangle, join([])
    to_left = x > width - 6 * size and x + w > width / 2  # a label at the right border ends where its box ends
    place = min(x + w, width) - size / 5 if to_left else max(x, 0) + size / 5
    return rectangle, element("text", label, x=place, y=max(y, 0) + size, fill=color, font_size=size, stroke="#fff",
                              stroke_width=size / 5, paint_order="stroke", font_family="sans-serif",
                              font_weight="bold", text_anchor="end" if to_left else "start")


def _jpeg(pixels: np.ndarray) -> str:
    scale = min(1.0, MOST_PIXELS / max(pixels.shape[:2]))
    if scale < 1:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return data_address(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes(), "image/jpeg")


def key_of_colors() -> Html:
    """Return the meaning of the colours."""
    listed = ((HIT, "right (IoU at least 0.5)"), (WRONG, "wrong detection"), (MISSED, "missed object (dashed)"),
              (REGION, "ignored region, and detections in it"))
    return element("p", *(join([element("span", class_="key", style=f"background:{color}"), f"{text}   "])
                          for color, text in listed), class_="note")
