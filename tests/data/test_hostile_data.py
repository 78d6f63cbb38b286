"""Info files and annotation files that a stranger or a broken program wrote: a value, or a UserError."""
import json

import pytest
from hostile import FILES, TEXTS, message_of, variants

from centernet.data.annotations import read_annotations
from centernet.data.info_file import read_info
from centernet.errors import UserError

INFO = {"complete": True, "categories": [{"id": 1, "name": "disc"}], "images": 3, "objects": 4,
        "files": [{"name": "p0", "size": 10, "sha256": "ab"}, {"name": "p0.db", "size": 20, "sha256": "cd"}],
        "image_ids": [5, 6, 7]}
COCO = {"images": [{"id": 401, "file_name": "401.jpg", "width": 20, "height": 10},
                   {"id": 402, "file_name": "402.jpg", "width": 20, "height": 10}],
        "annotations": [{"id": 1, "image_id": 401, "category_id": 1, "bbox": [1.0, 2.0, 3.0, 4.0], "area": 12.0,
                         "iscrowd": 0}],
        "categories": [{"id": 1, "name": "disc"}, {"id": 90, "name": "ring"}]}


def refuses_or_reads(reader, document, path):
    """A reader gives a value or a UserError for all variants of a document."""
    for text in variants(document):
        path.write_text(text)
        message_of(reader, path)


@pytest.mark.fault("a hostile info file of shards", "each value replaced", "read, or a short error, never a traceback")
def test_info_files(tmp_path):
    refuses_or_reads(read_info, INFO, tmp_path / "p.info.json")


@pytest.mark.parametrize("change, message", [
    ({"files": []}, r"files must name the shards, found \[\]"), ({"files": 5}, "files must be a list, found 5"),
    ({"files": [{"size": 1, "sha256": ""}]}, r"the key 'files\[0\].name' is missing"),
    ({"files": [{"name": "a" * 300, "size": 1, "sha256": ""}]}, r"files\[0\].name must be the name of a file"),
    ({"files": [{"name": "../p0", "size": 1, "sha256": ""}]}, r"files\[0\].name must be the name of a file"),
    ({"files": [{"name": 7, "size": 1, "sha256": ""}]}, r"files\[0\].name must be text"),
    ({"files": [{"name": "p0", "size": "1", "sha256": ""}]}, r"files\[0\].size must be a whole number"),
    ({"files": [{"name": "p0", "size": 1}]}, r"the key 'files\[0\].sha256' is missing"),
    ({"image_ids": 5}, "image_ids must be a list"), ({"image_ids": [1, "2"]}, r"image_ids\[1\] must be a whole number"),
    ({"image_ids": [1, None]}, r"image_ids\[1\] must be a whole number"), ({"complete": 1}, "complete must be true or"),
    ({"complete": False}, "a conversion was interrupted"), ({"categories": [{"id": 10**400}]}, "at most 64 bits"),
])
def test_values_of_info_files(tmp_path, change, message):
    path = tmp_path / "p.info.json"
    path.write_text(json.dumps({**INFO, **change}))
    with pytest.raises(UserError, match=rf"p.info.json.*{message}.*src/dataset.py` again"):
        read_info(path)


@pytest.mark.parametrize("reader", [read_info, read_annotations])
def test_files_of_any_bytes(tmp_path, reader):
    path = tmp_path / "p.info.json"
    for data in FILES:
        path.write_bytes(data)
        assert message_of(reader, path)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_each_number_in_a_list_of_ids(tmp_path, text):
    path = tmp_path / "p.info.json"
    path.write_text(json.dumps({**INFO, "image_ids": ["here", 1]}).replace('"here"', text))
    message_of(read_info, path)


@pytest.mark.fault("a hostile annotation file", "each value replaced by deep, huge, infinite or unprintable ones",
                   "read, or a short error, never a traceback")
def test_annotation_files(tmp_path):
    refuses_or_reads(read_annotations, COCO, tmp_path / "val.json")


@pytest.mark.parametrize("place, text, message", [
    ('"id": 90', '"id": Infinity', r"categories\[1\].id must be a finite number, found inf"),
    ('"ring"', r'"\ud800"', r"categories\[1\].name must be text that can be encoded"),
    ('"402.jpg"', r'"\udcff.jpg"', r"images\[1\].file_name must be text that can be encoded as UTF-8, found '\\udcff"),
    ('"images": [', '"x": ' + "[" * 50_000 + "]" * 50_000 + ', "images": [', "more than 64 lists and objects"),
])
def test_values_of_annotation_files(tmp_path, place, text, message):
    path = tmp_path / "val.json"
    path.write_text(json.dumps(COCO).replace(place, text))
    with pytest.raises(UserError, match=f"annotation file .*val.json.*{message}"):
        read_annotations(path)


def test_annotation_files_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "val.json"
    path.write_text(json.dumps(COCO), encoding="utf-8-sig")
    assert read_annotations(path).image_ids == (401, 402)
