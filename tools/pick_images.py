"""Write an annotation file of the first N images with only large boxes. check_overfit.sh uses it."""
from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from centernet.data.coco import locate
from centernet.errors import reports_errors
from centernet.files import read_json

MIN_SIDE = 40  # pixels; at 256 x 256, smaller boxes are only a few output cells wide


def first_images(data: dict, count: int, suits: Callable[[dict], bool] = lambda row: True) -> dict:
    """Return the COCO annotation data of the first images that have boxes and whose boxes all suit."""
    boxes = defaultdict(list)
    for row in data["annotations"]:
        boxes[row["image_id"]].append(row)
    images = [image for image in data["images"] if boxes[image["id"]] and all(map(suits, boxes[image["id"]]))]
    return {**data, "images": images[:count],
            "annotations": [row for image in images[:count] for row in boxes[image["id"]]]}


def is_large(row: dict) -> bool:
    """Return whether a box is neither small nor a crowd."""
    return min(row["bbox"][2:]) >= MIN_SIDE and not row.get("iscrowd")


@reports_errors
def main() -> int:
    """Print the folder of the images; exit status 2 if there is no data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coco_dir")
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=8)
    arguments = parser.parse_args()
    annotation_file, image_dir = locate(arguments.coco_dir, "train")
    picked = first_images(read_json(annotation_file), arguments.count, is_large)
    arguments.output.write_text(json.dumps(picked), encoding="utf-8")
    print(image_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
