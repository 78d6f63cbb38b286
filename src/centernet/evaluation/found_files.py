"""Files of the detections of infer: JSON, CSV and a COCO annotation file; removal of those of an earlier run."""
from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from centernet.categories import Categories
from centernet.detection.postprocess import to_readable
from centernet.detection.result import Result
from centernet.errors import UserError
from centernet.files import read_json, replacing, user_errors, write_json, write_text

BOX_FORMAT = ("x1, y1, x2, y2 in pixels of the image as shown (EXIF orientation applied), clipped to it; (0, 0) is "
              "the top left corner")
COLUMNS = ("file", "category", "category_id", "score", "x1", "y1", "x2", "y2", "width", "height")
DETECTIONS, PICTURES = "detections.json", "pictures"


def listed(result: Result) -> list[dict[str, Any]]:
    """Return one image's boxes with category name and COCO id, score, and x1, y1, x2, y2 in pixels of the image.

    A box may extend beyond the image. COCO results keep it so, but readers of this list cut out the pixels. So it is
    clipped, and left out if no pixel remains.
    """
    height, width = result.image.shape[:2]
    rows = np.column_stack([np.clip(result.boxes, 0, [width, height] * 2), result.scores, result.labels])
    found = [{**readable, "category_id": row["category_id"]} for readable, row in
             zip(to_readable(rows, result.categories), result.to_coco(0))]
    return [row for row in found if _has_area(*row["box"])]


def _has_area(left: float, top: float, right: float, bottom: float) -> bool:
    return right > left and bottom > top


def write_found(folder: Path, images: Sequence[dict[str, Any]], categories: Categories, score_thresh: float,
                formats: Iterable[str]) -> None:
    """Write detections.json, and detections.csv and detections_coco.json if formats has csv and coco.

    Args:
        folder: output folder; it is created if necessary.
        images: for each image file, width, height, picture and detections (see listed).
        categories: the model's categories.
        score_thresh: the lowest listed score.
        formats: some of json, csv, coco.
    """
    write_json(folder / DETECTIONS, {"score_thresh": score_thresh, "box_format": BOX_FORMAT, "images": list(images)})
    if "csv" in formats:
        with user_errors(f"cannot write {folder / 'detections.csv'}"):
            write_text(folder / "detections.csv", "".join(map(csv_line, [COLUMNS, *_table(images)])))
    if "coco" in formats:
        write_json(folder / "detections_coco.json", _coco(images, categories))


def csv_line(values: Iterable[Any]) -> str:
    """Return a line of a CSV file, with its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _table(images: Sequence[dict[str, Any]]) -> Iterable[list[Any]]:
    for image in images:
        for row in image["detections"]:
            yield [image["file"], row["category"], row["category_id"], row["score"], *row["box"], image["width"],
                   image["height"]]


def _coco(images: Sequence[dict[str, Any]], categories: Categories) -> dict[str, Any]:
    """Return an annotation file whose boxes have scores. It has the ids of the images, so it is complete in itself."""
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, 1):
        for row in image["detections"]:
            annotations.append(_annotation(len(annotations) + 1, number, row))
    return {"images": [{"id": number, "file_name": image["file"], "width": image["width"], "height": image["height"]}
                       for number, image in enumerate(images, 1)],
            "annotations": annotations, "categories": categories.to_json()}


def _annotation(number: int, image_id: int, row: dict[str, Any]) -> dict[str, Any]:
    x1, y1, x2, y2 = row["box"]
    width, height = round(x2 - x1, 1), round(y2 - y1, 1)
    return {"id": number, "image_id": image_id, "category_id": row["category_id"], "bbox": [x1, y1, width, height],
            "area": round(width * height, 1), "iscrowd": 0, "score": row["score"]}


def write_coco_of_frames(path: Path, lines: Path, name: str, size: tuple[int, int], categories: Categories) -> None:
    """Write a COCO annotation file of a video from its file of lines. One line is in memory at a time.

    The id of an image is the number of its frame, from 0; its name is NAME/000012.jpg. Frames without a picture are
    left out.

    Args:
        path: the file to write.
        lines: NAME.jsonl, complete.
        name: of the video.
        size: width and height of the frames.
        categories: the model's categories.

    Raises:
        UserError: a file cannot be read or written.
    """
    def rows(key: str) -> Iterator[str]:
        number = 0
        with lines.open(encoding="utf-8") as opened:
            for row in map(json.loads, opened):
                if key == "images" and not row.get("unreadable"):
                    yield json.dumps({"id": row["frame"], "file_name": f"{name}/{row['frame']:06}.jpg",
                                      "width": size[0], "height": size[1]})
                for box in row["detections"] if key == "annotations" else ():
                    number += 1
                    yield json.dumps(_annotation(number, row["frame"], box))

    with user_errors(f"cannot write {path}"), replacing(path) as unfinished, \
            unfinished.open("w", encoding="utf-8") as file:
        for key, start in (("images", '{"images": [\n'), ("annotations", '],\n"annotations": [\n')):
            file.write(start)
            for number, text in enumerate(rows(key)):
                file.write(f"{',' * (number > 0)}{text}\n")
        file.write(f'],\n"categories": {json.dumps(categories.to_json())}}}\n')


def remove_earlier(folder: Path) -> int:
    """Remove the detections of an earlier run, and the pictures that they name. Return the number of other pictures.

    Only files that the earlier detections.json names are removed, and only below folder/pictures. Its own file goes
    first, so that an interrupted run leaves no list beside pictures of another one.
    """
    path, pictures = folder / DETECTIONS, folder / PICTURES
    names: list[str] = []
    if path.is_file():
        try:
            images = read_json(path).get("images")
        except UserError:  # another program's file, or a damaged one: it names nothing
            images = None
        names = [image["picture"] for image in images if isinstance(image, dict) and isinstance(
            image.get("picture"), str)] if isinstance(images, list) else []
    with user_errors(f"cannot remove the results of an earlier run from {folder}"):
        for name in (DETECTIONS, "detections.csv", "detections_coco.json"):
            (folder / name).unlink(missing_ok=True)
        for name in names:
            target = Path(name)
            if target.parts[:1] == (PICTURES,) and ".." not in target.parts:
                (folder / target).unlink(missing_ok=True)
    return sum(item.is_file() for item in pictures.rglob("*")) if pictures.is_dir() else 0


def json_line(values: dict[str, Any]) -> str:
    """Return a line of a JSON lines file, with its end."""
    return json.dumps(values, allow_nan=False) + "\n"
