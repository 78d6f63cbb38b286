"""Detection in videos, cameras and streams: an annotated video, and one JSON line for each frame."""
from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
from tqdm import tqdm

from centernet.detection.finder import Finder
from centernet.detection.visualize import enlargement
from centernet.errors import UserError, printable
from centernet.evaluation.found_files import BOX_FORMAT, csv_line, json_line, listed, write_coco_of_frames
from centernet.evaluation.image_files import no_boxes
from centernet.evaluation.inputs import Video
from centernet.evaluation.result_places import OF_A_VIDEO
from centernet.files import user_errors, write_json
from centernet.interrupt import stop_if_interrupted

LOG = logging.getLogger("centernet")

USUAL_RATE = 25.0   # frames/s of a video whose header does not say it
FASTEST_RATE = 1000.0
MOST_DAMAGED = 1000  # damaged frames one after the other; then the video has ended
REPORTED = 10.0     # seconds between two lines of progress in a log that is no terminal
CODECS = ((".mp4", "mp4v"), (".avi", "MJPG"))  # of the annotated video; the first that this OpenCV can write
COUNTED = (".mp4", ".mov", ".m4v", ".avi", ".3gp")  # their headers have the number of frames; others, the duration
COLUMNS = ("frame", "time", "category", "category_id", "score", "x1", "y1", "x2", "y2")


@contextmanager
def opened(video: Video) -> Iterator[cv2.VideoCapture]:
    """Open a video, camera or stream. Raise UserError if OpenCV cannot, or if it gives no picture."""
    # A whole path: OpenCV takes what is before a colon in a short name for a protocol.
    capture = cv2.VideoCapture(video.source if video.live else os.path.abspath(str(video.source)))
    try:
        if not capture.isOpened():
            raise UserError(f"--image {printable(video.title)}: OpenCV cannot open this {_kind(video)}. "
                            f"{_advice(video)}")
        yield capture
    finally:
        capture.release()


def require_readable(video: Video) -> int:
    """Return the number of frames in the header of a video, 0 if that is not known. Nothing but OpenCV is needed.

    Raises:
        UserError: it cannot be opened, or has no readable picture.
    """
    with opened(video) as capture:
        count = 0 if video.live else _count(capture)
        if not capture.read()[0]:
            raise UserError(f"--image {printable(video.title)}: no picture of this {_kind(video)} can be read. "
                            f"{_advice(video)}")
    return count


def _kind(video: Video) -> str:
    return ("camera" if isinstance(video.source, int) else "stream") if video.live else "video"


def _advice(video: Video) -> str:
    if isinstance(video.source, int):
        return "Is a camera with this number connected, and may you read it? `ls /dev/video*` lists the cameras"
    if video.live:
        return "Is the address right, and can this machine reach it? `ffprobe URL` tells more"
    path = Path(str(video.source))
    if path.exists() and path.stat().st_size == 0:
        return "The file is empty (0 bytes): copy or record it again"
    name = path.name
    return f"Is the file complete? Convert it with: ffmpeg -i {name} -c:v libx264 new.mp4"


def _count(capture: cv2.VideoCapture) -> int:
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if math.isfinite(count) and count > 0 else 0


@dataclass
class _Run:
    """What is known of a run so far."""

    frames: int = 0      # read or not
    unreadable: int = 0  # of these, frames without a picture
    boxes: int = 0
    highest: float = 0.0
    ended: str = "interrupted"
    size: tuple[int, int] = (0, 0)  # width, height of the first frame
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])  # of detection: the first frame, all others


class _Output:
    """The files of one video. Each line of frames is complete after each frame; close() makes the video playable."""

    def __init__(self, folder: Path, name: str, rate: float, formats: Iterable[str]):
        self.folder, self.name, self.rate, self.coco = folder, name, rate, "coco" in formats
        self.writer: cv2.VideoWriter | None = None
        self.pictures = 0  # given to writer
        self.picture_size = (0, 0)
        self.video: Path | None = None
        with user_errors(f"--save_result_dir {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            for suffix in OF_A_VIDEO:  # of an earlier run, see require_free_places
                (folder / f"{name}{suffix}").unlink(missing_ok=True)
            self.lines: TextIO = (folder / f"{name}.jsonl").open("w", encoding="utf-8")
            self.table: TextIO | None = None
            if "csv" in formats:
                self.table = (folder / f"{name}.csv").open("w", encoding="utf-8")
                self.table.write(csv_line(COLUMNS))

    def add(self, row: dict[str, Any], picture: np.ndarray | None) -> None:
        """Write one frame."""
        with user_errors(f"cannot write {self.lines.name}"):
            self.lines.write(json_line(row))
            self.lines.flush()
        if self.table:
            with user_errors(f"cannot write {self.table.name}"):
                self.table.writelines(csv_line([row["frame"], row["time"], found["category"], found["category_id"],
                                                found["score"], *found["box"]]) for found in row["detections"])
                self.table.flush()
        if picture is not None:
            self._write(picture)

    def _write(self, picture: np.ndarray) -> None:
        if self.writer is None:
            self.picture_size = picture.shape[1], picture.shape[0]
            self.writer = self._open()
        if (picture.shape[1], picture.shape[0]) != self.picture_size:  # a stream may change its resolution
            picture = cv2.resize(picture, self.picture_size)
        self.writer.write(picture)
        self.pictures += 1

    def _open(self) -> cv2.VideoWriter:
        for suffix, codec in CODECS:
            self.video = self.folder / f"{self.name}{suffix}"
            writer = cv2.VideoWriter(str(self.video), cv2.VideoWriter.fourcc(*codec), self.rate, self.picture_size)
            if writer.isOpened():
                return writer
        raise UserError(f"{self.folder / self.name}: this OpenCV cannot write a video (mp4v, MJPG), or the folder is "
                        "not writable. Install opencv-python-headless from PyPI")

    def close(self) -> None:
        """Finish all files, the video first. Raise UserError if lines that wait for the disk cannot be written."""
        if self.writer is not None:
            self.writer.release()
        with ExitStack() as each:
            for file in filter(None, (self.table, self.lines)):
                each.enter_context(user_errors(f"cannot write {file.name}"))
                each.callback(file.close)

    def require_complete(self) -> None:
        """Raise UserError if the annotated video, which must be closed, lacks pictures. OpenCV reports no full disk."""
        if self.video is None:
            return
        capture = cv2.VideoCapture(os.path.abspath(self.video))
        count = _count(capture)
        capture.release()
        if count < self.pictures:
            raise UserError(f"{self.video}: only {count} of {self.pictures} pictures could be written. Is the disk "
                            f"full? The boxes of all frames are in {self.name}.jsonl")


def infer_video(finder: Finder, video: Video, folder: Path, formats: Iterable[str] = ("json",),
                max_frames: int = 0) -> None:
    """Detect objects in the frames of a video; write folder/NAME.mp4, NAME.jsonl and NAME.json.

    One frame is in memory at a time. After a signal, too, the files are complete up to the last frame.

    Args:
        finder: detections below its score_thresh are neither listed nor drawn.
        video: from find_inputs.
        folder: output folder; it is created if necessary.
        formats: csv: also NAME.csv; coco: also NAME_coco.json.
        max_frames: stop after this number of frames; 0: at the end.

    Raises:
        UserError: the video cannot be read or written.
        Interrupted: a signal arrived.
    """
    run = _Run()
    with opened(video) as capture:
        rate = capture.get(cv2.CAP_PROP_FPS)
        if not (math.isfinite(rate) and 0 < rate <= FASTEST_RATE):
            LOG.info("%s does not say its frames/s: %g is used for the annotated video", video.title, USUAL_RATE)
            rate = USUAL_RATE
        count = 0 if video.live else _count(capture)
        output = _Output(folder, video.name, rate, formats)
        start = time.perf_counter()
        try:
            with closing(output):
                _detect(finder, video, capture, output, run, count, max_frames)
            output.require_complete()
        finally:
            _finish(finder, video, output, run, count, time.perf_counter() - start)


def _detect(finder: Finder, video: Video, capture: cv2.VideoCapture, output: _Output, run: _Run, count: int,
            max_frames: int) -> None:
    start = said = time.monotonic()
    total = min(count, max_frames) if count and max_frames else count or max_frames
    with tqdm(total=total or None, unit="frame", disable=None, desc=printable(video.name, 30)) as bar:
        while not max_frames or run.frames < max_frames:
            stop_if_interrupted()
            failed = _next_frame(capture, count - run.frames)
            if failed < 0:
                run.ended = "end of the stream"
                return
            position = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            moment = round(time.monotonic() - start if video.live or not math.isfinite(position) else position, 3)
            for _ in range(failed):
                _frame(finder, (False, None), moment, output, run)
            _frame(finder, capture.retrieve(), moment, output, run)
            bar.update(failed + 1)
            if bar.disable and time.monotonic() - said >= REPORTED:
                said = time.monotonic()
                LOG.info("frame %d%s, %.1f frames/s", run.frames, f" of {total}" if total else "",
                         run.frames / (said - start))
    run.ended = "max_frames"


def _next_frame(capture: cv2.VideoCapture, left: int) -> int:
    """Go to the next frame that can be read. Return the number of damaged frames before it; -1: there is no more.

    OpenCV answers alike at the end and at a damaged frame. With the number of frames that are left (0 or less: not
    known), the ones after a damaged frame are looked for.
    """
    for failed in range(max(1, min(left, MOST_DAMAGED))):
        if capture.grab():
            return failed
    return -1


def _frame(finder: Finder, retrieved: tuple[bool, np.ndarray | None], moment: float, output: _Output,
           run: _Run) -> None:
    """Detect in one frame and write it."""
    readable, image = retrieved
    number, run.frames = run.frames, run.frames + 1
    if not readable or image is None:
        run.unreadable += 1
        output.add({"frame": number, "time": moment, "unreadable": True, "detections": []}, None)
        return
    run.size = run.size if any(run.size) else (image.shape[1], image.shape[0])
    start = time.perf_counter()
    result, highest = finder.find(image)
    run.seconds[min(number, 1)] += time.perf_counter() - start
    found = listed(result)
    run.boxes, run.highest = run.boxes + len(found), max(run.highest, highest)
    output.add({"frame": number, "time": moment, "detections": found}, result.draw(enlargement(image)))


def _finish(finder: Finder, video: Video, output: _Output, run: _Run, count: int, elapsed: float) -> None:
    """Write NAME.json and log the summary."""
    missing = max(0, count - run.frames) if run.ended == "end of the stream" else 0
    if Path(str(video.source)).suffix.lower() not in COUNTED and missing <= max(2, count // 100):
        missing = 0
    values = {"video": video.title, "width": run.size[0], "height": run.size[1], "frames_per_second": output.rate,
              "frames": run.frames, "unreadable_frames": run.unreadable, "missing_frames": missing, "ended": run.ended,
              "boxes": run.boxes, "score_thresh": finder.score_thresh, "box_format": BOX_FORMAT,
              "annotated_video": output.video.name if output.video else None, "frame_lines": f"{output.name}.jsonl"}
    write_json(output.folder / f"{output.name}.json", values)
    if output.coco:
        base = output.folder / output.name
        write_coco_of_frames(Path(f"{base}_coco.json"), Path(f"{base}.jsonl"), output.name, run.size,
                             finder.detector.spec.categories)
    if run.unreadable or missing:
        LOG.warning("warning: %s: %s", video.title, ", ".join(text for number, text in (
            (run.unreadable, f"{run.unreadable} frames are damaged and left out"),
            (missing, f"its header promises {count} frames, but {missing} of them do not come: they are damaged, or "
                      "the file is cut off")) if number))
    LOG.info("%d boxes in %d frames: %s and %s.jsonl%s", run.boxes, run.frames - run.unreadable,
             output.video or "no annotated video", output.name,
             "" if run.boxes else no_boxes(run.highest, finder.score_thresh))
    if run.frames > 1:
        LOG.info("%.1f frames/s with reading, drawing and writing; detection %.1f ms a frame; first run: %.2f s",
                 run.frames / max(elapsed, 1e-9), run.seconds[1] / (run.frames - 1) * 1000, run.seconds[0])
