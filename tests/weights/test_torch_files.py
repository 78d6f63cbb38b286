"""Files of torch.save are read without PyTorch: the same numbers, and no claim of a hostile file is believed."""
import argparse
import collections
import io
import os
import pathlib
import pickle
import struct
import time
import zipfile

import numpy as np
import pytest

from centernet.errors import UserError
from centernet.weights.foreign_files import read_weights

ZIPPED = {"_use_new_zipfile_serialization": True}
BEFORE = {"_use_new_zipfile_serialization": False}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed (requirements-convert.txt)")


@pytest.mark.parametrize("options", [ZIPPED, BEFORE, {**ZIPPED, "pickle_protocol": 4}, {**BEFORE, "pickle_protocol": 5},
                                     {**ZIPPED, "pickle_protocol": 3}])
def test_every_form_gives_the_numbers_of_pytorch(torch, tmp_path, options):
    line = torch.arange(24.).reshape(2, 3, 4)
    state = collections.OrderedDict(
        plain=line, half=torch.nn.Parameter(line.half()), view=line.transpose(0, 2)[1:], brain=line.bfloat16(),
        whole=torch.arange(3), scalar=torch.tensor(3.), empty=torch.zeros(0, 4),
        unsigned=torch.ones(3).to(torch.uint16), flag=torch.tensor([True, False]), shared=line[1], double=line.double())
    state._metadata = {"": {"version": 1}}
    torch.save({"epoch": 1, "state_dict": state, "settings": argparse.Namespace(a=1), "best": np.float64(.3),
                "folder": pathlib.Path("/x"), "array": np.arange(4), "size": torch.Size([1]), "type": torch.float16,
                "rest": [(1, [2.5, None, {3}, 1 << 70, b"x"])]}, tmp_path / "w.pth", **options)
    found = read_weights(tmp_path / "w.pth")[0]
    assert found.keys() == state.keys()
    for name, value in state.items():
        value = value.detach()
        expected = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        assert found[name].dtype == expected.dtype and found[name].shape == expected.shape
        np.testing.assert_array_equal(found[name], expected)


class HistoryBuffer:
    """As mmengine's: an object with a state."""


def test_objects_of_known_programs_are_passed_over_and_never_made(torch, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(HistoryBuffer, "__module__", "mmengine.logging.history_buffer")
    module = type(os)("mmengine.logging.history_buffer")
    module.HistoryBuffer = HistoryBuffer
    for name in ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer"):
        monkeypatch.setitem(__import__("sys").modules, name, module)
    buffer = HistoryBuffer()
    buffer.log = np.arange(5.)
    torch.save({"meta": {"epoch": 1}, "state_dict": {"a": torch.ones(2)}, "message_hub": {"loss": buffer}},
               tmp_path / "w.pth")
    HistoryBuffer.__new__ = lambda *_: made.append(1)
    try:
        assert read_weights(tmp_path / "w.pth")[0]["a"].tolist() == [1, 1]
    finally:
        del HistoryBuffer.__new__
    assert not made


def test_methods_in_the_state_of_such_an_object_are_passed_over(tmp_path):
    method = b"c__builtin__\ngetattr\ncmmengine.logging.history_buffer\nHistoryBuffer\nX\x03\0\0\0min\x86R"
    buffer = (b"cmmengine.logging.history_buffer\nHistoryBuffer\n)\x81}X\x13\0\0\0_statistics_methods}X\x03\0\0\0min"
              + method + b"ssb")
    path = zipped(tmp_path / "w.pth", tensor((6,))[:-1] + b"X\x04\0\0\0loss" + buffer + b"s.")
    assert read_weights(path)[0]["a"].shape == (6,)


@pytest.mark.fault("a pickle with getattr", "of a class that is not mmengine's, or called otherwise", "refused by name")
@pytest.mark.parametrize("arguments", [b"ctorch\nTensor\nU\x01a\x86", b"U\x01bU\x01a\x86", b"cmmengine.a\nB\n\x85",
                                       b"cmmengine.a\nB\nU\x01aU\x01a\x87"])
def test_other_uses_of_getattr_are_refused(tmp_path, arguments):
    path = zipped(tmp_path / "w.pth", b"\x80\x02c__builtin__\ngetattr\n" + arguments + b"R.")
    with pytest.raises(UserError, match="to read it would run"):
        read_weights(path)


def zipped(path, content, **entries):
    """Write a file as torch.save does, with any pickle, and with entries beside it; the path."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        for name, data in {"data/0": b"\0" * 24, **entries}.items():
            archive.writestr(f"archive/{name}", data)
    return path


def tensor(shape, strides=(1,), offset=0, count=6, kind=b"FloatStorage", key=b"0"):
    """A pickle of {"a": tensor} by hand, with any numbers."""
    def numbers(values):
        return b"(" + b"".join(pickle.dumps(value, 2)[2:-1] for value in values) + b"t"
    storage = (b"(X\x07\0\0\0storagectorch\n" + kind + b"\nU" + bytes([len(key)]) + key + b"U\x03cpu"
               + pickle.dumps(count, 2)[2:-1] + b"tQ")
    return (b"\x80\x02}U\x01actorch._utils\n_rebuild_tensor_v2\n(" + storage + pickle.dumps(offset, 2)[2:-1]
            + numbers(shape) + numbers(strides) + b"\x89}tRs.")


def test_a_tensor_by_hand_is_read(tmp_path):
    path = zipped(tmp_path / "w.pth", tensor((2, 3), (3, 1)))
    assert read_weights(path)[0]["a"].shape == (2, 3)


@pytest.mark.fault("a tensor that claims more than its bytes", "sizes, strides and offsets beyond the storage",
                   "refused")
@pytest.mark.parametrize("description, words", [
    ({"shape": (7,)}, "has the shape .7., which needs more numbers than the 6"),
    ({"shape": (3,), "offset": 4}, "more numbers"), ({"shape": (2, 2), "strides": (5, 1)}, "more numbers"),
    ({"shape": (1 << 40,), "strides": (0,)}, "more numbers"),  # one number, repeated: 4 TB
    ({"shape": (1 << 62,)}, "whole numbers from 0 to 2"), ({"shape": (-1,)}, "whole numbers from 0"),
    ({"shape": (2,), "strides": (-1,)}, "whole numbers from 0"), ({"shape": (1.5,)}, "whole numbers from 0"),
    ({"shape": (2,), "offset": -1}, "whole numbers from 0"),
    ({"shape": (0, 1 << 47), "strides": (1, 1)}, "impossible shape"),
    ({"shape": (1,) * 40, "strides": (1,) * 40}, "at most 32"),
    ({"shape": (2,), "count": 1 << 40}, "but the file has 24 bytes"), ({"shape": (2,), "key": b"9"}, "not in the file"),
    ({"shape": (2,), "kind": b"ComplexFloatStorage"}, "type ComplexFloat, which this program does not read")])
def test_claims_of_a_tensor_are_checked(tmp_path, description, words):
    path = zipped(tmp_path / "w.pth", tensor(**description))
    with pytest.raises(UserError, match=words):
        read_weights(path)


@pytest.mark.fault("many tensors that share one storage", "a small file that becomes large in memory", "refused")
def test_many_tensors_of_one_storage_are_bounded(tmp_path):
    one = tensor((1 << 18,), count=1 << 18)[3:-2]  # without protocol, end, and the operation that adds it
    content = b"\x80\x02}" + b"".join(one.replace(b"U\x01a", b"U\x03%03d" % index) + b"s" for index in range(99)) + b"."
    path = zipped(tmp_path / "w.pth", content, **{"data/0": b"\0" * (1 << 20)})
    with pytest.raises(UserError, match="claim far more numbers than the file has"):
        read_weights(path)


DOUBLING = b"(K\x01\x85" + b"q\x00h\x00\x86" * 70  # a tuple of two equal tuples of two ...: its hash takes 2^70 steps


@pytest.mark.fault("pickles made to take all time or memory", "deep, repeated and huge values", "an error within 3 s")
@pytest.mark.parametrize("content", [
    b"\x80\x02}q\x00X\x0a\0\0\0state_dicth\x00s.",  # contains itself
    b"\x80\x02}" + DOUBLING + b"K\x01s.", b"\x80\x02" + b"]q\x00" + b"h\x00a" * 1000 + b".",
    b"\x80\x02ccollections\nOrderedDict\n((" + DOUBLING + b"K\x01\x86tR.", b"\x80\x02" + b"(" * 20_000 + b".",
    b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".", b"\x80\x02K\x01" + b"\x85" * 20_000 + b".",
    b"\x80\x02}r\xff\xff\xff\x7f.", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    b"\x80\x02\x8b\xff\xff\xff\x7f.",
    b"\x80\x04)" + b"2\x86" * 40 + b"X\1\0\0\0a\x93.",  # a name that is a nested tuple
    b"\x80\x02](" + b"))\x86" * 4000 + b"eq\0" + b"ccollections\nOrderedDict\nh\0\x85R0" * 4000 + b".",
    b"\x80\x02L" + b"9" * 200_000 + b"L\n.", b"\x80\x02\x82\x01.", b"\x80\x02}(K\x01u.", b"\x80\x02K\x01K\x02R."])
@pytest.mark.parametrize("form", ["zip", "before"])
def test_bombs_in_pickles_end_quickly(tmp_path, content, form):
    path = tmp_path / "w.pth"
    if form == "zip":
        zipped(path, content)
    else:
        magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
        path.write_bytes(magic + content + pickle.dumps([], 2))
    start = time.perf_counter()
    with pytest.raises(UserError, match="w.pth (has|is)"):
        read_weights(path)
    assert time.perf_counter() - start < 3


@pytest.mark.fault("a pickle with code", "names of functions in a .pth file", "refused by name, nothing is called")
@pytest.mark.parametrize("name", ["builtins eval", "os system", "torch.hub load", "__builtin__ getattr", "nt remove",
                                  "mmengineer x", "torch load"])
@pytest.mark.parametrize("call", ["c{}\n{}\n(X\x01\0\0\0atR.", "(X\x01\0\0\0ai{}\n{}\n."])
def test_other_names_are_refused(tmp_path, name, call):
    content = b"\x80\x02" + call.format(*name.split()).encode()
    with pytest.raises(UserError, match="to read it would run"):
        read_weights(zipped(tmp_path / "w.pth", content))


@pytest.mark.fault("a ZIP bomb in a .pth file", "an entry that grows a thousandfold", "refused before it is read")
def test_a_zip_bomb_is_refused_before_it_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", tensor((6,)))
        archive.writestr("archive/data/0", b"\0" * 9_000_000)
    with pytest.raises(UserError, match="claim 9[0-9]+ bytes, more than 16 times those of the file"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.fault("a .pth file with two entries of one name", "such an archive", "refused")
def test_two_entries_of_one_name_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        for _ in range(2):
            archive.writestr("archive/data.pkl", tensor((6,)))
    with pytest.raises(UserError, match="two of its entries have the same name"):
        read_weights(tmp_path / "w.pth")


def test_big_endian_numbers_are_read(tmp_path):
    path = zipped(tmp_path / "w.pth", tensor((6,)), byteorder=b"big", **{"data/0": struct.pack(">6f", *range(6))})
    assert read_weights(path)[0]["a"].tolist() == list(range(6))


def test_an_archive_around_a_weight_file_is_named(tmp_path):
    import tarfile

    inner = zipped(tmp_path / "inner.pth", tensor((6,)))
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.write(inner, "weights/inner.pth")
    for mode in ("", "gz", "bz2", "xz"):
        with tarfile.open(tmp_path / f"tar{mode}.pth", f"w:{mode}") as archive:
            archive.add(inner)
    for name, words in (("zip", "ZIP archive that torch.save did not write .it has: weights/inner.pth.: unpack"),
                        ("tar", "is a tar archive file, not the weight file itself: unpack it"),
                        ("targz", "tar xzf"), ("tarbz2", "tar xjf"), ("tarxz", "tar xJf")):
        with pytest.raises(UserError, match=words):
            read_weights(tmp_path / f"{name}.pth")


@pytest.mark.parametrize("name", ["sparse", "float8"])
def test_other_kinds_of_tensors_are_named(torch, tmp_path, name):
    one = torch.ones(3)
    value = {"sparse": one.to_sparse, "float8": lambda: one.to(torch.float8_e4m3fn)}[name]()
    buffer = io.BytesIO()
    torch.save({"a": value}, buffer)
    (tmp_path / "w.pth").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="its tensor 'a' (is of a kind|has numbers of the type float8_e4m3fn)"):
        read_weights(tmp_path / "w.pth")
