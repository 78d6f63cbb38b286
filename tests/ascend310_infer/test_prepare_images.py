"""The C++ preparation of JPEG files against the Python one: every bit."""
import json
import os
import resource
import subprocess

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_coco import make_coco

from centernet.categories import Categories
from centernet.cli import preprocess
from centernet.data.image_file import decode, read_image
from centernet.data.image_size import ImageTooLarge, allowed_size, set_pixel_limit
from centernet.detection.transform import prepare_image
from centernet.errors import UserError
from centernet.spec import ModelSpec


def python_planes(path, shape=(96, 128), to_rgb=False, raw=False):
    spec = ModelSpec(Categories(("disc",), (1,)), (0.40789654, 0.44719302, 0.47026115),
                     (0.28863828, 0.27408164, 0.27809835), "RGB" if to_rgb else "BGR", 4, shape, raw)
    return prepare_image(decode(path.read_bytes()), spec)


def prepared(program, model, folder, out):
    """Name of each result -> float32 array, as the program prepares the JPEG files of a folder."""
    done = program("--prepare_only", model_path=model, input_path=folder, output_path=out)
    assert done.returncode == 0, done.stderr
    return {path.stem: np.fromfile(path, "<f4") for path in (out / "00_data").iterdir()}


def picture(height, width, seed=0):
    """Noise on a gradient: any slip of a pixel or of the rounding shows."""
    ramp = np.linspace(0, 200, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    noise = np.random.default_rng(seed).integers(0, 16, (height, width, 3))
    return (ramp + noise).astype(np.uint8)


@pytest.mark.parametrize("height, width", [(90, 130), (130, 90), (96, 128), (1, 1), (3, 700), (481, 333), (64, 64)])
def test_sizes_give_the_same_bits(program, fake_model, tmp_path, height, width):
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in/000000000007.jpg"), picture(height, width))
    found = prepared(program, fake_model(), tmp_path / "in", tmp_path / "out")
    expected, meta = python_planes(tmp_path / "in/000000000007.jpg")
    assert list(found) == ["7"]
    np.testing.assert_array_equal(found["7"].reshape(expected.shape), expected)
    sidecar = json.loads((tmp_path / "out/meta/7.json").read_text())
    assert sidecar == {"image_id": 7, "file_name": "000000000007.jpg", **json.loads(meta.to_json())}


def test_uint8_models_get_the_pixels(program, fake_model, tmp_path):
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in/7.jpg"), picture(90, 130))
    done = program("--prepare_only", model_path=fake_model(input_dtype="uint8", color_order="RGB"),
                   input_path=tmp_path / "in", output_path=tmp_path / "out")
    assert done.returncode == 0, done.stderr
    found = np.fromfile(tmp_path / "out/00_data/7.bin", np.uint8).reshape(96, 128, 3)
    expected, _ = python_planes(tmp_path / "in/7.jpg", raw=True)
    np.testing.assert_array_equal(found, expected)
    index = json.loads((tmp_path / "out/meta/index.json").read_text())
    assert (index["shape"], index["dtype"], index["layout"], index["color_order"]) == ([96, 128, 3], "uint8", "HWC",
                                                                                       "BGR")


def write_kinds(folder):
    """JPEG files of all kinds that a data set may hold: grey, inks, progressive, subsampled, turned."""
    image = Image.fromarray(picture(61, 87))
    image.save(folder / "1.jpg", quality=95, subsampling=0)
    image.save(folder / "2.jpg", quality=80, subsampling=2, progressive=True)
    image.save(folder / "3.JPEG", quality=80, subsampling=1)
    image.convert("L").save(folder / "4.jpg")
    image.convert("CMYK").save(folder / "5.jpg")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        exif[0x010e] = "a description before it"
        image.save(folder / f"{10 + orientation}.jpg", exif=exif)
    image.save(folder / "20.jpg", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff\x01")  # a directory that ends too early
    # An orientation in big-endian order, alone and behind another APP1 segment, where OpenCV does not see it.
    other = b"\xff\xe1\0\x0ahttp://x"
    turned = b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = (folder / "1.jpg").read_bytes()
    (folder / "21.jpg").write_bytes(data[:2] + turned + other + data[2:])
    (folder / "22.jpg").write_bytes(data[:2] + other + turned + data[2:])


def test_kinds_of_jpeg_give_the_same_bits(program, fake_model, tmp_path):
    (tmp_path / "in").mkdir()
    write_kinds(tmp_path / "in")
    found = prepared(program, fake_model(color_order="RGB"), tmp_path / "in", tmp_path / "out")
    files = list((tmp_path / "in").iterdir())
    assert len(found) == len(files) == 16
    for path in files:
        expected, _ = python_planes(path, to_rgb=True)
        np.testing.assert_array_equal(found[path.stem].reshape(expected.shape), expected, err_msg=path.name)
    assert (found["13"] != found["11"]).any() and (found["21"] != found["1"]).any()


def test_real_images_give_what_preprocess_writes(program, fake_model, coco_mini, tmp_path):
    labels = json.loads((coco_mini / "annotations/instances_val2017.json").read_text())
    model = fake_model(input_shape=(1, 3, 320, 320), categories=_categories(labels))
    assert preprocess.main(["--model_path", str(model), "--val_data_dir", str(coco_mini), "--predict_dir",
                            str(tmp_path / "python")]) == 0
    found = prepared(program, model, coco_mini / "val2017", tmp_path / "out")
    assert len(found) == len(labels["images"])
    for name, planes in found.items():
        assert planes.tobytes() == (tmp_path / f"python/00_data/{name}.bin").read_bytes(), name
        sidecars = [json.loads((tmp_path / side / f"meta/{name}.json").read_text()) for side in ("python", "out")]
        assert sidecars[0] == sidecars[1]


def _categories(labels):
    from centernet.categories import categories_from_json
    return categories_from_json(labels["categories"], "labels")


def test_the_index_has_exactly_the_numbers_of_the_manifest(program, fake_model, tmp_path):
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in/1.jpg"), picture(41, 40))
    mean, std = [0.1 + 0.2, 1 / 3, 2.3e-308], [1 / 7, 2.5e-8, 123456789.123456789]
    prepared(program, fake_model(mean=mean, std=std), tmp_path / "in", tmp_path / "out")
    text = (tmp_path / "out/meta/index.json").read_text()
    assert json.loads(text) == {
        "count": 1, "annotation_file": "", "shape": [3, 96, 128], "dtype": "float32", "byte_order": "little",
        "layout": "CHW", "color_order": "BGR", "mean": mean, "std": std,
        "images": [{"image_id": 1, "file_name": "1.jpg"}]}
    assert text == json.dumps(json.loads(text)) + "\n"


def test_names_that_are_no_image_ids_are_numbered(program, fake_model, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("street.jpg", "12.jpg", 'a "b" ü.jpg'):
        cv2.imwrite(str(tmp_path / "in" / name), picture(40, 40))
    prepared(program, fake_model(), tmp_path / "in", tmp_path / "out")
    index = json.loads((tmp_path / "out/meta/index.json").read_text())
    assert {row["file_name"]: row["image_id"] for row in index["images"]} == {
        "12.jpg": 1, 'a "b" ü.jpg': 2, "street.jpg": 3}


@pytest.mark.fault("a folder with JPEG files and images of other formats (C++)", "two PNG files and a WebP file",
                   "a note says how many are left out; without a JPEG file the folder is refused")
def test_images_of_other_formats_are_left_out_with_a_note(program, fake_model, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("1.jpg", "2.png", "3.PNG", "4.webp"):
        cv2.imwrite(str(tmp_path / "in" / name), picture(40, 40))
    (tmp_path / "in/notes.txt").write_text("")
    words = {"model_path": fake_model(), "input_path": tmp_path / "in", "output_path": tmp_path / "out"}
    done = program("--prepare_only", **words)
    assert done.returncode == 0 and done.stdout.startswith("prepared 1 images")
    assert done.stderr.startswith(f"note: --input_path {tmp_path}/in: images with other suffixes are left out: 3. ")
    assert "takes .jpg and .jpeg files" in done.stderr
    (tmp_path / "in/1.jpg").unlink()
    message = program.fails(2, "--prepare_only", **words)
    assert "has no .bin, .jpg or .jpeg file; its images with other suffixes: 3. Convert them to JPEG" in message


@pytest.mark.fault("files of a killed C++ run", "old .part files", "removed by the next run")
def test_unfinished_files_of_a_killed_run_are_removed(program, fake_model, tmp_path):
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in/1.jpg"), picture(40, 40))
    for name in ("00_data/9.bin.part", "meta/9.json.part", "meta/index.json.part"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(b"unfinished")
    prepared(program, fake_model(), tmp_path / "in", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == ["1.bin", "1.json", "index.json"]


@pytest.mark.fault("an image file above 512 MiB", "a sparse file", "refused, in both languages")
def test_a_file_that_is_too_large_for_an_image_is_not_read(program, fake_model, tmp_path):
    (tmp_path / "in").mkdir()
    with (tmp_path / "in/1.jpg").open("wb") as file:
        file.truncate((1 << 29) + 1)
    message = program.fails(2, "--prepare_only", model_path=fake_model(), input_path=tmp_path / "in",
                            output_path=tmp_path / "out")
    assert "in/1.jpg has 536870913 bytes, at most 536870912 are allowed" in message
    with pytest.raises(UserError, match="image .*in/1.jpg has 536870913 bytes; at most 536870912 are allowed"):
        read_image(tmp_path / "in/1.jpg")


def test_a_name_that_json_cannot_hold_is_refused_before_the_work(program, fake_model, tmp_path):
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in/1.jpg"), picture(40, 40))
    os.rename(tmp_path / "in/1.jpg", os.fsencode(tmp_path / "in") + b"/caf\xe9.jpg")
    message = program.fails(2, "--prepare_only", model_path=fake_model(), input_path=tmp_path / "in",
                            output_path=tmp_path / "out")
    assert "/in/caf\\xe9.jpg: the name is not UTF-8" in message and not (tmp_path / "out").exists()


def test_preprocess_refuses_such_a_name_too(fake_model, tmp_path, capsys):
    make_coco(tmp_path / "coco", 2, split="val", size=(40, 40))
    labels = tmp_path / "coco/annotations/instances_val2017.json"
    values = json.loads(labels.read_text())
    old = tmp_path / "coco/val2017" / values["images"][1]["file_name"]
    values["images"][1]["file_name"] = "caf\udce9.jpg"
    old.rename(old.with_name("caf\udce9.jpg"))
    labels.write_text(json.dumps(values))
    assert preprocess.main(["--model_path", str(fake_model()), "--val_data_dir", str(tmp_path / "coco"),
                            "--predict_dir", str(tmp_path / "out")]) == 2
    assert "caf" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("content, message", [
    (lambda data: data[:len(data) // 2], "2.jpg is cut off after"),
    (lambda data: data[:-2], "2.jpg is cut off after"),
    (lambda data: data[:30], "2.jpg is not a JPEG file that can be decoded"),
    (lambda data: b"", "2.jpg is not a JPEG file that can be decoded"),
    (lambda data: b"GIF89a and more", "2.jpg is not a JPEG file that can be decoded: Not a JPEG file"),
])
def test_a_damaged_image_is_named_and_the_set_stays_incomplete(program, fake_model, tmp_path, content, message):
    (tmp_path / "in").mkdir()
    for number in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"in/{number}.jpg"), picture(60, 80))
    prepared(program, fake_model(), tmp_path / "in", tmp_path / "out")
    damaged = tmp_path / "in/2.jpg"
    damaged.write_bytes(content(damaged.read_bytes()))
    assert message in program.fails(2, "--prepare_only", model_path=fake_model(), input_path=tmp_path / "in",
                                    output_path=tmp_path / "out")
    assert not (tmp_path / "out/meta/index.json").exists()


def claiming(data, height, width):
    """A JPEG file whose header claims another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[at + 4:]


@pytest.mark.fault("an image whose header claims too many pixels (C++)", "JPEG headers with such sizes",
                   "refused before decoding, the same limit as in Python")
@pytest.mark.parametrize("height, width, flags, message", [
    (32767, 32767, {}, "32767 x 32767 pixels (width x height) are more than 128000000"),
    (8, 32767, {}, "32767 x 8 pixels (width x height): a side may have at most 32766"),
    (40, 40, {"max_image_pixels": 1599}, "40 x 40 pixels (width x height) are more than 1599"),
    (40, 40, {"max_image_pixels": 1600}, None)])
def test_a_size_beyond_the_limit_is_refused_before_the_pixels(program, fake_model, tmp_path, height, width, flags,
                                                              message):
    """The program and Python have the same limits. A decoder would take 3 GB for the first file."""
    (tmp_path / "in").mkdir()
    data = claiming(cv2.imencode(".jpg", picture(40, 40))[1].tobytes(), height, width)
    (tmp_path / "in/1.jpg").write_bytes(data)
    done = subprocess.run([program.path, "--prepare_only", "--model_path", fake_model(), "--input_path",
                           tmp_path / "in", "--output_path", tmp_path / "out",
                           *(str(word) for name, value in flags.items() for word in (f"--{name}", value))],
                          capture_output=True, text=True,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)))
    if message is None:
        assert done.returncode == 0 and allowed_size(data) == (40, 40), done
    else:
        assert done.returncode == 2 and f"in/1.jpg: {message}" in done.stderr, done
        set_pixel_limit(flags.get("max_image_pixels", 128_000_000))
        with pytest.raises(ImageTooLarge):
            allowed_size(data)
    set_pixel_limit(128_000_000)
