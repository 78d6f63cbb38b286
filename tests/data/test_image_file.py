import cv2
import numpy as np
import pytest

from centernet.data.image_file import decode, is_cut
from centernet.data.image_size import ImageTooLarge


def encoded(suffix, *options, shape=(120, 160, 3)):
    pixels = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, shape, np.uint8), (7, 7), 3)
    done, data = cv2.imencode(suffix, pixels, options)
    assert done
    return data.tobytes()


FILES = {
    "baseline": encoded(".jpg", cv2.IMWRITE_JPEG_QUALITY, 95),
    "progressive": encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": encoded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
    "gray": encoded(".jpg", shape=(120, 160)),
    "own tables": encoded(".jpg", cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    "full colour": encoded(".jpg", cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111),
    "png": encoded(".png"),
}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_whole_files(data):
    for whole in (data, data + b"\0" * 40):
        assert decode(whole).shape == (120, 160, 3)
        assert not is_cut(whole)


def test_one_pixel_is_an_image():
    data = encoded(".jpg", shape=(1, 1, 3))
    assert decode(data).shape == (1, 1, 3) and not is_cut(data)


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_cut_files(data, share):
    assert is_cut(data[:int(len(data) * share)])


@pytest.mark.parametrize("name", [name for name in FILES if name != "png"])
def test_every_cut_of_a_jpeg_is_noticed(name):
    data = FILES[name]
    assert all(is_cut(data[:length]) for length in [*range(2, len(data), 37), len(data) - 2, len(data) - 1])


def test_a_thumbnail_does_not_count_as_the_end():
    thumbnail = FILES["restarts"]
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = FILES["baseline"][:2] + segment + FILES["baseline"][2:]
    assert not is_cut(whole)
    assert is_cut(whole[:len(segment) + 2000])


def test_changed_png_is_noticed():
    data = bytearray(FILES["png"])
    data[len(data) // 2] ^= 1
    assert is_cut(bytes(data))


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"no image at all", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image(data):
    assert decode(data) is None


def exif(data, orientation):
    body = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, *[0] * 7])
    return data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


def test_images_are_turned_as_exif_says():
    data = exif(FILES["baseline"], 6)
    assert decode(data).shape == (160, 120, 3) and not is_cut(data)


def without(data, marker):
    """A JPEG file without the first segment that begins with a marker."""
    start = data.index(marker)
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2:start + 4], "big"):]


def changed(data, marker, offset, value):
    """A JPEG file with one byte of the first segment of a marker set; offset 0 is the marker's first byte."""
    start = data.index(marker) + offset
    return data[:start] + bytes([value]) + data[start + 1:]


SOF, SOS, DHT, DQT = b"\xff\xc0", b"\xff\xda", b"\xff\xc4", b"\xff\xdb"


def two_codes_of_one_bit(data):
    """The first Huffman table with as many symbols as before, and a code that cannot be."""
    counts = data.index(DHT) + 5
    longest = max(range(16), key=lambda length: data[counts + length])
    file = bytearray(data)
    file[counts + longest] -= 2
    file[counts] = 2
    return bytes(file)


DAMAGED_HEADERS = {  # each makes a baseline file undecodable
    "no frame": lambda data: without(data, SOF),
    "no quantization table": lambda data: without(data, DQT),
    "lossless frame": lambda data: changed(data, SOF, 1, 0xC3),
    "12 bits a sample": lambda data: changed(data, SOF, 4, 12),
    "no height": lambda data: changed(changed(data, SOF, 5, 0), SOF, 6, 0),
    "two components": lambda data: changed(data, SOF, 9, 2),
    "sampling of 5": lambda data: changed(data, SOF, 11, 0x55),
    "unknown component in the scan": lambda data: changed(data, SOS, 5, 9),
    "table number 9 in the scan": lambda data: changed(data, SOS, 6, 0x99),
    "two codes of one bit": two_codes_of_one_bit,
    "DC symbol 16": lambda data: changed(data, DHT, 21, 16),
}


@pytest.mark.parametrize("damage", DAMAGED_HEADERS.values(), ids=DAMAGED_HEADERS)
def test_damaged_headers_do_not_decode(damage):
    data = damage(FILES["baseline"])
    assert is_cut(data) or decode(data) is None


def test_random_damage_never_raises_anything_unexpected():
    rng, found = np.random.default_rng(0), []
    for number in range(600):
        data = bytearray(FILES[list(FILES)[number % len(FILES)]])
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(2, 700 if rng.random() < 0.8 else len(data)))
            data[place:place + int(rng.integers(0, 3))] = rng.bytes(int(rng.integers(0, 3)))
        try:
            pixels = None if is_cut(bytes(data)) else decode(bytes(data))
        except ImageTooLarge:  # the damage is in the frame header's size
            pixels = None
        found.append(pixels is None)
        assert pixels is None or (pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3)
    assert 100 < sum(found) < 500  # both happened, or nothing was shown


def test_gray_becomes_three_channels():
    data = cv2.imencode(".png", np.full((4, 5), 7, np.uint8))[1].tobytes()
    assert decode(data).shape == (4, 5, 3)


def test_real_images_are_whole(coco_mini):
    files = sorted((coco_mini / "train2017").iterdir())[:20]
    assert files
    assert not any(is_cut(path.read_bytes()) for path in files)
