"""MindSpore's checkpoint format: values and sizes are checked, half precision is widened, records are judged."""
import json

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from centernet.errors import UserError
from centernet.weights.checkpoint import ModelRecord, load_parameters, model_record, read_checkpoint
from tests.tiny_training import CATEGORIES, settings


def varint(number):
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def part(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def value(dims, content, name="a", kind="Float32"):
    """One value of the file format, with any claim about its shape."""
    sizes = b"".join(varint(1 << 3) + varint(size % (1 << 64)) for size in dims)
    return part(1, part(1, name.encode()) + part(2, sizes + part(2, kind.encode()) + part(3, content)))


def read(tmp_path, content):
    (tmp_path / "a.ckpt").write_bytes(content)
    return {name: found.asnumpy() for name, found in read_checkpoint(tmp_path / "a.ckpt").parameters.items()}


def test_values_are_those_of_mindspore(tmp_path):
    path = tmp_path / "a.ckpt"
    values = {"f": Tensor(np.arange(6, dtype=np.float32).reshape(2, 3)), "i": Tensor(np.arange(3, dtype=np.int64)),
              "b": Tensor(np.array([True, False])), "scalar": Tensor(np.float32(3)), "empty": Tensor(np.zeros((0, 3)))}
    ms.save_checkpoint([{"name": name, "data": data} for name, data in values.items()], str(path))
    theirs = ms.load_checkpoint(str(path))
    ours = read_checkpoint(path).parameters
    assert ours.keys() == theirs.keys()
    for name, found in ours.items():
        assert found.name == name and found.shape == theirs[name].shape
        np.testing.assert_array_equal(found.asnumpy(), theirs[name].asnumpy())


def test_a_tensor_in_several_values_is_joined(tmp_path):
    data = np.arange(6, dtype=np.float32)
    found = read(tmp_path, value([6], data[:4].tobytes()) + value([6], data[4:].tobytes()))
    assert found["a"].tolist() == data.tolist()


@pytest.mark.fault("a .ckpt whose shapes do not fit its bytes",
                   "shapes above the data; MindSpore would read memory behind it", "refused")
@pytest.mark.parametrize("dims, kind, words", [
    ([7], "Float32", "needs more numbers than the 6"),  # MindSpore returns memory behind the bytes
    ([5], "Float32", "has the shape .5. of Float32, but 24 bytes"), ([(1 << 31) - 1], "Float32", "more numbers"),
    ([-1, 3], "Float32", "whole numbers from 0"), ([1 << 40, 1 << 40], "Float32", "more numbers"),
    ([6], "Complex64", "type Complex64, which this program does not read"), ([3], "MapTensor", "MapTensor")])
def test_claims_are_checked(tmp_path, dims, kind, words):
    with pytest.raises(UserError, match=f"a.ckpt is cut off or is not a MindSpore checkpoint.*tensor 'a' .*{words}"):
        read(tmp_path, value(dims, b"\0" * 24, kind=kind))


@pytest.mark.parametrize("content", [b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x80", b"\x08" + b"\xff" * 11, b"\x0b",
                                     b"\x09\1",
                                     value([1], b"\0" * 4) * 2 + value([1], b"\0" * 4, "b") + value([1], b"\0" * 4),
                                     value([1], b"\xff" * 4, kind="str"), value([1], b"\0" * 4, "\ud800".encode(
                                         "utf-8", "surrogatepass").decode("latin-1"))])
def test_other_bytes_are_refused(tmp_path, content):
    with pytest.raises(UserError, match="a.ckpt is cut off or is not a MindSpore checkpoint"):
        read(tmp_path, content)


@pytest.mark.parametrize("kind", [ms.float16, ms.bfloat16, ms.float64])
def test_half_precision_is_widened_and_loads(tmp_path, kind):
    path, layer = tmp_path / "a.ckpt", nn.Dense(2, 3)
    weights = np.array([[.5, -2], [1, 4], [3, .25]], np.float32)
    ms.save_checkpoint([{"name": "weight", "data": Tensor(weights).astype(kind)},
                        {"name": "bias", "data": Tensor(np.ones(3, np.float32)).astype(kind)}], str(path))
    load_parameters(layer, read_checkpoint(path).parameters, path)
    assert layer.weight.asnumpy().tolist() == weights.tolist() and layer.bias.dtype == ms.float32


def test_numbers_of_another_kind_do_not_load(tmp_path):
    path = tmp_path / "a.ckpt"
    ms.save_checkpoint([{"name": name, "data": Tensor(np.ones(shape, np.int32))}
                        for name, shape in (("weight", (3, 2)), ("bias", 3))], str(path))
    with pytest.raises(UserError, match=r"weight is Int32 \(3, 2\), but in the network Float32 \(3, 2\)"):
        load_parameters(nn.Dense(2, 3), read_checkpoint(path).parameters, path)


def fields():
    return json.loads(json.dumps(model_record(settings(), CATEGORIES).to_json()))


@pytest.mark.fault("a .ckpt with a wrong record of its network", "settings of another type or value",
                   "an error with the setting")
@pytest.mark.parametrize("place, wrong, words", [
    (("network", "backbone"), {"a": 1}, "net_config.backbone must be a string"),
    (("network", "backbone"), "vgg", "net_config.backbone must be one of resnet18"),
    (("network", "head_conv"), 10 ** 9, "net_config.head_conv must be at most 16384"),
    (("network", "neck_filters"), [10 ** 12], "net_config.neck_filters must be at most 16384"),
    (("network", "neck_filters"), "wide", "net_config.neck_filters must be a list of integers"),
    (("network", "down_ratio"), 0, "must be greater than 0"), (("network",), [], "missing or wrong"),
    (("std",), [0, 1, 1], "dataset_config.std must be greater than 0"), (("mean",), ["a"], "mean"),
    (("input_res_test",), [-512, 512], "must be greater than 0"), (("input_res_test",), [1e308, 5], "input_res_test"),
    (("evaluation",), {"K": -5}, "eval_config.K must be greater than 0"), (("evaluation",), 3, "must be an object"),
    (("evaluation",), {"multi_scales": "[[["}, "eval_config.multi_scales"), (("categories",), 5, "categor|missing"),
    (("to_rgb",), "perhaps", "dataset_config.to_rgb must be true or false")])
def test_wrong_records_are_named(place, wrong, words):
    record = fields()
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = wrong
    with pytest.raises(UserError, match=words):
        ModelRecord.from_json(record, "x.ckpt")


def test_large_numbers_of_an_evaluation_are_read():
    evaluation = {"K": 20_000, "max_dets": 20_000, "batch_size": 20_000}
    assert ModelRecord.from_json({**fields(), "evaluation": evaluation}, "x.ckpt").evaluation == evaluation


@pytest.mark.fault("a .ckpt with hostile JSON", "NaN, deep values, lone surrogates", "refused")
@pytest.mark.parametrize("text", ["", "[1]", '{"a": ', '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}',
                                  '{"a": ' + "[" * 100_000, '{"a": ' + "[" * 70 + "]" * 70 + "}", '{"a": 1' + "0" * 30
                                  + "}", '{"\\udc00": 1}'])
def test_descriptions_that_are_no_plain_json_are_refused(tmp_path, text):
    path = tmp_path / "a.ckpt"
    ms.save_checkpoint([{"name": "a", "data": Tensor(np.ones(2, np.float32))}], str(path),
                       append_dict={"progress": text or " "}, crc_check=True)
    with pytest.raises(UserError, match="a.ckpt: its description of the model and the training"):
        read_checkpoint(path)
