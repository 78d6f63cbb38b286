"""The results of infer replace neither its input nor files of the user."""
import json

import cv2
import numpy as np
import pytest

from centernet.detection.finder import Finder
from centernet.errors import UserError
from centernet.evaluation.image_files import infer_images
from centernet.evaluation.inputs import Inputs, Video, find_inputs
from centernet.evaluation.result_places import require_free_places
from tests.evaluation.test_infer_files import Detector


def video(path):
    return Video(str(path), str(path), False)


def places(folder, images=(), videos=()):
    require_free_places(Inputs(tuple(images), tuple(map(video, videos))), folder)


@pytest.mark.fault("a result would replace the input of infer", "the result folder is that of the images or the video",
                   "refused before the first image")
def test_an_input_in_the_place_of_a_result(tmp_path):
    for images, videos in (([tmp_path / "pictures/a.jpg"], []), ([tmp_path / "x/../pictures/a.jpg"], []),
                           ([], [tmp_path / "clip.mp4"]), ([], [tmp_path / "clip.avi"])):
        with pytest.raises(UserError, match="a result would replace this file.*another --save_result_dir"):
            places(tmp_path, images, videos)
    places(tmp_path, [tmp_path / "photos/a.jpg"], [tmp_path / "videos/clip.mp4", tmp_path / "clip.mov"][:1])


def test_names_of_lists_and_videos_are_distinct(tmp_path):
    with pytest.raises(UserError, match="the list of the images.*have the same name"):
        places(tmp_path, [tmp_path / "in/a.jpg"], [tmp_path / "in/detections.mp4"])
    with pytest.raises(UserError, match="have the same name"):
        places(tmp_path, [], [tmp_path / "a/clip.mp4", tmp_path / "b/clip.avi"])
    for names in (("clip", "clip_coco"), ("clip_coco", "clip")):  # clip_coco.json would be a result of both
        with pytest.raises(UserError, match="have the same name"):
            places(tmp_path, [], [tmp_path / f"{name}.mp4" for name in names])
    places(tmp_path, [], [tmp_path / "in/detections.mp4"])


@pytest.mark.fault("a file of the user has the name of a video's result", "a clip.json or clip.csv is there",
                   "refused; results of an earlier run are replaced")
def test_files_of_the_user_are_not_removed(tmp_path):
    clip = tmp_path / "in/clip.mp4"
    for name, text in (("clip.json", "{}"), ("clip.csv", "mine")):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=f"{name}.*is not a result of infer"):
            places(tmp_path, [], [clip])
        (tmp_path / name).unlink()
    (tmp_path / "clip.json").write_text(json.dumps({"frame_lines": "clip.jsonl"}))
    (tmp_path / "clip.csv").write_text("frame\n")
    places(tmp_path, [], [clip])


def test_pictures_stay_below_their_folder(tmp_path, monkeypatch):
    """work/../x.jpg and work/x.jpg: neither is written over, and both have a picture."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in ("../x.jpg", "x.jpg"):
        cv2.imwrite(name, np.zeros((30, 40, 3), np.uint8))
    before = (tmp_path / "work/x.jpg").read_bytes()
    images = find_inputs(["../x.jpg", "x.jpg", str(tmp_path / "x.jpg")]).images
    assert [str(path) for path in images] == ["../x.jpg", "x.jpg"]
    infer_images(Finder(Detector()), list(images), tmp_path / "work")
    assert (tmp_path / "work/x.jpg").read_bytes() == before
    pictures = tmp_path / "work/pictures"
    assert sorted(str(path.relative_to(pictures)) for path in pictures.rglob("*.jpg")) == ["work/x.jpg", "x.jpg"]


def test_an_empty_word_is_not_the_current_folder():
    with pytest.raises(UserError, match="the word is empty. Is a variable of your shell not set"):
        find_inputs([""])


def test_a_password_with_an_at_sign_is_hidden():
    stream, = find_inputs(["rtsp://admin:p@ss@10.0.0.5/s"]).videos
    assert stream.title == "rtsp://***@10.0.0.5/s" and "ss" not in stream.name and "p@ss" in stream.source
