"""YOLO: lines of label files, and the names in its data.yaml, lists and files of names."""
import numpy as np
import pytest

from centernet.data.coco import read_data
from centernet.data.image_file import SUFFIXES
from centernet.data.layouts.found import read_layout
from centernet.errors import UserError
from tests.data.layouts.makers import HEIGHT, NAMES, WIDTH, imports, make_images, make_yolo, random_boxes, write


@pytest.mark.parametrize("line, kind", [
    ("0 0.5 0.5", "not: class x y"), ("7 0.5 0.5 0.1 0.1", "class that is not from 0 to 1"),
    ("0 48 32 9 9", "numbers outside of 0..1"), ("0 0.5 0.5 0 0.1", "without area"), ("0 0.5 0.5 nan 1", "not: class"),
    ("x", "not: class"), ("0 0.1 0.1 0.2 0.2 0.9", "not: class"), ("", ""), ("1 .1 .1 .5 .1 .3 .4", "")])
def test_lines_of_yolo(tmp_path, line, kind):
    make_yolo(tmp_path, {**random_boxes(), "t3": []})
    write(tmp_path, "train/labels/t3.txt", line)
    (tmp_path / "train/labels/t1.txt").unlink()
    imported = read_layout(tmp_path)
    assert kind in "".join(imported.report.defects.counts) and bool(kind) == bool(imported.report.defects.counts)
    boxes = {picture.path.stem: picture.boxes for picture in imported.pictures}
    assert boxes["t1"] == () and imported.report.notes.counts.pop(
        "image without label file: taken as an image without objects") == 1
    if line.startswith("1"):
        np.testing.assert_allclose(boxes["t3"][0].corners, (.1 * WIDTH, .1 * HEIGHT, .5 * WIDTH, .4 * HEIGHT))


def test_names_files_of_yolo_and_images_beside_their_labels(tmp_path):
    make_images(tmp_path, ["a.png", "b.png"])
    write(tmp_path, "a.txt", "1 0.5 0.5 0.5 0.5\n")
    write(tmp_path, "classes.txt", "dot\nring\n")
    imported = read_layout(tmp_path)
    assert imported.names == NAMES and [len(picture.boxes) for picture in imported.pictures] == [1, 0]
    write(tmp_path, "classes.txt", "dot\ndot\n")
    with pytest.raises(UserError, match="classes.txt: names must be a list of different names"):
        read_layout(tmp_path)


@pytest.mark.parametrize("names, found", [
    ("[yes, 'no']", "names has yes, which is True in YAML and no text. Write the name in quotes: 'yes'"),
    ("[a, 007]", "names has 007, which is 7 in YAML"), ("[a, 1.0]", "names has 1.0, which is 1.0 in YAML"),
    ("[a, 0x1f]", "names has 0x1f, which is 31 in YAML"), ("[a, ~]", "names has ~, which is None in YAML"),
    ("{0: a, 1: }", "names has an empty value, which is None in YAML"), ("{1: off, 0: a}", "names has off, which is"),
    ("[a, [b]]", "names must be a list of different names")])
def test_names_that_yaml_takes_for_other_values_are_refused(tmp_path, names, found):
    make_yolo(tmp_path, random_boxes())
    write(tmp_path, "data.yaml", f"names: {names}\ntrain: train/images\nval: val/images\n")
    with pytest.raises(UserError, match=f"data.yaml: {found}"):
        read_layout(tmp_path)


@pytest.mark.parametrize("names, found", [
    ("['yes', \"no\", '007', '1.0']", ("yes", "no", "007", "1.0")), ("[0, 1, 10, -7]", ("0", "1", "10", "-7")),
    ("{1: 2001-01-01, 0: 3}", ("3", "2001-01-01"))])
def test_names_that_stay_as_they_are(tmp_path, names, found):
    make_yolo(tmp_path, random_boxes())
    write(tmp_path, "data.yaml", f"names: {names}\ntrain: train/images\nval: val/images\n")
    assert read_layout(tmp_path).names == found


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_folders_are_searched_for_all_images_that_can_be_decoded(tmp_path, suffix):
    write(tmp_path, "classes.txt", "dot\n")
    make_images(tmp_path / "images", ["1.png"])
    (tmp_path / "images/1.png").rename(tmp_path / f"images/1{suffix}")
    write(tmp_path, "images/1.txt", "0 0.5 0.5 0.5 0.5\n")
    assert [picture.path.name for picture in read_layout(tmp_path).pictures] == [f"1{suffix}"]


def test_names_that_are_not_utf8(tmp_path):
    make_images(tmp_path, ["a.png"])
    write(tmp_path, "a.txt", "1 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_bytes("dot\nrond\xe9\n".encode("latin-1"))
    assert imports("--data", tmp_path, "--val_share", "0") == 2  # one image without a split
    assert read_layout(tmp_path).names == ("dot", "rond\N{REPLACEMENT CHARACTER}")


def test_yolo_counts_from_the_image_as_exif_turns_it(tmp_path):
    from PIL import Image

    make_yolo(tmp_path, {"v1": random_boxes()["v1"]})
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "train/images").mkdir(parents=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "train/images/t1.jpg", exif=exif)
    write(tmp_path, "train/labels/t1.txt", "0 0.5 0.5 1 1\n")
    picture = read_layout(tmp_path).pictures[0]
    assert (picture.width, picture.height) == (HEIGHT, WIDTH) == picture.boxes[0].corners[2:]
    assert read_data(str(tmp_path), "train").images[0].width == HEIGHT


@pytest.mark.parametrize("key", ["path", "train", "list", "zero"])
def test_names_in_files_of_yolo_that_no_file_can_have(tmp_path, key):
    make_yolo(tmp_path, random_boxes())
    long = "x" * 300
    text = {"path": f"path: {long}\ntrain: train/images", "train": f"train: [train/images, {long}]",
            "list": "train: train.txt", "zero": 'train: [train/images, "a\\0b"]'}[key]
    write(tmp_path, "data.yaml", f"names: [dot, ring]\n{text}\nval: val/images\n")
    write(tmp_path, "train.txt", f"train/images/t1.png\n{long}.png\ntrain/images/t2.png\na\0b.png\n")
    imported = read_layout(tmp_path)
    assert len(imported.pictures) == 3
    assert imported.report.defects.counts == ({"image file missing": 2} if key == "list" else {})


@pytest.mark.parametrize("line", ["0 48 32 9 9", "0 0.5 0.5 0.2 0.2 0.9", "0 0,5 0,5 0,2 0,2", "dot 0.5 0.5 0.2 0.2",
                                  ""])
def test_a_data_set_without_a_usable_box_is_refused(tmp_path, line):
    make_yolo(tmp_path, random_boxes())
    for path in tmp_path.glob("*/labels/*.txt"):
        path.write_text(line)
    counted = "\n +[1-9]" if line else ""
    with pytest.raises(UserError, match=f"is in YOLO's layout .*, but has no usable box:{counted}"):
        read_layout(tmp_path)
