import cv2
import numpy as np
import pytest

from centernet.data.image_file import decode, is_cut


def encoded(suffix, *options):
    pixels = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8), (7, 7), 3)
    done, data = cv2.imencode(suffix, pixels, options)
    assert done
    return data.tobytes()


FILES = {
    "baseline": encoded(".jpg", cv2.IMWRITE_JPEG_QUALITY, 95),
    "progressive": encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": encoded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
    "png": encoded(".png"),
}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_whole_files(data):
    assert decode(data).shape == (120, 160, 3)
    assert not is_cut(data)
    assert not is_cut(data + b"\0" * 40)


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_cut_files(data, share):
    assert is_cut(data[:int(len(data) * share)])


def test_every_cut_of_a_jpeg_is_noticed():
    data = FILES["baseline"]
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


def test_gray_becomes_three_channels():
    data = cv2.imencode(".png", np.full((4, 5), 7, np.uint8))[1].tobytes()
    assert decode(data).shape == (4, 5, 3)


def test_real_images_are_whole(coco_mini):
    files = sorted((coco_mini / "train2017").iterdir())[:20]
    assert files
    assert not any(is_cut(path.read_bytes()) for path in files)
