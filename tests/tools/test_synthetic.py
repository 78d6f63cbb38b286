"""The demo's generated images: deterministic, valid COCO, tight boxes."""
import json

import cv2
import numpy as np

from tools.synthetic import CLASSES, draw_image, make_dataset


def test_same_seed_gives_the_same_files(tmp_path):
    for name in ("one", "two"):
        make_dataset(tmp_path / name, 3, 2, seed=5)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 7
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)


def test_annotations_fit_their_images(tmp_path):
    make_dataset(tmp_path, 20, 5)
    data = json.loads((tmp_path / "annotations/instances_train2017.json").read_text())
    sizes = {image["id"]: (image["width"], image["height"]) for image in data["images"]}
    for image in data["images"]:
        pixels = cv2.imread(str(tmp_path / "train2017" / image["file_name"]))
        assert pixels.shape[:2] == (image["height"], image["width"])
    for row in data["annotations"]:
        x, y, w, h = row["bbox"]
        width, height = sizes[row["image_id"]]
        assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= width and y + h <= height
        assert 0 < row["area"] <= w * h
    assert {row["category_id"] for row in data["annotations"]} == set(range(1, len(CLASSES) + 1))


def test_scale_and_aspect_vary():
    boxes = np.array([box for seed in range(60) for _, box, _ in draw_image(np.random.default_rng(seed))[1]])
    sides = np.sqrt(boxes[:, 2] * boxes[:, 3])
    aspect = boxes[:, 2] / boxes[:, 3]
    assert sides.max() / sides.min() > 4 and aspect.max() > 1.5 and aspect.min() < 0.7
