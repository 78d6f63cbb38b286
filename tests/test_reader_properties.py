"""Properties of the readers: any document gives a value or a UserError, and nothing else.

The suite runs a few examples, always the same ones. CENTERNET_FUZZ_EXAMPLES=100000 runs so many new ones of each
property (docs/developing.md).
"""
import dataclasses
import json
import os

import pytest
from hostile import TEXTS, places, written
from tiny_model import tiny_manifest

from centernet.config.declared import SETTINGS
from centernet.config.load import build_config, load_config
from centernet.config.schema import Config
from centernet.data.annotations import read_annotations
from centernet.data.info_file import read_info
from centernet.detection.transform import Meta
from centernet.documents import parse_json, parse_yaml
from centernet.errors import UserError
from centernet.evaluation.prepared_set import METAS, PreparedSet, read_index, read_meta
from centernet.group import launched_number
from centernet.jobs.launch.rank_table import read_rank_table
from centernet.runtimes.manifest import manifest_path, read_manifest, write_manifest

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed (requirements-test.txt)")
some = hypothesis.strategies

EXAMPLES = int(os.environ.get("CENTERNET_FUZZ_EXAMPLES", "0"))
runs = hypothesis.settings(max_examples=EXAMPLES or 25, derandomize=not EXAMPLES, deadline=None, database=None,
                           suppress_health_check=list(hypothesis.HealthCheck))

# Characters that mean something to a parser, and a few of each other kind. (For all of Unicode, hypothesis first makes
# tables, which takes seconds.)
LETTERS = "aZx019 _-+.,:;/*&!|<>?%@#={}[]()\"'`~^$\\\r\n\t\0\x7f\x85\u00e9\u2028\u0661\ufeff\ud800\udcff\U0001f600"


def texts(most):
    return some.text(LETTERS, max_size=most)


SCALARS = some.one_of(some.none(), some.booleans(), some.integers(), some.floats(), texts(20),
                      some.sampled_from(["BGR", "float32", "uint8", "NCHW", "1.0", "completed", "0", "..", "\ud800"]))
VALUES = some.recursive(SCALARS, lambda inner: some.one_of(some.lists(inner, max_size=4), some.dictionaries(
    texts(8), inner, max_size=4)), max_leaves=12)
JSON_TEXTS = some.one_of(VALUES.map(json.dumps), some.sampled_from(TEXTS))


@some.composite
def documents(draw, good):
    """The JSON text of a document with one to three values replaced; often cut, or with bytes changed."""
    text = json.dumps(good)
    for _ in range(draw(some.integers(1, 3))):
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            break
        place = draw(some.sampled_from(list(places(document))))
        text = written(document, place, draw(some.none() | JSON_TEXTS)) or "{}"
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    for position, byte in draw(some.lists(some.tuples(some.integers(0, 10**6), some.integers(0, 255)), max_size=2)):
        data[position % len(data)] = byte
    return bytes(data[:draw(some.none() | some.integers(0, len(data)))])


def read_or_refuse(reader, *values):
    """Call a reader; a UserError must be one that can be printed."""
    try:
        return reader(*values)
    except UserError as error:
        assert len(str(error)) < 20_000
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readers")


@runs
@hypothesis.given(some.binary(max_size=60) | texts(60) | JSON_TEXTS)
def test_parsers(text):
    read_or_refuse(parse_json, text, "x")
    read_or_refuse(parse_yaml, text, "x")


@runs
@hypothesis.given(VALUES)
def test_what_is_read_can_be_written(value):
    found = read_or_refuse(parse_json, json.dumps(value), "x")
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


TRANSFORM = {"image_id": 7, "file_name": "a.jpg", "c": [72.0, 68.5], "s": [144.0, 72.0], "out_height": 32,
             "out_width": 32, "scale": 1.0}
MANIFEST = tiny_manifest((64, 96))
INDEX = {"count": 1, "annotation_file": "/x/val.json", "shape": [3, 64, 96], "dtype": "float32",
         "byte_order": "little", "layout": "CHW", "color_order": "BGR", "mean": list(MANIFEST.spec.mean),
         "std": list(MANIFEST.spec.std), "images": [{"image_id": 7, "file_name": "a.jpg"}]}
INFO = {"complete": True, "categories": [{"id": 1, "name": "disc"}], "images": 1, "objects": 2,
        "files": [{"name": "p0", "size": 10, "sha256": "ab"}], "image_ids": [7]}
COCO = {"images": [{"id": 401, "file_name": "401.jpg", "width": 20, "height": 10}],
        "annotations": [{"id": 1, "image_id": 401, "category_id": 1, "bbox": [1.0, 2.0, 3.0, 4.0], "area": 12.0,
                         "iscrowd": 0}],
        "categories": [{"id": 1, "name": "disc"}]}
TABLE = {"version": "1.0", "server_count": "1", "status": "completed", "server_list": [
    {"server_id": "10.0.0.1", "device": [{"device_id": "0", "device_ip": "192.168.1.1", "rank_id": "0"}]}]}


@runs
@hypothesis.given(data=documents(TRANSFORM))
def test_transforms(folder, data):
    (folder / "7.json").write_bytes(data)
    meta = read_or_refuse(read_meta, PreparedSet(folder, {}, ""), 7)
    assert meta is None or Meta.from_json(meta.to_json(), "x") == meta


@runs
@hypothesis.given(data=documents(INDEX))
def test_indexes(folder, data):
    (folder / METAS).mkdir(exist_ok=True)
    (folder / METAS / "index.json").write_bytes(data)
    read_or_refuse(read_index, folder, MANIFEST, "--meta_path")


@runs
@hypothesis.given(data=documents(INFO))
def test_info_files(folder, data):
    (folder / "p.info.json").write_bytes(data)
    read_or_refuse(read_info, folder / "p.info.json")


@runs
@hypothesis.given(data=documents(COCO))
def test_annotation_files(folder, data):
    (folder / "val.json").write_bytes(data)
    read_or_refuse(read_annotations, folder / "val.json")


@runs
@hypothesis.given(data=documents(TABLE))
def test_rank_tables(folder, data):
    (folder / "hccl.json").write_bytes(data)
    table = read_or_refuse(read_rank_table, str(folder / "hccl.json"))
    assert table is None or [rank.rank for rank in table.ranks] == list(range(len(table.ranks)))


@runs
@hypothesis.given(change=some.data())
def test_manifests(folder, change):
    model = folder / "m.mindir"
    model.write_bytes(b"")
    sha = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of no bytes
    write_manifest(dataclasses.replace(MANIFEST, sha256=sha), manifest_path(model))
    good = json.loads(manifest_path(model).read_text())
    manifest_path(model).write_bytes(change.draw(documents(good)))
    manifest = read_or_refuse(read_manifest, model)
    if manifest:
        write_manifest(manifest, manifest_path(model))
        assert read_manifest(model) == manifest


NAMES = sorted(SETTINGS)
KEYS = some.sampled_from(NAMES) | texts(10)


@runs
@hypothesis.given(given=some.dictionaries(KEYS, JSON_TEXTS, max_size=4), more=texts(30))
def test_configurations(folder, given, more):
    lines = [f"{json.dumps(key.split('.')[0])}: {text}\n" for key, text in given.items()]
    (folder / "mine.yaml").write_bytes(("".join(lines) + more).encode("utf-8", "surrogatepass"))
    read_or_refuse(load_config, "train", ["--config_path", str(folder / "mine.yaml")], "")


@runs
@hypothesis.given(given=some.dictionaries(some.sampled_from(NAMES), VALUES, min_size=1, max_size=3))
def test_values_of_settings(given):
    defaults = {name: declared.default for name, declared in SETTINGS.items()}
    config = read_or_refuse(build_config, {**defaults, **given})
    assert config is None or isinstance(config, Config)


@runs
@hypothesis.given(words=some.lists(some.one_of(some.sampled_from([f"--{name}" for name in NAMES]), texts(12),
                                               JSON_TEXTS, SCALARS.map(str)), max_size=6))
def test_flags(words):
    hypothesis.assume(not {"-h", "--help"} & set(words))  # they end the process
    read_or_refuse(load_config, "train", words, "")


@runs
@hypothesis.given(text=texts(30))
def test_numbers_of_launchers(text):
    number = read_or_refuse(launched_number, {"RANK_ID": text}, "RANK_ID")
    assert number is None or 0 <= number < 2**20
