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


@pytest.mark.fault("a .pth file that contains itself, and others like it",
                   "small files that once hung or ended in a traceback", "an error with the file's name within 3 s")
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


def holds_for_mutations(seed, path, write, removed, added, changes):
    """The reader of a file gives a value or a UserError after 1 to `changes` changes of its content.

    A change replaces up to `removed` bytes of the seed by up to `added` others; write(content) writes the file.
    """
    hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed (requirements-test.txt)")
    some = hypothesis.strategies
    change = some.tuples(some.integers(0, len(seed) - 1), some.integers(0, removed), some.binary(max_size=added))

    @hypothesis.settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None)
    @hypothesis.given(some.lists(change, min_size=1, max_size=changes))
    def holds(chosen):
        content = bytearray(seed)
        for place, length, new in chosen:
            content[place:place + length] = new
        write(bytes(content))
        try:
            read(path)
        except UserError as error:
            str(error).encode()

    holds()


@pytest.mark.fault("mutated weight files", "hypothesis changes bytes of .pth, .safetensors and .ckpt files",
                   "weights or an error, never a traceback")
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".ckpt"])
def test_mutated_files_give_a_value_or_a_clear_error(tmp_path, suffix):
    path = tmp_path / f"mutated{suffix}"
    holds_for_mutations(good_files(tmp_path)[suffix], path, path.write_bytes, removed=8, added=8, changes=4)


def test_a_mutated_pickle_gives_a_value_or_a_clear_error(tmp_path):
    """The checksums of a ZIP file hide its pickle from the test above."""
    path = tmp_path / "mutated.pth"

    def write(content):
        buffer = io.BytesIO()
        zipped(buffer, content)
        path.write_bytes(buffer.getvalue())
    holds_for_mutations(tensor((2, 3), (3, 1)), path, write, removed=4, added=6, changes=3)
