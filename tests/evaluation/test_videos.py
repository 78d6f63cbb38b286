"""Videos: the annotated video and the lines of its frames are complete, also after a signal or a damaged file."""
import errno
import io
import json
import os
import signal
import time

import cv2
import numpy as np
import pytest

from centernet.data.annotations import read_annotations
from centernet.errors import Interrupted, UserError
from centernet.evaluation.found_files import write_coco_of_frames
from centernet.evaluation.inputs import Video
from centernet.evaluation.videos import require_readable
from centernet.interrupt import signals_set_a_flag
from tests.video_runs import Detector, read, run


class SignalAt(Detector):
    """At the image number `stop` the process gets a signal."""

    def __init__(self, stop):
        self.left = stop

    def rows(self, image):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)
        return super().rows(image)


def make_video(path, frames=12, size=(160, 120), codec="MJPG", rate=10.0):
    """A video whose picture number n has the grey value 10 n; return its path."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, size)
    for index in range(frames):
        writer.write(np.full((size[1], size[0], 3), 10 * index, np.uint8))
    writer.release()
    return path


def test_a_video_gives_lines_a_summary_and_an_annotated_video(tmp_path, caplog):
    caplog.set_level("INFO")
    run(make_video(tmp_path / "clip.avi"), tmp_path / "found", formats=("json", "csv"))
    lines, summary, pictures = read(tmp_path / "found")
    assert [line["frame"] for line in lines] == list(range(12)) and lines[5]["time"] == 0.5
    assert lines[0]["detections"] == [{"category": "disc", "score": 0.5, "box": [10, 20, 160, 90], "category_id": 1}]
    assert (summary["frames"], summary["boxes"], summary["missing_frames"], summary["ended"]) == (
        12, 12, 0, "end of the stream")
    assert "x1, y1, x2, y2" in summary["box_format"] and summary["frames_per_second"] == 10
    # Small pictures are enlarged: 160 x 120 three times.
    assert len(pictures) == 12 and pictures[0].shape == (360, 480, 3) and summary["width"] == 160
    assert len((tmp_path / "found/clip.csv").read_text().splitlines()) == 13
    assert "12 boxes in 12 frames" in caplog.text and "frames/s with reading" in caplog.text


def test_the_coco_file_of_a_video_has_frame_numbers_as_ids(tmp_path):
    found = tmp_path / "found"
    run(make_video(tmp_path / "clip.avi"), found, formats=("json", "coco"), max_frames=4)
    lines = [json.loads(line) for line in (found / "clip.jsonl").read_text().splitlines()]
    document = json.loads((found / "clip_coco.json").read_text())
    assert document["images"][3] == {"id": 3, "file_name": "clip/000003.jpg", "width": 160, "height": 120}
    assert len(document["images"]) == len(lines) == 4 and document["categories"] == [{"id": 1, "name": "disc"}]
    assert document["annotations"][2] == {"id": 3, "image_id": 2, "category_id": 1, "bbox": [10, 20, 150, 70],
                                          "area": 10500, "iscrowd": 0, "score": 0.5}
    assert read_annotations(found / "clip_coco.json", "--label_path").image_ids == (0, 1, 2, 3)
    run(make_video(tmp_path / "clip.avi"), found, max_frames=4)
    assert not (found / "clip_coco.json").exists()
    # A frame without a picture, and a video without boxes.
    (found / "clip.jsonl").write_text('{"frame": 0, "unreadable": true, "detections": []}\n'
                                      '{"frame": 1, "detections": []}\n')
    write_coco_of_frames(found / "c.json", found / "clip.jsonl", "clip", (9, 8), Detector.spec.categories)
    document = json.loads((found / "c.json").read_text())
    assert [image["id"] for image in document["images"]] == [1] and document["annotations"] == []


def test_max_frames(tmp_path):
    run(make_video(tmp_path / "clip.avi"), tmp_path / "found", max_frames=3)
    lines, summary, pictures = read(tmp_path / "found")
    assert len(lines) == len(pictures) == 3 and (summary["ended"], summary["missing_frames"]) == ("max_frames", 0)


@pytest.mark.fault("Ctrl-C during a video", "SIGINT in the detection of frame 4",
                   "the annotated video plays, the lines and the summary are complete; status 130")
def test_a_signal_leaves_complete_files(tmp_path):
    path = make_video(tmp_path / "clip.avi")
    with pytest.raises(Interrupted), signals_set_a_flag():
        run(path, tmp_path / "found", detector=SignalAt(4))
    lines, summary, pictures = read(tmp_path / "found")
    assert len(lines) == len(pictures) == summary["frames"] == 4 and summary["ended"] == "interrupted"


@pytest.mark.fault("a video that ends early", "the last third of the file is missing",
                   "the frames before are detected; the missing ones are counted and said")
def test_an_early_end_is_counted_and_said(tmp_path, caplog):
    path = make_video(tmp_path / "clip.avi", frames=30)
    data = path.read_bytes()
    path.write_bytes(data[:len(data) * 2 // 3])
    run(path, tmp_path / "found")
    lines, summary, pictures = read(tmp_path / "found")
    assert 10 < len(lines) == len(pictures) < 30 and summary["missing_frames"] == 30 - len(lines)
    assert "its header promises 30 frames" in caplog.text


@pytest.mark.fault("a frame that cannot be decoded", "retrieve(), or grab(), fails for one frame",
                   "the frame is counted, marked in the lines and said; the others are detected")
@pytest.mark.parametrize("function", ["retrieve", "grab"])
def test_an_unreadable_frame_is_counted(tmp_path, monkeypatch, caplog, function):
    path = make_video(tmp_path / "clip.avi", frames=5)
    real = cv2.VideoCapture

    class Damaged:
        def __init__(self, source):
            self.capture, self.left = real(source), 3

        def __getattr__(self, name):
            return self.fail if name == function else getattr(self.capture, name)

        def fail(self):
            self.left -= 1
            result = getattr(self.capture, function)()
            return result if self.left else {"retrieve": (False, None), "grab": False}[function]

    monkeypatch.setattr(cv2, "VideoCapture", Damaged)
    run(path, tmp_path / "found")
    monkeypatch.undo()
    lines, summary, pictures = read(tmp_path / "found")
    assert [line.get("unreadable", False) for line in lines] == [False, False, True, False, False]
    assert len(pictures) == 4 and summary["unreadable_frames"] == 1 and "1 frames are damaged" in caplog.text


class FullDisk(io.FileIO):
    """A file on a disk that has room for the lines of one frame: 85 bytes of CSV, more of JSON."""

    def write(self, data):
        if self.tell() + len(data) > (100 if self.name.suffix == ".csv" else 150):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.fault("a full disk during a video", "the system refuses the lines of frame 1",
                   "the file is named, status 2; the annotated video plays, and the summary is written")
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_full_disk_leaves_the_other_files_complete(tmp_path, monkeypatch, suffix):
    def opens(path, *arguments, **options):
        if path.suffix != suffix:
            return real(path, *arguments, **options)
        file = io.TextIOWrapper(io.BufferedWriter(FullDisk(path, "w")), encoding="utf-8")
        opened.append(file)
        return file

    opened, real = [], type(tmp_path).open
    path = make_video(tmp_path / "clip.avi")
    monkeypatch.setattr(type(tmp_path), "open", opens)
    with pytest.raises(UserError, match=rf"cannot write .*clip{suffix}: No space left on device"):
        run(path, tmp_path / "found", formats=("json", "csv"))
    monkeypatch.undo()
    lines, summary, pictures = read(tmp_path / "found")
    assert len(pictures) == 1 and summary["frames"] == 2 and opened[0].closed
    assert len(lines) == (1 if suffix == ".jsonl" else 2)


@pytest.mark.fault("a full disk for the pictures of a video", "the writer loses all but the first 20 kB",
                   "the video is named, status 2; the lines and the summary are complete")
def test_an_annotated_video_without_all_pictures_is_named(tmp_path, monkeypatch):
    class Full:
        """Writes as OpenCV does on a full disk: without a word, and an MP4 file then lacks its index."""

        def __init__(self, path, *options):
            self.path, self.writer = path, real(path, *options)
            self.write, self.isOpened, self.release = self.writer.write, self.writer.isOpened, self.end

        def end(self):
            self.writer.release()
            os.truncate(self.path, 20000)

    path = make_video(tmp_path / "clip.avi")
    real, Full.fourcc = cv2.VideoWriter, cv2.VideoWriter.fourcc
    monkeypatch.setattr(cv2, "VideoWriter", Full)
    with pytest.raises(UserError, match=r"clip.mp4: only 0 of 12 pictures could be written. Is the disk full"):
        run(path, tmp_path / "found")
    lines, summary, _ = read(tmp_path / "found")
    assert len(lines) == summary["frames"] == 12


def test_nothing_to_read_is_said_before_the_model_is_opened(tmp_path):
    for source, text in ((99, "OpenCV cannot open this camera. Is a camera with this number connected"),
                         (str(tmp_path / "x.mp4"), "OpenCV cannot open this video. Is the file complete")):
        with pytest.raises(UserError, match=text):
            require_readable(Video(source, str(source), isinstance(source, int)))
