"""Write an annotation file of the first N images with only large boxes. check_overfit.sh uses it."""
from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

from centernet.data.coco import locate
from centernet.errors import reports_errors

MIN_SIDE = 40  # pixels; at 256 x 256, smaller boxes are only a few output cells wide


def pick(data: dict, count: int) -> dict:
    """Return the COCO annotation data of the first images with boxes, without crowds and without small boxes."""
    boxes = defaultdict(list)
    for row in data["annotations"]:
        boxes[row["image_id"]].append(row)
    images = [image for image in data["images"] if boxes[image["id"]]
              and all(min(row["bbox"][2:]) >= MIN_SIDE and not row.get("iscrowd") for row in boxes[image["id"]])]
    return {**data, "images": images[:count],
            "annotations": [row for image in images[:count] for row in boxes[image["id"]]]}


@reports_errors
def main() -> int:
    """Print the folder of the images; exit status 2 if there is no data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coco_dir")
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=8)
    arguments = parser.parse_args()
    annotation_file, image_dir = locate(arguments.coco_dir, "train")
    picked = pick(json.loads(annotation_file.read_text(encoding="utf-8")), arguments.count)
    arguments.output.write_text(json.dumps(picked), encoding="utf-8")
    print(image_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
