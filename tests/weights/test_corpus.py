"""Files that once ended a reader with something else than a clear error, and mutations of good ones."""
import io
import os
import time
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from centernet.errors import UserError
from centernet.weights.checkpoint import read_checkpoint
from centernet.weights.foreign_files import read_weights
from tests.weights.test_torch_files import tensor, zipped

EXAMPLES = int(os.environ.get("CENTERNET_FUZZ_EXAMPLES", "60"))  # of each mutation test; more for a long run
CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


def read(path):
    """Read a file with its reader."""
    return read_checkpoint(path) if path.suffix == ".ckpt" else read_weights(path)


@pytest.mark.fault("a .pth file that contains itself", "small files that once hung or ended in a traceback",
                   "an error within 5 s")
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_the_reader_ends_with_a_clear_error(path):
    start = time.perf_counter()
    with pytest.raises(UserError, match=path.name) as error:
        read(path)
    str(error.value).encode()  # can be printed
    assert time.perf_counter() - start < 3


def good_files(folder):
    """Return the bytes of one good file of each form, by suffix."""
    safetensors = pytest.importorskip("safetensors.numpy")
    ms.save_checkpoint([{"name": "a", "data": Tensor(np.ones((2, 3), np.float32))},
                        {"name": "b", "data": Tensor(np.ones(3, np.int32))}], str(folder / "seed.ckpt"),
                       append_dict={"model_record": '{"preset": ""}', "progress": '{"step": 1}'})
    return {".pth": zipped(folder / "seed.pth", tensor((2, 3), (3, 1))).read_bytes(),
            ".safetensors": safetensors.save({"a": np.ones((2, 3), np.float32), "b": np.ones(3, np.int8)}),
            ".ckpt": (folder / "seed.ckpt").read_bytes()}


@pytest.mark.fault("mutated weight files", "hypothesis changes bytes of .pth, .safetensors and .ckpt files",
                   "weights or an error, never a traceback")
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".ckpt"])
def test_mutated_files_give_a_value_or_a_clear_error(tmp_path, suffix):
    hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed (requirements-test.txt)")
    some = hypothesis.strategies
    seed = good_files(tmp_path)[suffix]
    path = tmp_path / f"mutated{suffix}"
    change = some.tuples(some.integers(0, len(seed) - 1), some.integers(0, 8), some.binary(max_size=8))

    @hypothesis.settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None)
    @hypothesis.given(some.lists(change, min_size=1, max_size=4))
    def holds(changes):
        content = bytearray(seed)
        for place, removed, added in changes:
            content[place:place + removed] = added
        path.write_bytes(content)
        try:
            read(path)
        except UserError as error:
            str(error).encode()

    holds()


def test_a_mutated_pickle_gives_a_value_or_a_clear_error(tmp_path):
    """The checksums of a ZIP file hide its pickle from the test above."""
    hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed (requirements-test.txt)")
    some = hypothesis.strategies
    seed, path = tensor((2, 3), (3, 1)), tmp_path / "mutated.pth"
    change = some.tuples(some.integers(0, len(seed) - 1), some.integers(0, 4), some.binary(max_size=6))

    @hypothesis.settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None)
    @hypothesis.given(some.lists(change, min_size=1, max_size=3))
    def holds(changes):
        content = bytearray(seed)
        for place, removed, added in changes:
            content[place:place + removed] = added
        buffer = io.BytesIO()
        zipped(buffer, bytes(content))
        path.write_bytes(buffer.getvalue())
        try:
            read(path)
        except UserError as error:
            str(error).encode()

    holds()
