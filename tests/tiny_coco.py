"""A small COCO data set of noisy images with bright boxes, made anew for a test (`from tiny_coco import make_coco`)."""
import json
from pathlib import Path

import cv2
import numpy as np

from centernet.cli import convert_dataset

CATEGORIES = ((1, "disc"), (7, "frame"), (90, "cross"))


def make_coco(folder, num_images=8, categories=CATEGORIES, split="train", size=(96, 128), boxes_per_image=3,
              empty=(), seed=0):
    """Write folder/annotations/instances_{split}2017.json and folder/{split}2017/*.jpg; returns the annotation file.

    Image k (from 0) has id 100 + k and, unless k is in `empty`, boxes_per_image boxes with category ids from
    `categories` ((id, name) pairs) inside an image of size (height, width).
    """
    rng = np.random.default_rng(seed)
    folder = Path(folder)
    image_dir = folder / f"{split}2017"
    image_dir.mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    height, width = size
    images, annotations = [], []
    for index in range(num_images):
        pixels = rng.integers(0, 120, (height, width, 3), np.uint8)
        for _ in range(0 if index in empty else boxes_per_image):
            w, h = int(rng.integers(8, width // 2)), int(rng.integers(8, height // 2))
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            kind = int(rng.integers(len(categories)))
            color = (60 + 60 * (kind % 3), 250 - 40 * (kind % 5), 200)
            cv2.rectangle(pixels, (x, y), (x + w - 1, y + h - 1), color, -1)
            annotations.append({"id": len(annotations) + 1, "image_id": 100 + index, "category_id": categories[kind][0],
                                "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0})
        name = f"{index:06d}.jpg"
        cv2.imwrite(str(image_dir / name), pixels)
        images.append({"id": 100 + index, "file_name": name, "height": height, "width": width})
    path = folder / "annotations" / f"instances_{split}2017.json"
    rows = [{"id": number, "name": name} for number, name in categories]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": rows}))
    return path


def make_shards(folder, shard_num=1, *flags):
    """Convert the data set in folder, split train, into folder/shards; returns that folder."""
    shards = Path(folder) / "shards"
    assert convert_dataset.main(["--coco_data_dir", str(folder), "--mindrecord_dir", str(shards), "--shard_num",
                                 str(shard_num), "--device_target", "CPU", *flags]) == 0
    return shards


def make_mixed_coco(folder, heights):
    """As make_coco, with 64 columns and these numbers of rows; returns the annotation file of the split val."""
    path = make_coco(folder, num_images=len(heights), split="val", size=(max(heights), 64))
    for index, height in enumerate(heights):
        image = Path(folder, "val2017", f"{index:06d}.jpg")
        cv2.imwrite(str(image), cv2.imread(str(image))[:height])

    def write(document):
        for row, height in zip(document["images"], heights):
            row["height"] = height
    edit(path, write)
    return path


def edit(annotation_file, change):
    """Apply change(document) to an annotation file in place."""
    document = json.loads(Path(annotation_file).read_text())
    change(document)
    Path(annotation_file).write_text(json.dumps(document))
