"""What --image means: image files, folders, globs, list files, video files, cameras and streams. No model is needed."""
from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2

from centernet.data.defects import EXAMPLES
from centernet.data.image_file import SUFFIXES, foreign_format
from centernet.errors import UserError, is_empty, printable, without_commas
from centernet.files import exists, files_below, read_bytes, require_utf8
from centernet.run_files import without_passwords

LOG = logging.getLogger("centernet")

VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".mts")
LISTS = (".txt", ".lst", ".list")
STREAMS = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "rtp", "srt")
MOST_LIST_BYTES = 1 << 26
SEARCHED = 10_000  # files below a folder, for a hint

KINDS = {".xml": "an annotation file (XML, such as Pascal VOC's)", ".json": "a JSON file, such as annotations",
         ".csv": "a table", ".yaml": "a configuration", ".yml": "a configuration",
         ".ckpt": "a checkpoint: name it with --model_path",
         ".mindir": "a model: name it with --model_path", ".onnx": "a model: name it with --model_path",
         ".zip": "an archive: unpack it", ".tar": "an archive: unpack it", ".gz": "an archive: unpack it"}


@dataclass(frozen=True)
class Video:
    """A video file, a camera or a stream.

    Attributes:
        source: path, URL, or number of a camera.
        title: source for messages, without the password of a URL.
        live: a camera or a stream: its length is not known.
    """

    source: str | int
    title: str
    live: bool

    @property
    def name(self) -> str:
        """Return the name of its result files, without suffix."""
        if isinstance(self.source, int):
            return f"camera{self.source}"
        return re.sub(r"[^\w.-]+", "_", self.title.split("://")[1]) if self.live else Path(self.source).stem


@dataclass(frozen=True)
class Inputs:
    """The images and the videos of a command."""

    images: tuple[Path, ...]
    videos: tuple[Video, ...]


def find_inputs(words: Sequence[str], recursive: bool = False) -> Inputs:
    """Return the images and videos of --image, each once: those of a folder or a glob sorted by name.

    Args:
        words: each is a file, a folder, a glob pattern, a list file, a URL, or the number of a camera.
        recursive: also take the subfolders of folders.

    Raises:
        UserError: a word names nothing that can be read, a file is of a wrong kind, or a name is not UTF-8:
            detections.json could not have it.
    """
    files: list[Path] = []
    videos: list[Video] = []
    for word in words:
        if is_empty(word):
            raise UserError("--image '': the word is empty. Is a variable of your shell not set?")
        stream = _live(word)
        if stream:
            videos.append(stream)
        else:
            files += _files(word, recursive)
    once: dict[str, Path] = {}
    for item in files:
        once.setdefault(os.path.abspath(item), item)
    files = list(once.values())
    for item in files:
        require_utf8(str(item), "image")
    videos += [Video(str(item), str(item), False) for item in files if _is_video(item)]
    return Inputs(tuple(item for item in files if not _is_video(item)), tuple(videos))


def _live(word: str) -> Video | None:
    """Return the camera or stream that a word names; None for paths."""
    if exists(Path(word)):
        device = Path(word).is_char_device()
        return Video(int(word.removeprefix("/dev/video")), word, True) if re.fullmatch(
            r"/dev/video\d+", word) and device else None
    if re.fullmatch(r"\d{1,3}", word):
        return Video(int(word), f"camera {int(word)}", True)
    scheme, separator, _ = word.partition("://")
    if not separator:
        return None
    if scheme.lower() == "file":
        raise UserError(f"--image {printable(word)}: give the path of the file, without {scheme}://")
    if scheme.lower() not in STREAMS:
        raise UserError(f"--image {printable(word)}: {printable(scheme)}:// is not a stream that can be opened "
                        f"({', '.join(STREAMS)}): copy the files to this machine, and name their folder")
    return Video(word, without_passwords(word), True)


def _files(word: str, recursive: bool) -> list[Path]:
    path = Path(word).expanduser() if word.startswith("~") else Path(word)
    if path.is_file():
        return _listed(path, recursive) if path.suffix.lower() in LISTS else [_checked(path)]
    if path.is_dir():
        candidates = sorted(item for item in (files_below(path) if recursive else path.iterdir()) if item.is_file())
        return _media(word, candidates) or _nothing_in(path, recursive)
    candidates = [Path(item) for item in sorted(glob.glob(str(path), recursive=True))]
    found = _media(word, [item for item in candidates if item.is_file()])
    if not found:
        raise UserError(f"--image {printable(word)}: there is no such file, no folder of this name with images "
                        f"({', '.join(SUFFIXES)}), and no image that matches it as a glob pattern"
                        f"{_advice(word)}")
    return found


def _advice(word: str) -> str:
    """Return the end of a message about a path that does not exist, if its form tells why."""
    windows = ". Paths have / on this system, not \\" if "\\" in word else ""
    return without_commas(word, "paths") or windows or ". A path with spaces needs quotes"


def _nothing_in(folder: Path, recursive: bool) -> list[Path]:
    """Raise UserError for a folder without images: it says where they are, if they are below it."""
    # Only for a hint, and links lead anywhere: a large tree is not searched to its end.
    below = [] if recursive else list(islice(files_below(folder), SEARCHED))
    deeper = sorted(item for item in below if item.suffix.lower() in SUFFIXES)
    most = "at least " * (len(below) == SEARCHED)
    hint = (f"; its subfolders have {most}{len(deeper)}, such as {printable(deeper[0])}: add --recursive" if deeper else
            ": is it the right folder?")
    raise UserError(f"--image {printable(folder)}: this folder has no images ({', '.join(SUFFIXES)}) and no videos"
                    f"{hint}")


def _media(word: str, candidates: list[Path]) -> list[Path]:
    """Return the images and videos among files. Log the files that are passed over."""
    found = [item for item in candidates if item.suffix.lower() in SUFFIXES + VIDEOS]
    others = [item for item in candidates if item.suffix.lower() not in SUFFIXES + VIDEOS]
    if others and found:
        LOG.warning("--image %s: %d files have no suffix of an image (%s) or a video and are passed over: %s%s",
                    printable(word), len(others), ", ".join(SUFFIXES),
                    ", ".join(printable(item.name) for item in others[:EXAMPLES]), ", ..." * (len(others) > EXAMPLES))
    return found


def _listed(path: Path, recursive: bool) -> list[Path]:
    """Return the files that a list file names, one on each line, relative to this folder or to that of the list."""
    data = read_bytes(path, MOST_LIST_BYTES, f"--image {path}")
    try:
        lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise UserError(f"--image {path}: a list has one path on each line in UTF-8, found other bytes at position "
                        f"{error.start}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        item = next((item for item in (Path(line), path.parent / line) if exists(item)), None)
        if item is None:
            raise UserError(f"--image {path}, line {number}: there is no file {printable(line)}, neither from the "
                            f"current folder nor from {path.parent}. A list has one path on each line")
        found += [_checked(item)] if item.is_file() else _files(str(item), recursive)
    if not found:
        raise UserError(f"--image {path}: this list is empty. Write one path on each line")
    return found


def _checked(path: Path) -> Path:
    """Return a file that the user named. Raise UserError if it is certainly neither an image nor a video."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES or _is_video(path):
        return path
    with path.open("rb") as file:
        head = file.read(512)
    kind = KINDS.get(suffix) or {"<": KINDS[".xml"], "{": KINDS[".json"], "[": KINDS[".json"]}.get(
        head.decode("latin-1").lstrip("\ufeff\u00ef\u00bb\u00bf \r\n\t")[:1], "")
    if kind and not foreign_format(head) and not cv2.haveImageReader(str(path)):
        raise UserError(f"--image {printable(path)} is neither an image nor a video, but {kind}. --image takes images, "
                        "videos, a folder of them, a glob, a list of paths (.txt), a camera's number or a stream's URL")
    return path


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS
