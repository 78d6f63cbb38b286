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
    if raw:
        return image
    image = image[:, :, ::-1] if manifest["input"]["color_order"] == "RGB" else image
    return ((np.float32(image) / 255 - np.float32(manifest["mean"])) / np.float32(manifest["std"])).transpose(2, 0, 1)


def decode(maps, manifest):
    """Maps of one image, name -> (channels, rows, columns) -> (K, 6): x1, y1, x2, y2 in cells, score, class."""
    scores = 1 / (1 + np.exp(-maps["hm"]))
    peaks = np.where(scores == [cv2.dilate(plane, np.ones((3, 3), np.uint8)) for plane in scores], scores, 0)
    c, y, x = np.unravel_index(np.argsort(-peaks, axis=None, kind="stable")[:manifest["K"]], peaks.shape)
    if "ltrb" in maps:
        left, top, right, bottom = maps["ltrb"][:, y, x] + np.array([[-0.375], [-0.375], [0.375], [0.375]])
    else:
        dx, dy = maps["reg"][:, y, x] if "reg" in maps else (0.5, 0.5)
        i = 2 * c if manifest["cat_spec_wh"] else 0
        w, h = maps["wh"][i, y, x], maps["wh"][i + 1, y, x]
        left, top, right, bottom = w / 2 - dx, h / 2 - dy, w / 2 + dx, h / 2 + dy
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
        areas = [np.prod(rows[:, 2:4] - rows[:, :2] + 1, 1) for rows in (boxes, box[None])]
        overlap = common / (areas[0] + areas[1] - common)
        boxes[:, 4] *= np.exp(-overlap ** 2 / 0.5)
        boxes = boxes[(boxes[:, 4] >= 0.001) | (overlap == 0)]
    return np.array(kept)


def detect(session, manifest, image):
    """(h, w, 3) uint8 BGR -> (N, 6), best first: x1, y1, x2, y2 in pixels of the image, score, class."""
    names, (h, w) = [output["name"] for output in manifest["outputs"]], image.shape[:2]
    batch = np.stack([prepare(image, manifest)] * (manifest["input"]["shape"][0] or 1))
    outputs = [output[0] for output in session.run(names, {manifest["input"]["name"]: batch})]
    boxes = np.float32(outputs[0] if manifest["decode"] else decode(dict(zip(names, outputs)), manifest))
    rows, columns = np.array(batch.shape[1:3] if batch.dtype == np.uint8 else batch.shape[2:]) // manifest["down_ratio"]
    center = np.float32([[columns, rows, columns, rows]]) / 2
    boxes[:, :4] = (boxes[:, :4] - center) * max(h, w) / columns + np.float32([w, h, w, h]) / 2
    return soft_nms(boxes) if manifest.get("evaluation", {}).get("SOFT_NMS", True) else boxes


if __name__ == "__main__":
    if len(sys.argv) < 3 or (picture := cv2.imread(sys.argv[2])) is None:
        sys.exit(f"{__doc__}\nerror: name a model, and an image that OpenCV can read")
    model = onnxruntime.InferenceSession(sys.argv[1])
    values = {key: json.loads(text) for key, text in model.get_modelmeta().custom_metadata_map.items()}
    for *box, value, number in detect(model, values, picture):
        if value >= float([*sys.argv, values.get("evaluation", {}).get("score_thresh", 0.3)][3]):
            print(f"{values['categories'][int(number)]['name']} {value:.3f}", *(f"{side:.1f}" for side in box))
