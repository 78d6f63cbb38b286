"""Image files that are readable but not as they look: turned by EXIF, 16 bit, other formats."""
import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_coco import edit, make_coco

from centernet.data.coco import read_coco
from centernet.data.convert import convert
from centernet.data.image_file import decode, foreign_format, is_dark, read_image
from centernet.data.orientation import DARK, STORED, displayed_size, in_frame, read_annotated, without_orientation
from centernet.errors import UserError
from centernet.evaluation.inputs import find_inputs
from tests.data.conversions import rows


def turned(orientation, size=(96, 128)):
    """A JPEG file of (height, width) stored pixels with an EXIF orientation; white at the top left."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", orientation
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[:16, :16] = 255
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif.tobytes())
    return file.getvalue()


def tiff(orientation, order=">", kind=3):
    """EXIF data with an orientation, as one number of 16 bit (kind 3) or 32 bit (kind 4)."""
    value = struct.pack(f"{order}HH", orientation, 0) if kind == 3 else struct.pack(f"{order}I", orientation)
    return ((b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIHHHI", 42, 8, 1, 0x0112, kind, 1) + value
            + bytes(4))


def jpeg(*segments):
    """A JPEG file of 64 x 96 stored pixels (height, width) with these APP1 segments."""
    data = cv2.imencode(".jpg", np.zeros((64, 96, 3), np.uint8))[1].tobytes()
    return data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in segments) + data[2:]


def png(*chunks, last=False):
    """A PNG file of 64 x 96 stored pixels with these eXIf chunks, before or behind the pixels."""
    data = cv2.imencode(".png", np.zeros((64, 96, 3), np.uint8))[1].tobytes()
    place, names = len(data) - 12 if last else 33, [b"eXIf" + body for body in chunks]
    return data[:place] + b"".join(struct.pack(">I", len(name) - 4) + name + struct.pack(">I", zlib.crc32(name))
                                   for name in names) + data[place:]


EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0<x/>"
FILES = {"jpeg": jpeg(EXIF + tiff(6)), "jpeg little endian": jpeg(EXIF + tiff(8, "<")), "jpeg plain": jpeg(),
         "jpeg XMP first": jpeg(XMP, EXIF + tiff(6)), "jpeg EXIF first": jpeg(EXIF + tiff(6), XMP),
         "jpeg two": jpeg(EXIF + tiff(1), EXIF + tiff(6)), "jpeg empty first": jpeg(b"", EXIF + tiff(6)),
         "jpeg 32 bit": jpeg(EXIF + tiff(6, "<", 4)), "jpeg 32 bit big endian": jpeg(EXIF + tiff(6, ">", 4)),
         "jpeg 9": jpeg(EXIF + tiff(9)), "jpeg no TIFF": jpeg(EXIF + b"MM\0+" + tiff(6)[4:]),
         "png": png(tiff(6)), "png little endian": png(tiff(5, "<")), "png plain": png(),
         "png last": png(tiff(6), last=True),
         "png two": png(tiff(6), tiff(1)), "png upright": png(tiff(3)), "png no TIFF": png(EXIF + tiff(6))}


@pytest.mark.parametrize("data", FILES.values(), ids=list(FILES))
def test_the_size_is_that_of_opencv(data):
    pixels = decode(data)
    assert displayed_size(data, (64, 96)) == pixels.shape[:2]
    stored = without_orientation(data)
    assert decode(stored).shape[:2] == (64, 96) and len(stored) == len(data)
    if pixels.shape[:2] != (64, 96):
        assert in_frame(data, pixels, 96, 64)[1].shape == (64, 96, 3)
        assert displayed_size(stored, (64, 96)) == (64, 96)


def test_the_first_bytes_of_a_png_file_do_not_say_its_size():
    assert displayed_size(png(tiff(6), last=True)[:60], (64, 96)) is None
    assert displayed_size(png(tiff(6))[:100], (64, 96)) == (96, 64)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_annotations_of_the_stored_pixels_get_them(orientation):
    data = turned(orientation)
    upright = decode(data)
    assert upright.shape == (128, 96, 3)
    stored, pixels = in_frame(data, upright, 128, 96)
    assert pixels.shape == (96, 128, 3) and pixels[:16, :16].min() > 200
    np.testing.assert_array_equal(decode(stored), pixels)  # the shard has the same frame
    assert len(stored) == len(data) and sum(a != b for a, b in zip(stored, data)) == 1
    for width, height in ((96, 128), (128, 97)):
        assert in_frame(data, upright, width, height) == (data, upright) or in_frame(
            data, upright, width, height)[1] is upright


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\0\x08Exif\0\0", turned(6)[:60], b"no image",
                                  b"\xff\xd8\xff\xe1\0\x20Exif\0\0II*\0\xff\xff\xff\xff"])
def test_files_without_an_orientation_stay(data):
    assert without_orientation(data) == data


@pytest.mark.fault("images with an EXIF orientation", "annotations of the stored and of the rotated pixels",
                   "conversion and evaluation take the same frame")
def test_conversion_and_evaluation_take_the_same_frame(tmp_path):
    path = make_coco(tmp_path, num_images=1)
    file = tmp_path / "train2017/000000.jpg"
    file.write_bytes(turned(6))
    dataset = read_coco(path, tmp_path / "train2017")
    (image,) = dataset.images
    summary, found = convert(dataset, tmp_path / "stored", "tiny", 1), []
    (row,) = rows(tmp_path / "stored")
    pixels = read_annotated(image.path, image.width, image.height, found)
    assert not summary.defects.counts and summary.report.notes.counts == {STORED: 1}
    assert [kind for kind, _ in found] == [STORED]
    np.testing.assert_array_equal(decode(row["image"].tobytes()), pixels)
    edit(path, lambda document: document["images"][0].update(width=96, height=128))  # the upright frame
    summary = convert(read_coco(path, tmp_path / "train2017"), tmp_path / "upright", "tiny", 1)
    (row,) = rows(tmp_path / "upright")
    assert row["image"].tobytes() == file.read_bytes()
    assert not summary.defects.counts and not summary.report.notes.counts


@pytest.mark.fault("12-bit images in 16-bit files", "images that use a small part of the range", "they are named")
@pytest.mark.parametrize("largest, kind, dark", [(4095, np.uint16, True), (40000, np.uint16, False),
                                                 (40, np.uint8, False)])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_dark_images_of_16_bit(tmp_path, largest, kind, dark, suffix):
    pixels = np.linspace(0, largest, 96 * 128).reshape(96, 128).astype(kind)
    data = cv2.imencode(suffix, pixels)[1].tobytes()
    assert is_dark(data) == dark
    path = make_coco(tmp_path, num_images=1)
    (tmp_path / f"train2017/x{suffix}").write_bytes(data)
    edit(path, lambda document: document["images"][0].update(file_name=f"x{suffix}"))
    summary = convert(read_coco(path, tmp_path / "train2017"), tmp_path / "shards", "tiny", 1)
    assert len(summary.image_ids) == 1 and summary.defects.counts == ({DARK: 1} if dark else {})


FOREIGN = {"GIF": b"GIF89a......", "AVIF": b"\0\0\0\x20ftypavif", "HEIC": b"\0\0\0\x20ftypheic", "PDF": b"%PDF-1.7",
           "JPEG XL": b"\xff\x0a......", "SVG": b"<?xml version='1.0'?><svg/>", "": b"\0\0\0\x20ftypisom"}


@pytest.mark.parametrize("name, data", FOREIGN.items(), ids=[name or "other" for name in FOREIGN])
def test_other_formats_are_named(tmp_path, name, data):
    assert foreign_format(data) == name
    (tmp_path / "x.jpg").write_bytes(data)
    with pytest.raises(UserError, match=f"in the format {name}, which is not supported: convert it" if name else
                       "is not an image file that OpenCV can decode"):
        read_image(tmp_path / "x.jpg")


def test_files_that_are_passed_over_are_said(tmp_path, caplog):
    for name in ("a.jfif", "b.gif", "c.txt", "d.JPG", "e.avif", "f.heic"):
        (tmp_path / name).write_bytes(b"1")
    assert [path.name for path in find_inputs([str(tmp_path)]).images] == ["a.jfif", "d.JPG"]
    assert "4 files have no suffix of an image" in caplog.text and "b.gif, c.txt, e.avif, ..." in caplog.text


def test_a_dark_image_is_an_error_of_a_strict_conversion(tmp_path):
    path = make_coco(tmp_path, num_images=2)
    cv2.imwrite(str(tmp_path / "train2017/x.png"), np.full((96, 128), 1000, np.uint16))
    edit(path, lambda document: document["images"][0].update(file_name="x.png"))
    dataset = read_coco(path, tmp_path / "train2017")
    with pytest.raises(UserError, match="1 defect.*nothing was written(.|\n)*nearly black"):
        convert(dataset, tmp_path / "out", "dark", 1, strict=True)
