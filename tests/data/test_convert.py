"""Conversion to shards: what they hold, their number and size, and the command."""
import json
import logging
import subprocess
import sys
from pathlib import Path

import mindspore.dataset as ds
import numpy as np
import pytest
from tiny_coco import CATEGORIES, make_coco

from centernet.cli.convert_dataset import main
from centernet.data.coco import locate, read_coco
from centernet.data.convert import LARGEST_IMAGE, _page_size, convert
from centernet.data.mindrecord import open_shards, shard_files
from centernet.errors import UserError
from tests.data.conversions import rows, run

ROOT = Path(__file__).parents[2]


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


def test_a_file_that_is_too_large_is_not_read(coco, tmp_path, monkeypatch):
    with (coco / "train2017/000001.jpg").open("wb") as file:
        file.truncate(LARGEST_IMAGE + 1)
    seen, read_bytes = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: seen.append(path.name) or read_bytes(path))
    summary = run(coco, tmp_path / "out")
    assert summary.defects.counts == {"image file of more than 128 MB": 1}
    assert "000002.jpg" in seen and "000001.jpg" not in seen


def test_keep_empty(coco, tmp_path):
    assert run(coco, tmp_path / "out", keep_empty=True).empty == 0
    empty = [row for row in rows(tmp_path / "out") if int(row["img_id"][0]) == 104]
    assert [int(row["num_objects"]) for row in empty] == [0]


def test_order_and_contents_over_several_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("centernet.data.convert.CHUNK", 4)
    make_coco(tmp_path / "coco", num_images=23, size=(32, 32))
    summary = run(tmp_path / "coco", tmp_path / "out", shard_num=3)
    assert summary.image_ids == tuple(range(100, 123))
    contents = {int(row["img_id"][0]): row["image"].tobytes() for row in rows(tmp_path / "out")}
    assert contents == {100 + number: path.read_bytes() for number, path in
                        enumerate(sorted((tmp_path / "coco/train2017").iterdir()))}


def test_fewer_shards_than_before_leave_no_stale_ones(coco, tmp_path):
    run(coco, tmp_path / "out", shard_num=12)
    (tmp_path / "out/tiny_other0").write_text("not a shard of this prefix")
    run(coco, tmp_path / "out", shard_num=2)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"tiny0", "tiny0.db", "tiny1", "tiny1.db", "tiny.info.json", "tiny_other0"}
    assert open_shards(tmp_path / "out", "tiny", (), 0).num_images == 5


@pytest.mark.parametrize("options, words", [({"prefix": "a/b"}, "--mindrecord_prefix"),
                                            ({"prefix": ""}, "--mindrecord_prefix"),
                                            ({"shard_num": 1001}, "--shard_num 1001")])
def test_arguments(coco, tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        convert(read_coco(*locate(str(coco), "train")), tmp_path / "out", **{"prefix": "tiny", **options})


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
