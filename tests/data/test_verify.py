import hashlib
import json
import shutil

import pytest
from tiny_coco import make_coco, make_shards

from centernet.data import verify
from centernet.data.verify import divide, verify_files
from centernet.errors import UserError
from tests.threads_as_ranks import together
from tests.tiny_group import started, wait_for
from tests.tiny_training import TINY


@pytest.fixture
def shards(tmp_path):
    """The folder of six files with an info file."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(6):
        (folder / f"p{number}").write_bytes(bytes([number]) * (number + 1))
    (folder / "p.info.json").write_text("{}")
    return folder


def rows_of(folder):
    return [{"name": path.name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in sorted(folder.glob("p?"))]


def verify_together(monkeypatch, size, rows, folders):
    """What each rank raised (None: nothing), and the names of the files that all ranks read."""
    read, sha256 = [], verify.sha256
    monkeypatch.setattr(verify, "sha256", lambda path: read.append(path) or sha256(path))
    found, _ = together(monkeypatch, size, lambda group: verify_files(folders[group.rank], rows, "p.info.json",
                                                                      "convert again", group))
    return found, read


@pytest.mark.parametrize("size", [1, 2, 8])
def test_the_ranks_read_each_file_once(monkeypatch, shards, size):
    found, read = verify_together(monkeypatch, size, rows_of(shards), [shards] * size)
    assert found == [None] * size
    assert sorted(path.name for path in read) == [f"p{number}" for number in range(6)]


def test_parts_have_about_the_same_number_of_bytes():
    rows = [{"name": str(size), "size": size} for size in (7, 1, 4, 4, 8)]
    assert [sum(row["size"] for row in part) for part in divide(rows, 2)] == [12, 12]
    assert divide([], 3) == [[], [], []]


@pytest.mark.parametrize("size", [1, 2, 8])
def test_every_rank_gets_the_same_error(monkeypatch, shards, size):
    rows = rows_of(shards)
    for name in ("p1", "p4"):
        (shards / name).write_bytes(bytes(9))
    found, _ = verify_together(monkeypatch, size, rows, [shards] * size)
    assert {str(error) for error in found} == {
        f"{shards}: shard file(s) p1, p4 changed after they were written (their SHA-256 differs from p.info.json). "
        "Copy the whole folder again, or convert again"}
    assert all(isinstance(error, UserError) for error in found)


def test_a_file_that_cannot_be_read_is_told_to_all(monkeypatch, shards):
    rows = rows_of(shards)
    (shards / "p3").unlink()
    (shards / "p3").mkdir()
    found, _ = verify_together(monkeypatch, 2, rows, [shards] * 2)
    assert {str(error) for error in found} == {f"shard file {shards}/p3: Is a directory"}


def test_each_server_checks_its_own_copy_completely(monkeypatch, tmp_path, shards):
    copy = shutil.copytree(shards, tmp_path / "copy")
    rows, folders = rows_of(shards), [shards, shards, copy, copy]
    found, read = verify_together(monkeypatch, 4, rows, folders)
    assert found == [None] * 4 and len(read) == 12 == len(set(read))
    (copy / "p5").write_bytes(b"other!")
    found, _ = verify_together(monkeypatch, 4, rows, folders)
    assert all(f"{copy}: shard file(s) p5 changed" in str(error) for error in found)


def test_a_rank_without_an_info_file_does_not_hold_up_the_others(monkeypatch, tmp_path, shards):
    folders, rows = [shards, tmp_path], rows_of(shards)
    found, _ = together(monkeypatch, 2, lambda group: verify_files(
        folders[group.rank], [] if group.rank else rows, "p.info.json", "", group))
    assert found == [None, None]


@pytest.mark.slow
def test_damaged_shards_end_both_ranks_of_a_training(tmp_path):
    """Without a supervisor, which would end the second rank anyway."""
    make_coco(tmp_path, num_images=4)
    shards = make_shards(tmp_path, 2)
    rows = json.loads((shards / "coco_det.train.mind.info.json").read_text())["files"]
    name = max(rows, key=lambda row: row["size"])["name"]
    content = bytearray((shards / name).read_bytes())
    content[-100] ^= 1
    (shards / name).write_bytes(content)
    words = ["train.py", *TINY, "--train_config.batch_size", "2", "--mindrecord_dir", shards, "--save_checkpoint_path",
             tmp_path / "out", "--device_num", "2"]
    with started(words, tmp_path) as processes:
        ranks = [processes["rank0"], processes["rank1"]]
        wait_for(lambda: all(process.poll() is not None for process in ranks), 300, "the end of both ranks")
        assert [process.returncode for process in ranks] == [2, 2]
    for rank in (0, 1):
        assert f"error: {shards}: shard file(s) {name} changed after they were written" in (
            tmp_path / f"rank{rank}.log").read_text()
