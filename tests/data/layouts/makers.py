"""Small data sets of each layout, and their import (`from tests.data.layouts.makers import ...`)."""
import json
from pathlib import Path

import cv2
import numpy as np

from centernet.cli import import_dataset

WIDTH, HEIGHT = 96, 64
NAMES = ("dot", "ring")


def make_images(folder, names):
    for name in names:
        Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(Path(folder, name)), np.full((HEIGHT, WIDTH, 3), 80, np.uint8))


def write(folder, name, text):
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))


def voc_text(boxes, size=(WIDTH, HEIGHT), difficult=0):
    rows = "".join(f"<object><name>{label}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1 + 1!r}</xmin>"
                   f"<ymin>{y1 + 1!r}</ymin><xmax>{x2!r}</xmax><ymax>{y2!r}</ymax></bndbox><part><name>no</name></part>"
                   "</object>" for label, (x1, y1, x2, y2) in boxes)
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{rows}</annotation>"


def make_voc(folder, boxes):
    make_images(folder / "JPEGImages", [f"{name}.png" for name in boxes])
    for name, rows in boxes.items():
        write(folder, f"Annotations/{name}.xml", voc_text(rows))
    for file, letter in (("trainval", "t"), ("test", "v")):
        write(folder, f"ImageSets/Main/{file}.txt", "".join(f"{name} 1\n" for name in boxes if name[0] == letter))


def make_yolo(folder, boxes):
    write(folder, "data.yaml", "names: {0: dot, 1: ring}\ntrain: ../train/images\nval: ../val/images\n")
    for name, rows in boxes.items():
        split = "train" if name[0] == "t" else "val"
        make_images(folder / split / "images", [f"{name}.png"])
        write(folder, f"{split}/labels/{name}.txt", "".join(
            f"{NAMES.index(label)} {(x1 + x2) / 2 / WIDTH!r} {(y1 + y2) / 2 / HEIGHT!r} {(x2 - x1) / WIDTH!r} "
            f"{(y2 - y1) / HEIGHT!r}\n" for label, (x1, y1, x2, y2) in rows))


def make_labelme(folder, boxes):
    for name, (first, *rows) in boxes.items():
        split = "train" if name[0] == "t" else "val"
        make_images(folder / split, [f"{name}.png"])
        label, (x1, y1, x2, y2) = first
        shapes = [{"label": label, "shape_type": "polygon", "points": [[x1, y1], [x2, (y1 + y2) / 2], [x1, y2]]}]
        shapes += [{"label": label, "shape_type": "rectangle", "points": [[x2, y1], [x1, y2]]}
                   for label, (x1, y1, x2, y2) in rows]
        write(folder, f"{split}/{name}.json", {"shapes": shapes, "imagePath": f"..\\x\\{name}.png",
                                               "imageWidth": WIDTH, "imageHeight": HEIGHT, "imageData": None})


def make_csv(folder, boxes):
    make_images(folder / "pictures", [f"{name}.png" for name in boxes])
    for split in "tv":
        rows = [f"{name}.png,{x1!r},{y1!r},{x2!r},{y2!r},{label}" for name, found in boxes.items() if name[0] == split
                for label, (x1, y1, x2, y2) in found]
        header = ["filename,xmin,ymin,xmax,ymax,class"] * (split == "t")
        write(folder, f"{'train' if split == 't' else 'val'}.csv", "\n".join([*header, *rows]))


def coco_document(boxes):
    names = ("things", *NAMES)
    return {"images": [{"id": number, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT}
                       for number, name in enumerate(boxes)],
            "annotations": [{"id": f"{number}-{position}", "image_id": number, "category_id": names.index(label),
                             "bbox": [x1, y1, x2 - x1, y2 - y1], "area": 7, "iscrowd": 0}
                            for number, rows in enumerate(boxes.values())
                            for position, (label, (x1, y1, x2, y2)) in enumerate(rows)],
            "categories": [{"id": 0, "name": "things", "supercategory": "none"},
                           *({"id": k, "name": name, "supercategory": "things"} for k, name in enumerate(NAMES, 1))]}


def make_roboflow(folder, boxes):
    for split, letter in (("train", "t"), ("valid", "v")):
        part = {name: rows for name, rows in boxes.items() if name[0] == letter}
        make_images(folder / split, [f"{name}.png" for name in part])
        write(folder, f"{split}/_annotations.coco.json", coco_document(part))


def make_cvat(folder, boxes):
    make_images(folder / "images", [f"{name}.png" for name in boxes])
    write(folder, "annotations/instances_default.json", coco_document(boxes))


MAKERS = {"voc": make_voc, "yolo": make_yolo, "labelme": make_labelme, "csv": make_csv, "coco": make_roboflow,
          "cvat": make_cvat}


def random_boxes(seed=0):
    rng = np.random.default_rng(seed)

    def box():
        (x1, x2), (y1, y2) = (np.sort(rng.uniform(0, side, 2)) for side in (WIDTH, HEIGHT))
        return NAMES[rng.integers(2)], (float(x1), float(y1), float(x2), float(y2))
    return {name: [("dot", box()[1]), *(box() for _ in range(4)), ("ring", box()[1])] for name in ("t1", "t2", "v1")}


def imports(*flags):
    return import_dataset.main([str(flag) for flag in flags])


def divided(folder, *flags):
    out = folder.with_name(f"{folder.name}-out")
    assert imports("--data", folder, "--out", out, *flags) == 0
    return [{image["file_name"] for image in json.loads(Path(out, f"annotations/imported_{split}.json")
                                                        .read_text())["images"]} for split in ("train", "val")]
