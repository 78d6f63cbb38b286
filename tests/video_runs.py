"""Detection in videos and streams without a network, and its files."""
import json
from types import SimpleNamespace

import cv2
import numpy as np

from centernet.categories import categories_from_names
from centernet.detection.finder import Finder
from centernet.evaluation.inputs import find_inputs
from centernet.evaluation.videos import infer_video, require_readable


class Detector:
    """It finds one box in each image, and another one below score_thresh."""

    spec = SimpleNamespace(categories=categories_from_names(("disc",)))
    settings = SimpleNamespace(score_thresh=0.3)

    def rows(self, image):
        return np.array([[10, 20, 200, 90, 0.5, 0], [0, 0, 9, 9, 0.1, 0]], np.float32)


def run(source, folder, detector=None, **options):
    """Detect in a video or stream; return the name of its files."""
    video, = find_inputs([str(source)]).videos
    require_readable(video)
    infer_video(Finder(detector or Detector()), video, folder, **options)
    return video.name


def read(folder, name="clip"):
    """The lines, the summary and the pictures of the annotated video."""
    lines = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    summary = json.loads((folder / f"{name}.json").read_text())
    capture, pictures = cv2.VideoCapture(str(folder / summary["annotated_video"])), []
    while (frame := capture.read())[0]:
        pictures.append(frame[1])
    return lines, summary, pictures
