"""The decoder itself is the judge: what plain_size accepts must decode, to that size."""
import cv2
import numpy as np
import pytest

from centernet.data.image_file import decode
from centernet.data.jpeg import plain_size


def encoded(height, width, *options, gray=False):
    shape = (height, width) if gray else (height, width, 3)
    pixels = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, shape, np.uint8), (5, 5), 2)
    return cv2.imencode(".jpg", pixels, options)[1].tobytes()


PLAIN = {
    "usual": encoded(48, 70),
    "gray": encoded(48, 70, gray=True),
    "own tables": encoded(48, 70, cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    "restarts": encoded(48, 70, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "full colour": encoded(48, 70, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111),
    "tiny": encoded(1, 1),
}


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_size_of_plain_files(data):
    assert plain_size(data) == decode(data).shape[:2]
    assert plain_size(data + b"\0" * 40) == decode(data).shape[:2]


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_no_cut_file_is_accepted(data):
    assert not any(plain_size(data[:length]) for length in range(len(data) - 1))


def exif(data, orientation):
    body = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0, 0, 0, 0, 0])
    return data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


def test_what_only_the_decoder_knows():
    turned = exif(PLAIN["usual"], 6)
    assert decode(turned).shape[:2] == (70, 48)
    progressive, png = encoded(9, 9, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), cv2.imencode(".png", np.zeros((4, 5)))[1]
    others = [turned, progressive, png.tobytes(), b"", b"\xff\xd8", b"no image"]
    assert [plain_size(data) for data in others] == [None] * len(others)


@pytest.mark.parametrize("offset, value", [(5, 2), (21, 16)], ids=["two codes of one bit", "DC symbol 16"])
def test_bad_huffman_tables(offset, value):
    file = bytearray(PLAIN["usual"])
    table = file.index(b"\xff\xc4")  # marker, length, kind, counts of 16 lengths, symbols
    longest = max(range(table + 5, table + 21), key=file.__getitem__)
    if offset == 5:
        file[longest] -= value  # as many symbols as before
    file[table + offset] = value
    assert plain_size(bytes(file)) is None
    assert decode(bytes(file)) is None


def damaged(data, rng):
    """One to three changes of random kind, most of them before the compressed data."""
    file, header = bytearray(data), data.index(b"\xff\xda") + 14
    kind = rng.integers(4)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(2, header if rng.random() < 0.8 else len(file) - 30))
        if kind == 0:
            file[place] = rng.integers(256)
        elif kind == 1:
            file[place] ^= 1 << rng.integers(8)
        elif kind == 2:
            del file[place:place + int(rng.integers(1, 9))]
        else:
            file[place:place] = rng.bytes(int(rng.integers(1, 9)))
    return bytes(file)


@pytest.mark.parametrize("name", PLAIN)
def test_damaged_files_that_are_accepted_decode_to_that_size(name):
    rng = np.random.default_rng(len(name))
    accepted = refused = 0
    for _ in range(2000):
        data = damaged(PLAIN[name], rng)
        size = plain_size(data)
        refused += size is None
        if size is not None:
            accepted += 1
            pixels = decode(data)
            assert pixels is not None and pixels.shape[:2] == size
    assert min(accepted, refused) > 100  # both happened, or nothing was shown
