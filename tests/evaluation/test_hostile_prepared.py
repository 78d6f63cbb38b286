"""Files of prepared sets that another program wrote or damaged: a value, or a UserError."""
import json
import os
from functools import partial

import hostile
import numpy as np
import pytest
from hostile import FILES, variants
from tiny_model import tiny_manifest

from centernet.detection.transform import Meta
from centernet.errors import UserError
from centernet.evaluation.prepared_set import METAS, PreparedSet, read_index, read_input, read_meta, write_prepared

META = Meta((72.0, 68.5), 144.0, 32, 32)


message_of = partial(hostile.message_of, most=3000)


@pytest.mark.fault("a hostile index of prepared images", "each value replaced",
                   "read, or a short error, never a traceback")
def test_indexes(tmp_path):
    manifest = tiny_manifest((8, 8))
    write_prepared(tmp_path, [(7, "a.jpg", np.zeros((3, 8, 8), np.float32), META)], manifest, tmp_path / "val.json")
    path = tmp_path / METAS / "index.json"
    document = json.loads(path.read_text())
    assert read_index(tmp_path, manifest, "--meta_path").names == {7: "a.jpg"}
    for text in variants(document):
        path.write_text(text)
        message_of(read_index, tmp_path, manifest, "--meta_path")
    for data in FILES:
        path.write_bytes(data)
        assert "index.json" in message_of(read_index, tmp_path, manifest, "--meta_path")


@pytest.mark.fault("a hostile file of a transform", "each value replaced", "read, or a short error, never a traceback")
def test_transforms(tmp_path):
    path, document = tmp_path / "7.json", json.loads(META.to_json())
    for text in variants({**document, "s": [144.0, 72.0]}):
        path.write_text(text)
        message_of(read_meta, PreparedSet(tmp_path, {}, ""), 7)
    for data in FILES:
        path.write_bytes(data)
        assert "7.json" in message_of(read_meta, PreparedSet(tmp_path, {}, ""), 7)


@pytest.mark.parametrize("key, text, message", [
    ("s", "[]", r"s must be a list of 1 or 2 values"), ("s", "0", "s must be a number above 0"),
    ("s", "[1, -2]", r"s\[1\] must be a number above 0"), ("c", "[1]", "c must be a list of 2 values"),
    ("c", "[1, 1" + "0" * 400 + "]", r"c\[1\] must be a number of at most 64 bits"),
    ("out_height", "1" + "0" * 400, "out_height must be a number of at most 64 bits"),
    ("out_height", "0", "out_height must be a whole number from 1 to 16384"),
    ("out_width", "-Infinity", "out_width must be a finite number"), ("out_width", "32.5", "out_width must be a whole"),
    ("scale", "0", "scale must be a number above 0"), ("scale", '"1"', "scale must be a number"),
])
def test_values_of_transforms(key, text, message):
    document = json.dumps({**json.loads(META.to_json()), key: "here"}).replace('"here"', text)
    with pytest.raises(UserError, match=f"^a.json is not the meta file of a prepared image.*: {message}.*preprocess"):
        Meta.from_json(document, "a.json")


@pytest.mark.fault("a prepared image that is a pipe or a device", "links and pipes in the folder",
                   "refused before reading")
def test_inputs_that_are_no_files_of_their_size_are_not_read(tmp_path):
    (tmp_path / "00_data").mkdir()
    for name, source in ((7, "/dev/zero"), (8, None)):
        path = tmp_path / "00_data" / f"{name}.bin"
        if source:
            path.symlink_to(source)
        else:
            os.mkfifo(path)
        with pytest.raises(UserError, match=rf"{name}\.bin has 0 bytes, float32 of shape \(3, 8, 8\) has 768"):
            read_input(tmp_path, name, tiny_manifest((8, 8)))
