"""Folders that connect preprocess.py, the program that runs the model, and postprocess.py.

    DIR/00_data/<image_id>.bin   one input: float32, little-endian, (3, H, W) in C order, normalised; or, for models
                                 that normalise in their graph or in AIPP, uint8 (H, W, 3), BGR
    DIR/meta/<image_id>.json     its transform (transform.Meta), image id and file name
    DIR/meta/index.json          list of the images; written last, so that a set without it is incomplete
    OUT/<image_id>_0.bin         the model's output for the image: float32, little-endian, (K, 6) in C order:
                                 x1, y1, x2, y2 in output cells, score, class

These are also the files of Ascend's own programs for .om files: ais_bench reads a folder with one .bin for each image
and writes NAME_0.bin, NAME_1.bin, ... (one for each output); msame writes NAME_output_0.bin, ...
"""
from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from centernet.categories import by_name
from centernet.data.annotations import Annotations
from centernet.data.info_file import MOST_BYTES
from centernet.detection.decode import decode, sigmoid
from centernet.detection.transform import Meta
from centernet.errors import UserError, printable, sentence
from centernet.files import exists, read_bytes, read_json, require_space, user_errors, write_json
from centernet.interrupt import stop_if_interrupted
from centernet.json_value import JsonValue
from centernet.owner import OWNER, owned
from centernet.program import prepare_again, program
from centernet.runtimes.exported import ExportedBackend
from centernet.runtimes.manifest import Manifest
from centernet.runtimes.sizes import speed

LOG = logging.getLogger("centernet")

INPUTS, METAS, INDEX = "00_data", "meta", "index.json"
MOST_META_BYTES = 1 << 16


@dataclass(frozen=True)
class PreparedSet:
    """The index: file names by image id, in the data set's order, and the path of the annotation file."""

    meta_dir: Path
    names: dict[int, str]
    annotation_file: str


def write_prepared(folder: Path, images: Iterable[tuple[int, str, np.ndarray, Meta]], manifest: Manifest,
                   annotation_file: Path, expected: int = 0) -> int:
    """Write the inputs and meta files of all images, then the index. Return the number of images.

    Args:
        folder: DIR. An older set in it becomes invalid at once.
        images: (image id, file name, input of the model, Meta).
        manifest: manifest of the model that will run on the images.
        annotation_file: the file that lists the images.
        expected: number of images, to check the free disk space first; 0: no check.

    Raises:
        UserError: the folder is not writable, another process owns it, or there is not enough free disk space.
    """
    index = folder / METAS / INDEX
    names = {}
    with owned(folder, "--predict_dir", f".preprocess{OWNER}"), user_errors(f"--predict_dir {folder}: cannot write"):
        for part in (INPUTS, METAS):
            (folder / part).mkdir(parents=True, exist_ok=True)
        require_space(folder, expected * _bytes_of(manifest.input_shape[1:], manifest.input_dtype),
                      f"--predict_dir {folder}: the inputs", (folder / INPUTS).glob("*.bin"))
        index.unlink(missing_ok=True)
        for image_id, file_name, pixels, meta in images:
            stop_if_interrupted()
            values = pixels.astype(_stored(manifest.input_dtype), copy=False)
            (folder / INPUTS / f"{image_id}.bin").write_bytes(values.tobytes())
            transform = {"image_id": image_id, "file_name": file_name, **asdict(meta)}
            (folder / METAS / f"{image_id}.json").write_text(json.dumps(transform), encoding="utf-8")
            names[image_id] = file_name
        write_json(index, {"count": len(names), "annotation_file": str(annotation_file.resolve()),
                           **_preparation(manifest),
                           "images": [{"image_id": key, "file_name": name} for key, name in names.items()]})
    return len(names)


def _preparation(manifest: Manifest) -> dict[str, Any]:
    """Return a model's requirements for its inputs. A prepared set is valid for all models with the same values."""
    return {"shape": list(manifest.input_shape[1:]), "dtype": manifest.input_dtype, "byte_order": "little",
            "layout": manifest.layout[1:], "color_order": manifest.input_color_order,
            "mean": list(manifest.spec.mean), "std": list(manifest.spec.std)}


def read_index(folder: Path, manifest: Manifest, flag: str, aipp: bool = False) -> PreparedSet:
    """Read the index of a prepared set.

    Args:
        folder: DIR/meta, or DIR.
        manifest: manifest of the model.
        flag: the flag that named the folder; begins the message if there is no index.
        aipp: a set of uint8 images is also valid (preprocess.py --aipp).

    Raises:
        UserError: the set is incomplete, damaged or for another kind of model.
    """
    path = next((place / INDEX for place in (folder, folder / METAS) if exists(place / INDEX)), None)
    if path is None:
        found = f"{INDEX} is missing" if exists(folder) else "there is no such folder"
        raise UserError(f"{flag} {printable(folder)}: {found}. {program('preprocess')} writes {INDEX} last, so this is "
                        f"not a prepared set, or it is incomplete. Run {program('preprocess')} (again)")
    values = JsonValue(read_json(path, remedy=sentence(prepare_again()), most=MOST_BYTES),
                       f"{path} is damaged", prepare_again())
    names = {row["image_id"].whole(): row["file_name"].text() for row in values["images"].items()}
    count, annotation_file = values["count"].whole(), values["annotation_file"].text()
    wanted = _preparation(manifest.with_uint8_input() if aipp and values["dtype"].value == "uint8" else manifest)
    differing = [key for key, value in wanted.items() if values[key].value != value]
    if len(names) != count or not names:
        raise UserError(f"{path} lists {len(names)} images, but its count is {count}: {prepare_again()}")
    if differing:
        details = ", ".join(f"{key} is {printable(values[key].value)}, but the model needs {wanted[key]}"
                            for key in differing)
        raise UserError(f"{flag} {printable(folder)} was prepared for another model: {details}. Run "
                        f"{program('preprocess')} with this model")
    return PreparedSet(path.parent, names, annotation_file)


def labels_of_model(annotations: Annotations, manifest: Manifest, model_path: str) -> Annotations:
    """Return annotations with the model's classes. Raise UserError unless the model has all their category names."""
    return annotations.with_categories(
        by_name(manifest.spec.categories, annotations.categories, model_path, str(annotations.path),
                "Use an annotation file with the categories of the training."))


def read_meta(prepared: PreparedSet, image_id: int) -> Meta:
    """Read the transform of one image. Raise UserError if its meta file is missing or damaged."""
    path = prepared.meta_dir / f"{image_id}.json"
    return Meta.from_json(read_bytes(path, MOST_META_BYTES, remedy=sentence(prepare_again())), path)


def read_input(predict_dir: Path, image_id: int, manifest: Manifest) -> np.ndarray:
    """Read one prepared image. Raise UserError if it is missing, has a wrong size, or values that are not finite."""
    return _read_array(predict_dir / INPUTS / f"{image_id}.bin", manifest.input_shape[1:], manifest.input_dtype,
                       prepare_again())


def result_file(result_dir: Path, image_id: int) -> Path:
    """Return the path of the file with an image's detections."""
    return result_dir / f"{image_id}_0.bin"


def write_detections(result_dir: Path, image_id: int, detections: np.ndarray) -> None:
    """Write one image's detections, float32 (K, 6) with boxes in output cells."""
    result_file(result_dir, image_id).write_bytes(detections.astype("<f4", copy=False).tobytes())


def read_detections(result_dir: Path, image_id: int, manifest: Manifest) -> np.ndarray:
    """Read one image's detections, float32 (K, 6) with boxes in output cells.

    The files may be those of infer.py, of the C++ program, of ais_bench or of msame. If the model's outputs are maps,
    and there is a file for each map, they are decoded.

    Raises:
        UserError: a file is missing, has a wrong size, or holds values that this model cannot output.
    """
    path = result_file(result_dir, image_id)
    msame = result_dir / f"{image_id}_output_0.bin"
    if msame.is_file() and not path.is_file():
        path = msame
    if not manifest.decode and _output(path, 1).is_file():
        detections = _decoded(path, manifest)
    else:
        detections = _read_array(path, (manifest.K, 6), "float32", "run the model on all images again")
    known = np.arange(len(manifest.spec.categories))
    if not np.isin(detections[:, 5], known).all():
        raise UserError(f"{path} holds classes outside 0..{known[-1]}. It is not the output of this model (float32, "
                        "little-endian, rows of x1, y1, x2, y2, score, class). Run the model on all images again")
    return detections


def _output(path: Path, number: int) -> Path:
    """Return the file of another output of the same image: NAME_1.bin for NAME_0.bin."""
    return path.with_name(f"{path.stem.removesuffix('0')}{number}.bin")


def _decoded(path: Path, manifest: Manifest) -> np.ndarray:
    """Read the files of an image's maps, and decode them to detections (K, 6)."""
    hm, wh, *reg = (_read_array(_output(path, number), shape[1:], "float32", "run the model on all images again")[None]
                    for number, (_, shape) in enumerate(manifest.outputs))
    return decode(sigmoid(hm), wh, reg[0] if reg else None, manifest.K, manifest.cat_spec_wh,
                  manifest.box_head)[0]


def _stored(dtype: str) -> np.dtype:
    """Return the little-endian form of a type."""
    return np.dtype(dtype).newbyteorder("<")


def _bytes_of(shape: tuple[int, ...], dtype: str) -> int:
    return np.dtype(dtype).itemsize * int(np.prod(shape))


def _read_array(path: Path, shape: tuple[int, ...], dtype: str, remedy: str) -> np.ndarray:
    wanted = _bytes_of(shape, dtype)
    try:
        size = path.stat().st_size  # a file of another size is not read, however large it is
        data = path.read_bytes() if size == wanted else b""
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}: {remedy}") from error
    if len(data) != wanted:
        raise UserError(f"{path} has {size} bytes, {dtype} of shape {tuple(shape)} has {wanted}: {remedy}")
    values = np.frombuffer(data, _stored(dtype)).astype(dtype, copy=False).reshape(shape)
    require_finite(values, str(path), remedy)
    return values


def require_finite(values: np.ndarray, subject: str, remedy: str) -> None:
    """Raise UserError if there is a NaN or infinite value: soft-NMS and the ranking make wrong boxes of it."""
    finite = np.isfinite(values)
    if not finite.all():
        first = int(np.flatnonzero(~finite)[0])
        raise UserError(f"{subject}: {values.size - np.count_nonzero(finite)} of {values.size} values are NaN or "
                        f"infinite (value {first} is {values.flat[first]}): {remedy}")


def run_prepared(model: ExportedBackend, predict_dir: Path, result_dir: Path) -> None:
    """Run an exported model on every image of a prepared set and write one file for each image into result_dir.

    If the model's graph does not decode, this program decodes its output. So the files have the same form.

    Raises:
        UserError: an input is missing, has a wrong size or values that are not finite; the model's output is not
            finite; result_dir is not writable, or another process owns it.
    """
    manifest = model.manifest
    names = read_index(predict_dir, manifest, "--predict_dir").names
    ids, batch, seconds = list(names), manifest.input_shape[0] or 1, []
    with owned(result_dir, "--result_path", f".infer{OWNER}"), user_errors(f"--result_path {result_dir}: cannot write"):
        for image_id in ids:  # otherwise an interrupted run would leave files of an earlier run, or maps beside ours
            for number in range(3):
                _output(result_file(result_dir, image_id), number).unlink(missing_ok=True)
        for first in tqdm(range(0, len(ids), batch), unit="batch", disable=None):
            stop_if_interrupted()
            chosen = ids[first:first + batch]
            images = np.stack([read_input(predict_dir, image_id, manifest) for image_id in chosen])
            start = time.perf_counter()
            found = model(images)
            seconds.append(time.perf_counter() - start)
            for image_id, detections in zip(chosen, found):
                require_finite(detections, f"the model's output for image {image_id}",
                               "its weights diverged in training, or its precision is too low. Export an earlier "
                               "checkpoint, or with --precision fp32")
                write_detections(result_dir, image_id, detections)
    LOG.info("ran the model on %d prepared images: %s", len(ids), result_dir)
    LOG.info("%s", speed(seconds, batch))
