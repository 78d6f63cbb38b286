"""What --image takes, and what it says of other things."""
import cv2
import numpy as np
import pytest

from centernet.config.load import load_config
from centernet.errors import UserError
from centernet.evaluation.inputs import find_inputs


@pytest.fixture
def photos(tmp_path):
    """photos/a.jpg, photos/deep/b.png, photos/notes.md, list.txt."""
    (tmp_path / "photos/deep").mkdir(parents=True)
    for name in ("a.jpg", "deep/b.png", "notes.md"):
        (tmp_path / "photos" / name).write_bytes(b"x")
    (tmp_path / "list.txt").write_text("# mine\nphotos/deep/b.png\n\nphotos/a.jpg\nphotos/a.jpg\n")
    return tmp_path


@pytest.mark.parametrize(("words", "recursive", "names"), [
    (["photos"], False, ["a.jpg"]), (["photos"], True, ["a.jpg", "b.png"]), (["photos/**/*.png"], False, ["b.png"]),
    (["photos/a.jpg", "photos/deep/b.png", "photos/a.jpg"], False, ["a.jpg", "b.png"]),
    (["list.txt"], False, ["b.png", "a.jpg"]), (["photos/[ab].jpg"], False, ["a.jpg"]),
])
def test_files_folders_globs_and_lists(photos, words, recursive, names):
    found = find_inputs([str(photos / word) for word in words], recursive)
    assert [path.name for path in found.images] == names and not found.videos


@pytest.mark.fault("a linked folder among the images", "links to a folder elsewhere, and to one that contains the link",
                   "its images are found, each once")
def test_linked_folders_are_searched_once(photos, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "c.jpg").write_bytes(b"x")
    (photos / "photos/link").symlink_to(elsewhere)
    (photos / "photos/deep/again").symlink_to(photos / "photos")
    (elsewhere / "back").symlink_to(photos / "photos/deep")
    found = find_inputs([str(photos / "photos")], True).images
    assert [str(path.relative_to(photos / "photos")) for path in found] == ["a.jpg", "deep/b.png", "link/c.jpg"]
    (photos / "imported").mkdir()
    (photos / "imported/images").symlink_to(photos / "photos")  # as import-dataset --out makes it
    assert len(find_inputs([str(photos / "imported")], True).images) == 3
    with pytest.raises(UserError, match=r"its subfolders have 3, such as .*imported/images/.*: add --recursive"):
        find_inputs([str(photos / "imported")])
    monkeypatch.setattr("centernet.evaluation.inputs.SEARCHED", 2)  # a link can lead to a whole disk
    with pytest.raises(UserError, match=r"its subfolders have at least [12], such as"):
        find_inputs([str(photos / "imported")])


@pytest.mark.parametrize(("flags", "words"), [
    (["--image", "a.jpg"], ("a.jpg",)), (["--data", "a.jpg", "b.jpg"], ("a.jpg", "b.jpg")),
    (["--image", "[ab]*.jpg"], ("[ab]*.jpg",)), (["--image=['a.jpg','b.jpg']"], ("a.jpg", "b.jpg"))])
def test_an_unquoted_glob_is_several_words(flags, words):
    assert load_config("infer", flags, "").image == words


def test_short_flags():
    config = load_config("infer", ["--recursive", "--score_thresh", "0.2", "--max_det", "7", "--image", "a"], "")
    assert config.recursive and config.eval_config.score_thresh == 0.2 and config.eval_config.K == 7
    with pytest.raises(UserError, match="tile must be 0 or at least 32, found 7"):
        load_config("infer", ["--tile", "7"], "")


@pytest.mark.parametrize(("word", "source", "name"), [
    ("0", 0, "camera0"),
    ("rtsp://me:secret@cam.local/live/1", "rtsp://me:secret@cam.local/live/1", "_cam.local_live_1")])
def test_cameras_and_streams(word, source, name):
    video, = find_inputs([word]).videos
    assert (video.source, video.live) == (source, True) and name in video.name
    assert "secret" not in video.title + video.name


@pytest.mark.fault("a file of a wrong kind as --image", "annotations, a model, an archive, a URL of an object store",
                   "refused before MindSpore is imported, with what was found and what is allowed")
@pytest.mark.parametrize(("word", "content", "text"), [
    ("a.xml", b"<annotation>", "is neither an image nor a video, but an annotation file"),
    ("noname", b"\xef\xbb\xbf <annotation>", "but an annotation file"), ("noname", b"{}", "but a JSON file"),
    ("last.ckpt", b"\0", "but a checkpoint: name it with --model_path"), ("x.zip", b"PK", "but an archive: unpack it"),
    ("file:///tmp/a.jpg", None, "give the path of the file, without file://"),
    ("s3://bucket/a.jpg", None, "s3:// is not a stream"), ("gone.jpg", None, "there is no such file, no folder"),
    ("a.jpg,b.jpg", None, "as a glob pattern. Separate several paths by spaces, not by commas"),
    ("C:\\photos\\a.jpg", None, "Paths have / on this system"), ("my", None, "A path with spaces needs quotes"),
    ("list.txt", b"gone.jpg", "list.txt, line 1: there is no file gone.jpg"),
    ("list.txt", b"#\n", "this list is empty"),
    ("list.txt", b"\xff\xfe", "in UTF-8, found other bytes at position 0"),
    (".", None, r"this folder has no images .*; its subfolders have 1, such as .*b.png: add --recursive"),
    ("empty", None, "this folder has no images .*: is it the right folder"),
])
def test_wrong_kinds_are_said(tmp_path, monkeypatch, word, content, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "deep/b.png").write_bytes(b"x")
    if content is not None:
        (tmp_path / word).write_bytes(content)
    with pytest.raises(UserError, match=text):
        find_inputs([word])


def test_an_image_without_a_suffix_is_an_image(tmp_path):
    (tmp_path / "photo").write_bytes(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    assert find_inputs([str(tmp_path / "photo")]).images == (tmp_path / "photo",)
