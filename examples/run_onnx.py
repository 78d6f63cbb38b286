"""Detect objects with an exported .onnx file by onnxruntime, OpenCV and NumPy, without the package that wrote it.

    python run_onnx.py model.onnx image.jpg [0.3]
It prints a line for each box with at least this score (default: the model's): name, score, x1, y1, x2, y2 in pixels.
The functions do the "steps" of model.onnx.json, whose values are also in the model. Copy and change this file freely.
"""
import json
import sys

import cv2
import numpy as np
import onnxruntime


def prepare(image, manifest):
    """(h, w, 3) uint8 BGR -> one image of the model's input."""
    shape, raw, (h, w) = manifest["input"]["shape"], manifest["input"]["layout"] == "NHWC", image.shape[:2]
    height, width = shape[1:3] if raw else shape[2:]
    s = width / max(h, w)
    matrix = np.array([[s, 0, width / 2 - s * w / 2], [0, s, height / 2 - s * h / 2]])
    image = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    image = image[:, :, ::-1] if manifest["input"]["color_order"] == "RGB" else image
    return image if raw else ((image / 255 - manifest["mean"]) / manifest["std"]).astype(np.float32).transpose(2, 0, 1)


def decode(maps, manifest):
    """Maps of one image, name -> (channels, rows, columns) -> (K, 6): x1, y1, x2, y2 in cells, score, class."""
    scores = 1 / (1 + np.exp(-maps["hm"]))
    peaks = np.where(scores == [cv2.dilate(plane, np.ones((3, 3), np.uint8)) for plane in scores], scores, 0)
    c, y, x = np.unravel_index(np.argsort(-peaks, axis=None, kind="stable")[:manifest["K"]], peaks.shape)
    if "ltrb" in maps:
        left, top, right, bottom = maps["ltrb"][:, y, x] + np.array([[-0.375], [-0.375], [0.375], [0.375]])
    else:
        dx, dy = maps["reg"][:, y, x] if "reg" in maps else (0.5, 0.5)
        w, h = (maps["wh"][i + (2 * c if manifest["cat_spec_wh"] else 0), y, x] / 2 for i in (0, 1))
        left, top, right, bottom = w - dx, h - dy, w + dx, h + dy
    return np.stack([x - left, y - top, x + right, y + bottom, peaks[c, y, x], c], 1)


def soft_nms(boxes):
    """(K, 6) -> (N, 6), best first: boxes that overlap a better one of their class have lower scores."""
    kept = []
    while len(boxes):
        best = boxes[:, 4].argmax()
        box, boxes = boxes[best], np.delete(boxes, best, 0)
        kept.append(box)
        low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:4], box[2:4])
        common = np.prod(np.maximum(high - low + 1, 0), 1) * (boxes[:, 5] == box[5])
        overlap = common / (np.prod(boxes[:, 2:4] - boxes[:, :2] + 1, 1) + np.prod(box[2:4] - box[:2] + 1) - common)
        boxes[:, 4] *= np.exp(-overlap ** 2 / 0.5)
        boxes = boxes[(boxes[:, 4] >= 0.001) | (overlap == 0)]
    return np.array(kept)


def detect(session, manifest, image):
    """(h, w, 3) uint8 BGR -> (N, 6), best first: x1, y1, x2, y2 in pixels of the image, score, class."""
    names, (h, w) = [output["name"] for output in manifest["outputs"]], image.shape[:2]
    batch = np.stack([prepare(image, manifest)] * (manifest["input"]["shape"][0] or 1))
    outputs = [output[0] for output in session.run(names, {manifest["input"]["name"]: batch})]
    boxes = np.array(outputs[0] if manifest["decode"] else decode(dict(zip(names, outputs)), manifest), np.float32)
    cells = np.array(batch.shape[1:3] if batch.dtype == np.uint8 else batch.shape[2:])[::-1] // manifest["down_ratio"]
    boxes[:, :4] = (boxes[:, :4] - np.tile(cells, 2) / 2) * max(h, w) / cells[0] + np.tile([w, h], 2) / 2
    return soft_nms(boxes) if manifest.get("evaluation", {}).get("SOFT_NMS", True) else boxes


if __name__ == "__main__":
    if len(sys.argv) < 3 or (picture := cv2.imread(sys.argv[2])) is None:
        sys.exit("error: python run_onnx.py MODEL IMAGE [SCORE] needs a model, and an image that OpenCV can read")
    if not (word := [*sys.argv, "0"][3]).replace(".", "", 1).isdecimal() or float(word) > 1:
        sys.exit(f"error: the score must be a number from 0 to 1, such as 0.3, found {word}")
    try:
        model = onnxruntime.InferenceSession(sys.argv[1])
        values = {key: json.loads(text) for key, text in model.get_modelmeta().custom_metadata_map.items()}
        names = [category["name"] for category in values["categories"]]
    except Exception as error:  # onnxruntime's classes have no common base
        sys.exit(f"error: {sys.argv[1]} is no exported .onnx model, or this onnxruntime cannot run it: {error!r:.200}")
    for *box, value, number in detect(model, values, picture):
        if value >= float([*sys.argv, values.get("evaluation", {}).get("score_thresh", 0.3)][3]):
            print(f"{names[int(number)]} {value:.3f}", *(f"{side:.1f}" for side in box))
