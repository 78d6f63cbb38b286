"""Conversions that are killed or interrupted, a full disk, and two that write to one folder."""
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from mindspore.mindrecord import FileWriter

from centernet.data.mindrecord import open_shards
from centernet.errors import UserError
from centernet.owner import OWNER, owned
from tests.data.conversions import run

ROOT = Path(__file__).parents[2]


def test_interruption_leaves_nothing(coco, tmp_path, monkeypatch, capfd):
    def interrupt(data):
        raise KeyboardInterrupt
    monkeypatch.setattr("centernet.data.convert.decode_whole", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(coco, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    os.write(2, b"as before")
    assert "as before" in capfd.readouterr().err


def test_a_dropped_row_is_noticed(coco, tmp_path, monkeypatch):
    write = FileWriter.write_raw_data
    monkeypatch.setattr(FileWriter, "write_raw_data",
                        lambda self, data: write(self, [row for row in data if row["img_id"][0] != 101]))
    with pytest.raises(UserError, match="contain only 4 of 5"):
        run(coco, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


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
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
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
