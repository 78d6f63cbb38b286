import json
import shutil

import pytest
from tiny_coco import make_coco

from centernet.data.coco import locate, read_coco
from centernet.data.convert import convert
from centernet.data.mindrecord import open_shards, shard_files
from centernet.errors import UserError

NAMES = ("disc", "frame", "cross")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    make_coco(folder / "coco", num_images=6)
    convert(read_coco(*locate(str(folder / "coco"), "train")), folder / "out", "tiny", 3)
    return folder / "out"


@pytest.fixture
def shards(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "moved folder")


def opened(folder, names=NAMES, num_classes=3, **options):
    return open_shards(folder, "tiny", names, num_classes, **options)


def test_moved_folder_with_info(shards):
    found = opened(shards, names=(), num_classes=0)
    assert (found.num_images, found.categories.names, found.categories.ids) == (6, NAMES, (1, 7, 90))
    assert found.files == tuple(str(shards / f"tiny{k}") for k in range(3))


def test_numbers_are_sorted_as_numbers(tmp_path):
    for name in ("p10", "p9", "p100", "px1", "p1.db", "qp1"):
        (tmp_path / name).touch()
    assert [path.name for path in shard_files(tmp_path, "p")] == ["p9", "p10", "p100"]


def change_byte(path, position):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)
        file.seek(position)
        file.write(bytes([byte[0] ^ 1]))


def image_byte(path):
    return path.read_bytes().index(b"\xff\xd8\xff") + 500


def test_one_changed_byte_is_caught(shards):
    change_byte(shards / "tiny1", image_byte(shards / "tiny1"))
    with pytest.raises(UserError, match="tiny1 changed after .*SHA-256"):
        opened(shards)
    assert opened(shards, verify=False).num_images == 6  # a further rank leaves it to rank 0


def test_changed_index_is_caught(shards):
    change_byte(shards / "tiny2.db", 5000)
    with pytest.raises(UserError, match="tiny2.db changed"):
        opened(shards)


@pytest.mark.parametrize("name", ["tiny0", "tiny2.db"])
@pytest.mark.parametrize("verify", [True, False])
def test_missing_and_cut_files(shards, name, verify):
    path = shards / name
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(UserError, match=f"{name} has .* bytes, but tiny.info.json lists it"):
        opened(shards, verify=verify)
    path.unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        opened(shards, verify=verify)


@pytest.mark.parametrize("text, words", [("", "not valid JSON"), ("{", "not valid JSON"), ("{}", "lacks complete"),
                                         ('{"complete": false}', "interrupted"),
                                         ('{"complete": true, "files": []}', "lacks categories, image_ids"),
                                         ("[1]", "must hold a JSON object, found list")])
def test_unusable_info(shards, text, words):
    (shards / "tiny.info.json").write_text(text)
    with pytest.raises(UserError, match=f"tiny.info.json.*{words}.*src/dataset.py` again"):
        opened(shards)


def test_info_of_other_contents(shards):
    path = shards / "tiny.info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "image_ids": list(range(7))}))
    with pytest.raises(UserError, match="hold 6 images, but tiny.info.json lists 7"):
        opened(shards)


def test_without_info_names_come_from_the_configuration(shards, caplog):
    (shards / "tiny.info.json").unlink()
    found = opened(shards)
    assert (found.num_images, found.categories.names, found.categories.ids) == (6, NAMES, (1, 2, 3))
    assert "tiny.info.json is missing" in caplog.text
    with pytest.raises(UserError, match="coco_classes has 3 names, but dataset_config.num_classes is 80"):
        opened(shards, num_classes=80)


@pytest.mark.parametrize("name, lost", [("tiny1", "tiny1"), ("tiny0.db", "tiny0.db")])
def test_without_info_gaps_are_noticed(shards, name, lost):
    (shards / "tiny.info.json").unlink()
    (shards / name).unlink()
    with pytest.raises(UserError, match=f"missing: {lost}"):
        opened(shards)


def test_without_info_damage_is_reported_as_mindspore_says(shards):
    (shards / "tiny.info.json").unlink()
    (shards / "tiny0").write_bytes(b"\0" * 1000)
    with pytest.raises(UserError, match="MindSpore cannot read the shards: .+; run `python src/dataset"):
        opened(shards)


def test_no_shards(shards, tmp_path):
    with pytest.raises(UserError, match="other0.*tiny.info.json: is --mindrecord_prefix correct"):
        open_shards(shards, "other", NAMES, 3)
    with pytest.raises(UserError, match="no such folder"):
        opened(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="no shards .*tiny0"):
        opened(tmp_path / "bare")
