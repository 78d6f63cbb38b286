"""Check that the results of a detection replace neither its own input nor files of the user."""
from __future__ import annotations

from pathlib import Path

from centernet.errors import UserError, printable
from centernet.evaluation.found_files import PICTURES
from centernet.evaluation.inputs import Inputs
from centernet.files import read_json

OF_A_VIDEO = (".json", ".jsonl", ".csv", "_coco.json", ".mp4", ".avi")  # suffixes of the result files of one video
OF_IMAGES = ("detections", "detections_coco")             # names of their lists
ELSEWHERE = "choose another --save_result_dir"


def require_free_places(inputs: Inputs, folder: Path) -> None:
    """Check the places of all results before the first one is written.

    Args:
        inputs: images and videos.
        folder: --save_result_dir; it need not exist.

    Raises:
        UserError: two videos (or a video and the list of images) would write the same files, an input is where a result
            will be, or a file of this name is not from an earlier run.
    """
    names = dict.fromkeys(OF_IMAGES, "(the list of the images)") if inputs.images else {}
    pictures, taken = (folder / PICTURES).resolve(), set()
    for video in inputs.videos:
        own = (video.name, f"{video.name}_coco")
        if other := next((names[name] for name in own if name in names), ""):
            raise UserError(f"--image: {other} and {video.title} have the same name, so their results "
                            "would be the same files: detect them one by one, with different --save_result_dir")
        names |= dict.fromkeys(own, video.title)
        taken |= {folder.resolve() / f"{video.name}{suffix}" for suffix in OF_A_VIDEO}
    files = [*inputs.images, *(Path(str(video.source)) for video in inputs.videos if not video.live)]
    for file in map(Path.resolve, files):
        if file in taken or file.is_relative_to(pictures):
            raise UserError(f"--image {printable(file)}: a result would replace this file. Infer writes {pictures}/ "
                            f"and NAME.mp4, .json and .csv of each video: {ELSEWHERE}")
    for video in inputs.videos:
        _require_own(folder, video.name)


def _require_own(folder: Path, name: str) -> None:
    """Raise UserError if a file with the name of a video's result is not from an earlier run."""
    found = [path for suffix in OF_A_VIDEO if (path := folder / f"{name}{suffix}").exists()]
    if not found or (folder / f"{name}.jsonl").exists():  # the first file that a run writes
        return
    try:
        ours = "frame_lines" in read_json(folder / f"{name}.json")
    except UserError:
        ours = False
    if not ours:
        raise UserError(f"{', '.join(map(printable, found))}: a result of the video would replace what is not a result "
                        f"of infer: {ELSEWHERE}, or remove it")
