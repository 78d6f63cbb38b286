import time
import tracemalloc
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from centernet.config.load import load_config
from centernet.data import image_size
from centernet.data.coco import CocoImage
from centernet.data.convert import _read_image
from centernet.data.image_file import decode, read_image
from centernet.data.image_size import ImageTooLarge, allowed_size, set_pixel_limit
from centernet.data.pipeline import load_image
from centernet.errors import UserError

KINDS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")


@pytest.fixture(autouse=True)
def limit(monkeypatch):
    monkeypatch.setattr(image_size, "_limit", 128_000_000)


def encoded(kind, height=30, width=40):
    file = BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(file, kind)
    return file.getvalue()


def claiming(kind, height, width):
    """A small file whose header claims another size."""
    data = bytearray(encoded(kind))
    order, places = {"JPEG": ("big", (data.find(b"\xff\xc0") + 5, data.find(b"\xff\xc0") + 7, 2)),
                     "PNG": ("big", (20, 16, 4)), "BMP": ("little", (22, 18, 4))}[kind]
    for place, value in zip(places, (height, width)):
        data[place:place + places[2]] = value.to_bytes(places[2], order)
    return bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_is_read_from_the_header(kind):
    data = encoded(kind)
    assert allowed_size(data) == (30, 40)
    assert decode(data) is None or decode(data).shape == (30, 40, 3)  # not every OpenCV has GIF
    set_pixel_limit(1199)
    with pytest.raises(ImageTooLarge, match=r"40 x 30 .* more than max_image_pixels 1199|exceeds limit of"):
        decode(data)
    set_pixel_limit(1200)
    assert allowed_size(data) == (30, 40)


@pytest.mark.fault("an image whose header claims 400 million pixels, or a side of 32,767",
                   "JPEG, PNG and BMP files of some hundred bytes", "refused before decoding, with size and limit")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize("height, width, message", [
    (20000, 20000, "20000 x 20000 pixels .* more than max_image_pixels 128000000|exceeds limit of 256000000"),
    (8, 32767, "a side may have at most 32766 pixels")])
def test_a_claim_in_a_header_costs_nothing(tmp_path, kind, height, width, message):
    data = claiming(kind, height, width)
    (tmp_path / "bomb").write_bytes(data)
    image = CocoImage(1, tmp_path / "bomb", "bomb", width, height, np.zeros((0, 4)), np.zeros(0))
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(UserError, match=message):  # training
        load_image(np.frombuffer(data, np.uint8), image.boxes, image.classes, 1)
    if kind != "PNG":  # its checksum is wrong, and that is found first
        with pytest.raises(UserError, match=f"image {tmp_path}/bomb: .*{message}"):  # all commands that read files
            read_image(tmp_path / "bomb")
        assert "max_image_pixels" in _read_image(image)[1]  # the conversion's defect
    assert time.process_time() - start < 0.5 and tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.fault("a JPEG file that hides its size", "a marker without length before a comment with another size",
                   "the size that the decoder takes")
def test_a_marker_without_length_hides_no_size():
    data = claiming("JPEG", 20000, 20000)
    small = b"\xff\xc0\0\x0b\x08\0\x08\0\x08\1\1\x11\0"
    comment = b"\xff\xfe" + (len(small) + 2).to_bytes(2, "big") + small
    with pytest.raises(ImageTooLarge, match="20000 x 20000"):
        allowed_size(data[:2] + b"\xff\x01" + comment + data[2:])


@pytest.mark.fault("an image of which a plugin of Pillow fails", "five kinds of exceptions", "no image; no traceback")
@pytest.mark.parametrize("error", [NotImplementedError, IndexError, KeyError, ZeroDivisionError, EOFError])
def test_faults_of_the_reader_of_headers_are_no_tracebacks(monkeypatch, error):
    def fail(_):
        raise error("unimplemented")
    monkeypatch.setattr(Image, "open", fail)
    assert allowed_size(b"x") is None and decode(b"x") is None


def test_a_texture_of_another_kind_is_no_image():
    data = b"DDS " + (124).to_bytes(4, "little") + bytes(68) + (32).to_bytes(4, "little") + bytes(48)
    assert allowed_size(data) is None


def test_what_has_no_header_is_not_decoded():
    for data in (b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n\0\0", b"#?RADIANCE\n\n-Y 9 +X 9\n", b"BM", b"RIFF\0\0\0\0WEBP"):
        assert allowed_size(data) is None and decode(data) is None


@pytest.mark.fault("damaged image headers", "random bytes are changed or cut", "no size or a size, never a traceback")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_random_damage_raises_nothing_else():
    rng = np.random.default_rng(0)
    set_pixel_limit(1_000_000)
    for number in range(700):
        data = bytearray(encoded(KINDS[number % len(KINDS)], 9, 7))
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(2, min(len(data), 80)))
            data[place:place + int(rng.integers(0, 3))] = rng.bytes(int(rng.integers(0, 3)))
        try:
            found = allowed_size(bytes(data))
        except ImageTooLarge:
            continue
        start = time.process_time()
        pixels = decode(bytes(data))
        assert time.process_time() - start < 0.5, bytes(data)  # no memory for what a damaged length claims
        assert pixels is None or set(pixels.shape[:2]) == set(found)  # EXIF may turn it


def test_the_limit_is_a_setting():
    config = load_config("infer", ["--max_image_pixels", "5"], "")
    assert config.max_image_pixels == 5 and load_config("dataset", [], "").max_image_pixels == 128_000_000
    with pytest.raises(UserError, match="max_image_pixels must be greater than 0"):
        load_config("train", ["--max_image_pixels", "0"], "")


def test_the_decoder_itself_would_take_the_pixels():
    """What the check prevents: OpenCV decodes a grey picture of the size that the header claims."""
    data = np.frombuffer(claiming("JPEG", 2000, 2000), np.uint8)
    assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (2000, 2000, 3)
