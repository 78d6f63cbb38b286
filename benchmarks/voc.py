"""Convert a data set in VOC's layout to COCO's layout; the images become links.

python -m benchmarks.voc --voc_dir VOC --out COCO

VOC has Annotations/*.xml, JPEGImages/*.jpg and ImageSets/Main/*.txt. The split of --train becomes train2017, that of
--val becomes val2017. VOC's pixels count from 1 and its boxes include the last pixel.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from centernet.errors import UserError, reports_errors
from centernet.files import user_errors, write_json

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def convert(voc_dir: Path, out: Path, splits: dict[str, str]) -> list[str]:
    """Write the splits, VOC's name -> COCO's name, and return a line about each.

    Raises:
        UserError: a file is missing or damaged.
    """
    documents = {theirs: [_read(voc_dir / "Annotations" / f"{name}.xml") for name in _names(voc_dir, theirs)]
                 for theirs in splits}
    names = sorted({name for images in documents.values() for *_, objects in images for name, _ in objects})
    lines = []
    for theirs, ours in splits.items():
        document: dict[str, list[dict[str, Any]]] = {
            "images": [], "annotations": [], "categories": [{"id": index, "name": name}
                                                            for index, name in enumerate(names, 1)]}
        for file, width, height, objects in documents[theirs]:
            document["images"].append({"id": len(document["images"]) + 1, "file_name": file, "width": width,
                                       "height": height})
            for name, (x1, y1, x2, y2) in objects:
                box = [max(x1, 0), max(y1, 0), min(x2, width) - max(x1, 0), min(y2, height) - max(y1, 0)]
                document["annotations"].append({
                    "id": len(document["annotations"]) + 1, "image_id": len(document["images"]), "bbox": box,
                    "category_id": names.index(name) + 1, "area": box[2] * box[3], "iscrowd": 0})
            _link(voc_dir / "JPEGImages" / file, out / ours / file)
        write_json(out / "annotations" / f"instances_{ours}.json", document)
        lines.append(f"{ours}: {len(document['images'])} images, {len(document['annotations'])} boxes of "
                     f"{', '.join(names)}")
    return lines


def _names(voc_dir: Path, split: str) -> list[str]:
    path = voc_dir / "ImageSets/Main" / f"{split}.txt"
    with user_errors(str(path), "--voc_dir must be a data set in VOC's layout"):
        return path.read_text(encoding="utf-8").split()


def _read(path: Path) -> tuple[str, int, int, list[tuple[str, list[float]]]]:
    """Return the image's file name, width and height, and name and corners of its boxes, counted from 0."""
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 (the user's own file; expat limits expansion)
        objects = [(str(found.findtext("name")), [float(found.findtext(f"bndbox/{key}") or "") for key in CORNERS])
                   for found in root.iter("object")]
        size = [int(root.findtext(f"size/{key}") or "") for key in ("width", "height")]
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{path} is not an annotation of VOC: {error}") from error
    return (f"{path.stem}.jpg", size[0], size[1],
            [(name, [x1 - 1, y1 - 1, x2, y2]) for name, (x1, y1, x2, y2) in objects if x2 >= x1 and y2 >= y1])


def _link(image: Path, link: Path) -> None:
    if not image.is_file():
        raise UserError(f"{image}: there is no such file")
    with user_errors(f"--out {link}"):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(image.resolve())


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Convert and return the exit status: 0, or 2 after a UserError."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voc_dir", type=Path, required=True, help="data set in VOC's layout")
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set in COCO's layout")
    parser.add_argument("--train", default="trainval", help="split for training (default %(default)s)")
    parser.add_argument("--val", default="test", help="split for evaluation (default %(default)s)")
    arguments = parser.parse_args(argv)
    splits = {arguments.train: "train2017", arguments.val: "val2017"}
    print("\n".join(convert(arguments.voc_dir, arguments.out, splits)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
