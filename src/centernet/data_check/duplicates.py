"""Images that are there twice, exactly or nearly, by a small perceptual hash; and sizes that contradict the file.

The hash says for 16 x 16 places whether the image becomes brighter to the right. It does not change with the size, the
compression and small changes of colour. A pair that it finds is then compared in 32 x 32 grey values.
"""
from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from tqdm import tqdm

from centernet.data.coco import CocoImage
from centernet.data.image_file import decode
from centernet.data.image_size import image_size
from centernet.data.orientation import displayed_size
from centernet.errors import UserError
from centernet.files import read_bytes
from centernet.interrupt import stop_if_interrupted

PLACES = 16     # of the hash, in each direction
BANDS = 16      # parts of the hash; two hashes that differ in fewer bits have an equal part
DISTANCE = 15   # bits that may differ
GREY = 6.0      # mean difference of grey values (0..255) up to which two images are nearly the same
CROWD = 50      # images with one part of the hash that are all compared; of more, neighbours in a list


@dataclass(frozen=True)
class Look:
    """What is needed of one image file for the comparison."""

    digest: bytes           # SHA-256 of the file; b"": not readable
    bits: bytes             # the hash, 32 bytes
    thumb: np.ndarray       # (32, 32) float32 grey values
    contradiction: str      # "" or what contradicts the annotation


def look_at(images: Sequence[CocoImage], show: str) -> list[Look]:
    """Read and decode images in threads. `show` is the name of the split for the progress bar."""
    looks = []
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for look in tqdm(pool.map(_look, images), show, len(images), unit="image", disable=None):
            stop_if_interrupted()
            looks.append(look)
    return looks


def _look(image: CocoImage) -> Look:
    nothing = np.zeros((32, 32), np.float32)
    try:
        data = read_bytes(image.path)
        stored = image_size(data)
        pixels = decode(data)
    except UserError as error:
        return Look(b"", b"", nothing, f"{image.path.name}: {error}")
    if stored is None or pixels is None:
        return Look(b"", b"", nothing, f"{image.path.name}: its file cannot be decoded")
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (PLACES + 1, PLACES), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = np.packbits(small[:, 1:] > small[:, :-1]).tobytes()
    thumb = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    return Look(hashlib.sha256(data).digest(), bits, thumb, _contradiction(image, data, stored))


def _contradiction(image: CocoImage, data: bytes, stored: tuple[int, int]) -> str:
    turned = displayed_size(data, stored) or stored
    if (image.height, image.width) in (stored, turned):
        return ""
    return (f"{image.path.name}: the file has {turned[1]} x {turned[0]} pixels, the annotations say {image.width} x "
            f"{image.height}")


def pairs_of(looks: Sequence[Look]) -> list[tuple[int, int, bool]]:
    """Return the pairs of images that are the same: two positions (the smaller one first), and whether exactly."""
    found = []
    for one, two in sorted(_candidates(looks)):
        exact = looks[one].digest == looks[two].digest
        if exact or _alike(looks[one], looks[two]):
            found.append((one, two, exact))
    return found


def _candidates(looks: Sequence[Look]) -> set[tuple[int, int]]:
    """Return the pairs with an equal part of the hash."""
    parts: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    step = PLACES * PLACES // 8 // BANDS
    for position, look in enumerate(looks):
        for band in range(BANDS if look.bits else 0):
            parts[band, look.bits[band * step:(band + 1) * step]].append(position)
    return {pair for group in parts.values() for pair in _within(group, looks)}


def _within(group: list[int], looks: Sequence[Look]) -> Iterator[tuple[int, int]]:
    if len(group) <= CROWD:
        yield from combinations(group, 2)
        return
    order = sorted(group, key=lambda position: (looks[position].bits, position))
    for gap in range(1, 4):
        for one, two in zip(order, order[gap:]):
            yield min(one, two), max(one, two)


def _alike(one: Look, two: Look) -> bool:
    distance = (int.from_bytes(one.bits, "big") ^ int.from_bytes(two.bits, "big")).bit_count()
    return distance <= DISTANCE and float(np.abs(one.thumb - two.thumb).mean()) <= GREY
