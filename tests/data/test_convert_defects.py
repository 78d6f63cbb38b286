"""What a conversion leaves out or refuses: damaged images and wrong annotations."""
import os

import cv2
import pytest
from PIL import Image
from tiny_coco import edit, make_coco

from centernet.cli.convert_dataset import main
from centernet.data.image_file import decode
from centernet.errors import UserError
from tests.data.conversions import rows, run


def snapshot(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def damage(coco):
    """One defect of each kind; leaves images 105, 106 and 107 with 3 boxes each."""
    folder = coco / "train2017"
    cut(folder / "000000.jpg")
    (folder / "000001.jpg").unlink()
    (folder / "000002.jpg").write_bytes(b"")
    (folder / "000003.jpg").write_bytes(b"GIF? no")
    annotation_file = coco / "annotations/instances_train2017.json"

    def change(document):
        document["images"][4]["width"] = 129
        first = document["annotations"][-1]
        document["images"].append(dict(document["images"][5]))
        document["annotations"] += [{**first, "id": 901, "bbox": [0, 0, float("nan"), 3]},
                                    {**first, "id": 902, "category_id": 4}, {**first, "id": 903, "image_id": 4},
                                    {**first, "id": 904, "bbox": [300, 0, 5, 5]}]
        document["annotations"][0]["id"] = document["annotations"][1]["id"]
    edit(annotation_file, change)


KINDS = ["cut off or damaged", "image file missing", "0 bytes", "not an image", "another size", "image id used twice",
         "NaN", "unknown category", "unknown image", "without area", "annotation id used twice"]


def test_defects_are_left_out_and_listed(tmp_path):
    make_coco(tmp_path / "coco", num_images=8, boxes_per_image=3, size=(48, 128))
    damage(tmp_path / "coco")
    summary = run(tmp_path / "coco", tmp_path / "out")
    table = "\n".join(summary.lines())
    assert all(kind in table for kind in KINDS), table
    assert summary.image_ids == (105, 106, 107)
    assert sum(summary.boxes) == 9
    assert len(rows(tmp_path / "out")) == 3


def test_strict_lists_all_defects_and_writes_nothing(tmp_path):
    make_coco(tmp_path / "coco", num_images=8, size=(48, 128))
    damage(tmp_path / "coco")
    with pytest.raises(UserError) as caught:
        run(tmp_path / "coco", tmp_path / "out", strict=True)
    annotated = ("missing", "0 bytes", "NaN", "unknown category", "unknown image", "without area", "used twice")
    assert all(kind in str(caught.value) for kind in annotated), caught.value
    assert not (tmp_path / "out").exists()


def test_strict_finds_defects_of_pixels_and_keeps_the_old_set(coco, tmp_path):
    run(coco, tmp_path / "out")
    before = snapshot(tmp_path / "out")
    cut(coco / "train2017/000002.jpg")
    with pytest.raises(UserError, match="1 defect.*nothing was written(.|\n)*id 102: 000002.jpg"):
        run(coco, tmp_path / "out", strict=True)
    assert snapshot(tmp_path / "out") == before
    assert run(coco, tmp_path / "out").image_ids == (100, 101, 103, 105)


def rewrite(path, change):
    path.write_bytes(change(path.read_bytes()))


def zeros_in_the_scan(data):
    middle = data.index(b"\xff\xda") + 500
    return data[:middle] + bytes(300) + data[middle + 300:]


def test_damaged_and_unusual_files_are_judged_by_the_decoder_of_training(tmp_path):
    make_coco(tmp_path / "coco", num_images=10, size=(128, 96))
    files = sorted((tmp_path / "coco/train2017").iterdir())
    turned = b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    rewrite(files[0], lambda data: data[:-1])
    rewrite(files[1], lambda data: data.replace(b"\xff\xdb", b"\xff\xe5"))  # no quantization tables
    rewrite(files[2], lambda data: data[:2] + turned + data[2:])
    rewrite(files[3], lambda data: data[:300] + data[-300:])  # without most of its header
    rewrite(files[4], lambda data: data[:len(data) // 2] + b"\xff\xd9")  # cut, and ended again: nobody can tell
    rewrite(files[5], lambda data: data + b"garbage")
    kinds = (files[6], cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (files[7], cv2.IMWRITE_JPEG_RST_INTERVAL, 3)
    for path, option, value in kinds:
        cv2.imwrite(str(path), cv2.imread(str(path)), [option, value])
    Image.open(files[8]).convert("CMYK").save(files[8])
    Image.open(files[9]).resize((95, 128)).save(files[9])
    summary = run(tmp_path / "coco", tmp_path / "out")
    assert summary.image_ids == (102, 104, 105, 106, 107, 108)
    assert list(summary.report.notes.counts.values()) == [1]  # the stored pixels of 102 fit its entry
    assert summary.defects.counts == {"image file cut off or damaged": 1,
                                      "image file that is not an image, or damaged": 2,
                                      "image of another size than its entry says (rotated by EXIF?)": 1}


def test_warnings_of_the_decoder_do_not_reach_the_terminal(coco, tmp_path, capfd):
    path = coco / "train2017/000001.jpg"
    rewrite(path, zeros_in_the_scan)
    decode(path.read_bytes())
    assert "Corrupt JPEG data" in capfd.readouterr().err  # else this test shows nothing
    assert len(run(coco, tmp_path / "out").image_ids) == 5  # such damage is below what a decoder refuses
    assert "JPEG" not in capfd.readouterr().err
    os.write(2, b"as before")
    assert "as before" in capfd.readouterr().err


def test_strict_accepts_a_clean_set(coco, tmp_path):
    assert len(run(coco, tmp_path / "out", strict=True).image_ids) == 5


def test_nothing_to_write(tmp_path):
    make_coco(tmp_path / "coco", num_images=2)
    for path in (tmp_path / "coco/train2017").iterdir():
        cut(path)
    with pytest.raises(UserError, match="no image with a box is left(.|\n)*cut off"):
        run(tmp_path / "coco", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_wrong_folder_of_images_is_asked_for(tmp_path, capsys):
    """With most images missing, a table line is not enough."""
    annotations = make_coco(tmp_path, num_images=5)
    for path in sorted((tmp_path / "train2017").iterdir())[:3]:
        path.unlink()
    flags = ["--device_target", "CPU", "--shard_num", "1", "--mindrecord_dir", str(tmp_path / "shards")]
    assert main(["--annotation_file", str(annotations), "--image_dir", str(tmp_path / "train2017"), *flags]) == 0
    assert "3 images are missing and 2 were found. Is the folder of images right?" in capsys.readouterr().out
