"""Telling from a JPEG file's structure alone that it decodes, and to which size (ITU-T T.81, annex B).

Decoding takes forty times as long and tells no more: a decoder goes on after damaged compressed data without an error,
and fails only for what is checked here. Whatever is unusual is left to the decoder.
"""
from __future__ import annotations

import re
from functools import lru_cache

# In compressed data 0xFF is followed by 0 (a plain 0xFF), a restart marker D0..D7 or another 0xFF (filling).
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
SOF_BASELINE, SOS, DQT, DHT, DRI, COMMENT = 0xC0, 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
END = b"\xff\xd9"
LARGEST = 1 << 30  # pixels that OpenCV accepts
SAMPLINGS = {1: ((0x11,),), 3: ((0x11, 0x11, 0x11), (0x21, 0x11, 0x11), (0x12, 0x11, 0x11), (0x22, 0x11, 0x11))}


def plain_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) in pixels of a whole baseline JPEG with one scan; None if the decoder has to be asked.

    Also None with an Exif segment, whose orientation may turn the image.
    """
    if not data.startswith(b"\xff\xd8"):
        return None
    position, tables, frame = 2, set(), b""
    while position + 4 <= len(data) and data[position] == 0xFF:
        kind, end = data[position + 1], position + 2 + int.from_bytes(data[position + 2:position + 4], "big")
        body = data[position + 4:end]
        if kind == SOS:
            fits = _scan_fits(body, frame, tables) and _ends_after(data, end)
            return (int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")) if fits else None
        if kind == SOF_BASELINE and not frame:
            frame = body
        elif kind in (DQT, DHT):
            found = _quantization_tables(body) if kind == DQT else _huffman_tables(body)
            if not found:
                return None
            tables |= found
        elif body.startswith(b"Exif") or not _is_harmless(kind, body):
            return None
        position = end
    return None


def _is_harmless(kind: int, body: bytes) -> bool:
    """Whether a segment is a restart interval, a comment or an application's own."""
    return kind == COMMENT or 0xE0 <= kind <= 0xEF or (kind == DRI and len(body) == 2)


def _ends_after(data: bytes, start: int) -> bool:
    marker = MARKER.search(data, start)
    return marker is not None and marker[0] == END


def _scan_fits(scan: bytes, frame: bytes, tables: set[tuple[str, int]]) -> bool:
    """Whether a frame of 8-bit samples has a usual sampling, and its one scan the same components and their tables."""
    if len(frame) < 6 or frame[0] != 8 or len(frame) != 6 + 3 * frame[5] or frame[5] not in SAMPLINGS:
        return False
    count, components = frame[5], [tuple(frame[k:k + 3]) for k in range(6, len(frame), 3)]
    pixels = int.from_bytes(frame[1:3], "big") * int.from_bytes(frame[3:5], "big")
    if not 0 < pixels <= LARGEST or tuple(sampling for _, sampling, _ in components) not in SAMPLINGS[count]:
        return False
    if len(scan) != 4 + 2 * count or scan[0] != count or scan[-3:] != b"\x00\x3f\x00":
        return False
    used = {("Q", number) for _, _, number in components}
    used |= {(kind, number) for pair in scan[2:-3:2] for kind, number in (("DC", pair >> 4), ("AC", pair & 15))}
    return used <= tables and [name for name, _, _ in components] == list(scan[1:-3:2])


def _quantization_tables(body: bytes) -> set[tuple[str, int]]:
    """The tables that a segment defines; empty if it is not in order."""
    found, position = set(), 0
    while position < len(body):
        precision, number = body[position] >> 4, body[position] & 15
        position += 65 + 64 * precision
        if precision > 1 or number > 3 or position > len(body):
            return set()
        found.add(("Q", number))
    return found


@lru_cache(maxsize=16)  # most files have the tables of the standard
def _huffman_tables(body: bytes) -> set[tuple[str, int]]:
    """As above. A code must leave the word of all ones free; a DC table's symbols are at most 15."""
    found, position = set(), 0
    while position + 17 <= len(body):
        kind, number = body[position] >> 4, body[position] & 15
        counts = body[position + 1:position + 17]
        symbols = body[position + 17:position + 17 + sum(counts)]
        position += 17 + sum(counts)
        used = sum(count << (15 - length) for length, count in enumerate(counts))
        if kind > 1 or number > 3 or position > len(body) or not symbols or used >= 1 << 16 or len(symbols) > 256:
            return set()
        if kind == 0 and max(symbols) > 15:
            return set()
        found.add(("AC" if kind else "DC", number))
    return found if position == len(body) else set()
