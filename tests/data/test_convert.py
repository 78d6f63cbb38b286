import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import mindspore.dataset as ds
import numpy as np
import pytest
from mindspore.mindrecord import FileWriter
from PIL import Image
from tiny_coco import CATEGORIES, edit, make_coco

from centernet.cli.convert_dataset import main
from centernet.data.coco import CocoImage, locate, read_coco
from centernet.data.convert import LARGEST_IMAGE, _page_size, _read_image, convert
from centernet.data.image_file import decode
from centernet.data.mindrecord import open_shards, shard_files
from centernet.errors import UserError
from centernet.owner import OWNER, owned

ROOT = Path(__file__).parents[2]


def run(coco, out, **options):
    return convert(read_coco(*locate(str(coco), "train")), out, "tiny", **{"shard_num": 2, **options})


def rows(folder, prefix="tiny"):
    files = [str(path) for path in shard_files(folder, prefix)]
    return list(ds.MindDataset(files, shuffle=False).create_dict_iterator(num_epochs=1, output_numpy=True))


def snapshot(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.fixture
def coco(tmp_path):
    make_coco(tmp_path / "coco", num_images=6, empty=(4,))
    return tmp_path / "coco"


def test_rows_hold_the_untouched_files_and_boxes(coco, tmp_path):
    summary = run(coco, tmp_path / "out", shard_num=3)
    dataset = {image.id: image for image in read_coco(*locate(str(coco), "train")).images}
    read = rows(tmp_path / "out")
    assert sorted(int(row["img_id"][0]) for row in read) == [100, 101, 102, 103, 105]
    for row in read:
        image = dataset[int(row["img_id"][0])]
        assert row["image"].tobytes() == image.path.read_bytes()
        assert int(row["num_objects"]) == 3
        np.testing.assert_array_equal(row["bboxes"], image.boxes)
        np.testing.assert_array_equal(row["category_id"], image.classes + 1)
        assert (row["img_id"].dtype, row["bboxes"].dtype, row["category_id"].dtype) == (np.int32, np.float32, np.int32)
    assert (len(summary.image_ids), sum(summary.boxes), summary.empty) == (5, 15, 1)


def test_info_file_and_names(coco, tmp_path):
    run(coco, tmp_path / "out", shard_num=8)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted([f"tiny{k}{end}" for k in range(8) for end in ("", ".db")] + ["tiny.info.json"])
    assert len({path.stat().st_mode for path in (tmp_path / "out").iterdir()}) == 1
    info = json.loads((tmp_path / "out/tiny.info.json").read_text())
    assert info["categories"] == [{"id": number, "name": name} for number, name in CATEGORIES]
    assert (info["complete"], info["images"], info["objects"]) == (True, 5, 15)
    assert info["source"]["annotation_file"].endswith("instances_train2017.json")
    shards = open_shards(tmp_path / "out", "tiny", (), 0)
    assert (len(shards.files), shards.num_images, shards.categories.ids) == (8, 5, (1, 7, 90))


@pytest.mark.parametrize("shard_num", [1, 12])
def test_one_shard_and_two_digits(coco, tmp_path, shard_num):
    run(coco, tmp_path / "a folder", shard_num=shard_num, keep_empty=True)
    shards = open_shards(tmp_path / "a folder", "tiny", (), 0)
    assert (len(shards.files), shards.num_images) == (shard_num, 6)
    assert len(rows(tmp_path / "a folder")) == 6


def test_shards_get_equal_shares(tmp_path):
    make_coco(tmp_path / "coco", num_images=80, size=(32, 32), boxes_per_image=1)
    run(tmp_path / "coco", tmp_path / "out", shard_num=5)
    counts = [ds.MindDataset([str(path)]).get_dataset_size() for path in shard_files(tmp_path / "out", "tiny")]
    assert counts == [16] * 5


def test_large_and_small_images_choose_the_page():
    assert _page_size([100] * 8, 8) == 1 << 18
    assert _page_size([200_000] * 118_000, 8) == 1 << 23
    assert _page_size([40 << 20, 5], 8) == 1 << 27
    assert _page_size([1 << 40], 1) == 1 << 28
    assert _page_size([], 8) == 1 << 18


def test_an_image_of_40_mb_is_written(tmp_path):
    make_coco(tmp_path / "coco", num_images=2)
    path = tmp_path / "coco/train2017/000000.jpg"
    path.write_bytes(path.read_bytes() + bytes(40 << 20))
    run(tmp_path / "coco", tmp_path / "out")
    assert max(row["image"].nbytes for row in rows(tmp_path / "out")) > 40 << 20


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(LARGEST_IMAGE + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("the file was read"))
    image = CocoImage(1, path, path.name, 8, 8, np.zeros((0, 4)), np.zeros(0))
    assert _read_image(image) == (b"", "image file of more than 128 MB", "")


def test_keep_empty(coco, tmp_path):
    assert run(coco, tmp_path / "out", keep_empty=True).empty == 0
    empty = [row for row in rows(tmp_path / "out") if int(row["img_id"][0]) == 104]
    assert [int(row["num_objects"]) for row in empty] == [0]


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


def test_interruption_leaves_nothing(coco, tmp_path, monkeypatch, capfd):
    def interrupt(data):
        raise KeyboardInterrupt
    monkeypatch.setattr("centernet.data.convert.decode_whole", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(coco, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    os.write(2, b"as before")
    assert "as before" in capfd.readouterr().err


def test_order_and_contents_over_several_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("centernet.data.convert.CHUNK", 4)
    make_coco(tmp_path / "coco", num_images=23, size=(32, 32))
    summary = run(tmp_path / "coco", tmp_path / "out", shard_num=3)
    assert summary.image_ids == tuple(range(100, 123))
    contents = {int(row["img_id"][0]): row["image"].tobytes() for row in rows(tmp_path / "out")}
    assert contents == {100 + number: path.read_bytes() for number, path in
                        enumerate(sorted((tmp_path / "coco/train2017").iterdir()))}


def test_strict_accepts_a_clean_set(coco, tmp_path):
    assert len(run(coco, tmp_path / "out", strict=True).image_ids) == 5


def test_nothing_to_write(tmp_path):
    make_coco(tmp_path / "coco", num_images=2)
    for path in (tmp_path / "coco/train2017").iterdir():
        cut(path)
    with pytest.raises(UserError, match="no image with a box is left(.|\n)*cut off"):
        run(tmp_path / "coco", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_fewer_shards_than_before_leave_no_stale_ones(coco, tmp_path):
    run(coco, tmp_path / "out", shard_num=12)
    (tmp_path / "out/tiny_other0").write_text("not a shard of this prefix")
    run(coco, tmp_path / "out", shard_num=2)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"tiny0", "tiny0.db", "tiny1", "tiny1.db", "tiny.info.json", "tiny_other0"}
    assert open_shards(tmp_path / "out", "tiny", (), 0).num_images == 5


def test_a_dropped_row_is_noticed(coco, tmp_path, monkeypatch):
    write = FileWriter.write_raw_data
    monkeypatch.setattr(FileWriter, "write_raw_data",
                        lambda self, data: write(self, [row for row in data if row["img_id"][0] != 101]))
    with pytest.raises(UserError, match="contain only 4 of 5"):
        run(coco, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("options, words", [({"prefix": "a/b"}, "--mindrecord_prefix"),
                                            ({"prefix": ""}, "--mindrecord_prefix"),
                                            ({"shard_num": 1001}, "--shard_num 1001")])
def test_arguments(coco, tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        convert(read_coco(*locate(str(coco), "train")), tmp_path / "out", **{"prefix": "tiny", **options})


@pytest.mark.fault("two conversions into one folder", "a second conversion starts",
                   "it ends at its start, with the process that owns the folder")
def test_two_conversions_do_not_write_the_same_shards(coco, tmp_path):
    with owned(tmp_path / "out", "--mindrecord_dir", f".tiny{OWNER}"), \
            pytest.raises(UserError, match="--mindrecord_dir .*: process .* writes to this folder"):
        run(coco, tmp_path / "out")
    assert len(run(coco, tmp_path / "out").image_ids) == 5
    (tmp_path / "other").mkdir()
    with owned(tmp_path / "other", "--mindrecord_dir", f".other{OWNER}"):
        assert len(run(coco, tmp_path / "other").image_ids) == 5


@pytest.mark.fault("a disk that is too small for the shards", "the system reports 1 kB of free space",
                   "refused before the first image, with both sizes")
def test_a_disk_that_is_too_small_is_told_before(coco, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(UserError, match=r"--mindrecord_dir .*/out: the shards take \d+\.\d kB, but only 1.0 kB"):
        run(coco, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_folder_that_is_a_file(coco, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="--mindrecord_dir .*is a file: name a folder"):
        run(coco, tmp_path / "out")


KILL = """
    import os, signal, sys
    sys.path.insert(0, {root!r})
    from centernet.device import prepare_environment
    prepare_environment()
    from pathlib import Path
    import centernet.data.convert as module
    from centernet.data.coco import locate, read_coco
    calls = 0
    def die(*arguments):
        global calls
        calls += 1
        if calls > {calls}:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)
    original = {target}
    {target} = die
    module.convert(read_coco(*locate({coco!r}, "train")), Path({out!r}), "tiny", 2)
"""


def killed_conversion(coco, out, target, calls):
    code = textwrap.dedent(KILL).format(root=str(ROOT), coco=str(coco), out=str(out), target=target, calls=calls)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr


# While rows are written; before the move (2 shards are done and indexed); at the 1st, 3rd and last move.
@pytest.mark.parametrize("target, calls", [("module.decode_whole", 3), ("module._verify_rows", 0),
                                           *(("module.os.replace", calls) for calls in (1, 3, 5))])
def test_killed_first_conversion_is_refused_and_rerun_works(coco, tmp_path, target, calls):
    out = tmp_path / "out"
    killed_conversion(coco, out, target, calls)
    assert list(out.iterdir())
    with pytest.raises(UserError, match="interrupted"):
        open_shards(out, "tiny", ("disc", "frame", "cross"), 3)
    run(coco, out)
    assert open_shards(out, "tiny", (), 0).num_images == 5
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_killed_replacement(coco, tmp_path):
    out = tmp_path / "out"
    run(coco, out, shard_num=4)
    killed_conversion(coco, out, "module._verify_rows", 0)
    assert len(open_shards(out, "tiny", (), 0).files) == 4  # the old set is still whole
    killed_conversion(coco, out, "module.os.replace", 3)
    with pytest.raises(UserError, match="interrupted while it replaced"):
        open_shards(out, "tiny", (), 0)
    run(coco, out)
    assert len(open_shards(out, "tiny", (), 0).files) == 2


def test_entry_prints_the_table(coco, tmp_path, capsys):
    assert main(["--coco_data_dir", str(coco), "--mindrecord_dir", str(tmp_path / "out"), "--shard_num", "2",
                 "--keep_empty", "true"]) == 0
    printed = capsys.readouterr().out
    assert "6  images written" in printed
    assert "0  defects" in printed
    logging.getLogger().handlers.clear()
    assert open_shards(tmp_path / "out", "coco_det.train.mind", (), 0).num_images == 6


def test_entry_errors(coco, tmp_path, capsys):
    assert main(["--coco_data_dir", str(coco)]) == 2
    assert "--mindrecord_dir is not set" in capsys.readouterr().err
    assert main(["--mindrecord_dir", str(tmp_path / "out")]) == 2
    assert "no data set is given" in capsys.readouterr().err
    logging.getLogger().handlers.clear()


@pytest.mark.parametrize("command", [[str(ROOT / "src/dataset.py")], ["-m", "centernet", "convert-dataset"]])
def test_both_ways_to_start_the_entry(command, tmp_path):
    cwd = tmp_path if command[0] != "-m" else ROOT
    done = subprocess.run([sys.executable, *command, "--help"], capture_output=True, text=True, cwd=cwd, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--coco_data_dir" in done.stdout


def test_a_wrong_folder_of_images_is_asked_for(tmp_path, capsys):
    """With most images missing, a table line is not enough."""
    annotations = make_coco(tmp_path, num_images=5)
    for path in sorted((tmp_path / "train2017").iterdir())[:3]:
        path.unlink()
    flags = ["--device_target", "CPU", "--shard_num", "1", "--mindrecord_dir", str(tmp_path / "shards")]
    assert main(["--annotation_file", str(annotations), "--image_dir", str(tmp_path / "train2017"), *flags]) == 0
    assert "3 images are missing and 2 were found. Is the folder of images right?" in capsys.readouterr().out
