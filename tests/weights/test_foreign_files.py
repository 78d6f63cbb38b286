"""Weight files: every form that programs save, and every way in which a file is not one."""
import os
import pickle
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from centernet.errors import UserError
from centernet.weights.checkpoint import save_checkpoint
from centernet.weights.foreign_files import read_weights, write_weights
from tests.tiny_model import read_config, tiny_checkpoint, tiny_config

TENSORS = {"conv1.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
           "bn1.bias": np.full(2, -0.0, np.float32)}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed (requirements-convert.txt)")


@pytest.fixture
def saved(torch, tmp_path):
    """Save any content with torch.save; the path."""
    def save(content, **options):
        path = tmp_path / "weights.pth"
        torch.save(content, path, **options)
        return path
    return save


def state(torch, prefix="", tensors=TENSORS):
    return {prefix + name: torch.tensor(value) for name, value in tensors.items()}


def same(found, expected=TENSORS):
    assert found.keys() == expected.keys()
    assert all(found[name].tobytes() == value.tobytes() and found[name].shape == value.shape
               for name, value in expected.items())


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model.", "ema.module.", "_orig_mod.module."])
@pytest.mark.parametrize("wrapper", [(), ("state_dict",), ("model_state_dict",), ("model",), ("model", "state_dict"),
                                     ("model_ema",), ("ema_state_dict",)])
def test_wrappers_and_prefixes_are_taken_off(torch, saved, prefix, wrapper):
    content = state(torch, prefix)
    for key in reversed(wrapper):
        content = {"epoch": 3, key: content, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
    same(read_weights(saved(content))[0])


def test_the_format_before_pytorch_1_6_is_read(torch, saved):
    same(read_weights(saved({"state_dict": state(torch)}, _use_new_zipfile_serialization=False))[0])


def test_averaged_weights_beside_others_are_left_aside(torch, saved):
    other = {name: value + 1 for name, value in TENSORS.items()}
    tensors, notes = read_weights(saved({"state_dict": state(torch), "ema_state_dict": state(torch, "module.", other)}))
    same(tensors)
    assert notes == ("weights are those of the entry 'state_dict'; 'ema_state_dict' was left out",)


def test_a_plain_name_wins_over_one_with_a_prefix(torch, saved):
    other = {name: value + 1 for name, value in TENSORS.items()}
    same(read_weights(saved({**state(torch), **state(torch, "module.", other)}))[0])


@pytest.mark.parametrize("prefixes", [("model.", "ema_model.module."), ("model_ema.", "module."), ("ema.", "")])
def test_an_average_under_a_prefix_is_left_aside(torch, saved, prefixes):
    averaged = {name: value + 1 for name, value in TENSORS.items()}
    content = {}
    for prefix in prefixes:
        content.update(state(torch, prefix, averaged if "ema" in prefix else TENSORS))
    tensors, notes = read_weights(saved(content))
    same(tensors)
    assert notes == ("2 tensors were left out: other tensors have the same names without a prefix (averaged weights "
                     "have a prefix)",)


def test_half_precision_is_kept_and_bfloat16_widened(torch, saved):
    values = torch.tensor([0.1, -3.0])
    found = read_weights(saved({"half": values.half(), "brain": values.bfloat16()}))[0]
    assert found["half"].dtype == np.float16 and found["brain"].dtype == np.float32
    assert found["brain"].tolist() == values.bfloat16().float().tolist()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".ckpt"])
def test_what_is_written_is_read(request, tmp_path, suffix):
    if suffix.startswith(".pt"):
        request.getfixturevalue("torch")
    path = tmp_path / "new" / f"weights{suffix}"
    write_weights(path, TENSORS, wrapped=False)
    same(read_weights(path)[0])
    assert list(path.parent.iterdir()) == [path] and path.stat().st_mode & 0o777 == 0o644


def test_wrapped_weights_are_what_the_papers_code_loads(torch, tmp_path):
    write_weights(tmp_path / "w.pth", TENSORS, wrapped=True)
    content = torch.load(tmp_path / "w.pth", weights_only=True)
    assert content["epoch"] == 0
    same({name: value.numpy() for name, value in content["state_dict"].items()})


def test_a_file_is_told_by_its_content(torch, tmp_path):
    write_weights(tmp_path / "w.safetensors", TENSORS, wrapped=False)
    os.rename(tmp_path / "w.safetensors", tmp_path / "renamed.bin")
    same(read_weights(tmp_path / "renamed.bin")[0])
    torch.save({"state_dict": state(torch)}, tmp_path / "lightning.ckpt")
    same(read_weights(tmp_path / "lightning.ckpt")[0])


class Code:
    """Unpickled by a careless reader, this makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_neither_run_nor_accepted(saved, tmp_path, zipped):
    path = saved({"state_dict": Code(tmp_path / "was_run")}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match="more than weights: to read it would run posix.mkdir. Therefore it was not "
                                        "read. No checkpoint needs that: do not use this file"):
        read_weights(path)
    assert not (tmp_path / "was_run").exists()
    pickle.loads(pickle.dumps(Code(tmp_path / "was_run")))  # noqa: S301 (shows that it would have)
    assert (tmp_path / "was_run").exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_pickles_that_torch_did_not_write_are_refused(torch, tmp_path, protocol):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"a": 1}, protocol))
    with pytest.raises(UserError, match="a pickle that torch.save did not write.*pickles can contain code"):
        read_weights(tmp_path / "w.pkl")


def test_a_saved_network_is_refused_with_the_way_out(torch, saved):
    with pytest.raises(UserError, match=r"would run torch.nn.modules.linear.Linear.*torch.save\(torch.load"):
        read_weights(saved(torch.nn.Linear(2, 2)))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_named_so(torch, saved, zipped, share):
    path = saved({"state_dict": state(torch, tensors={"a.weight": np.ones((100, 100), np.float32)})},
                 _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size * share)])
    with pytest.raises(UserError, match=f"is cut off.*{path.stat().st_size} bytes.*download it again"):
        read_weights(path)


def test_one_altered_bit_is_found(torch, saved):
    path = saved({"a.weight": torch.ones(10000)})
    content = bytearray(path.read_bytes())
    content[20000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged: the checksum of its entry weights/data/0 is wrong"):
        read_weights(path)


@pytest.mark.parametrize("content, words", [
    ({"epoch": 3, "lr": 0.1}, r"has no tensors with names \(it has: epoch, lr\)"),
    ([1, 2], r"has no tensors with names \(it has: list\)"), ({}, r"it has: nothing")])
def test_files_without_weights_are_refused(saved, content, words):
    with pytest.raises(UserError, match=words):
        read_weights(saved(content))


def test_a_torchscript_program_is_refused(torch, tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "w.pth")
    with pytest.raises(UserError, match="TorchScript program, not a checkpoint"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("name, content, words", [
    ("w.pth", b"<!DOCTYPE html><html>", "begins with b'<!DOCTYPE html><'. Is it a web page"),
    ("w.pth", b"", "is empty .0 bytes"),
    ("w.safetensors", b"short", "is not a safetensors file .5 bytes"),
    ("w.ckpt", b"hello", "is cut off or is not a MindSpore checkpoint")])
def test_other_files_are_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_weights(tmp_path / name)


def test_a_cut_safetensors_file_is_named_so(tmp_path):
    write_weights(tmp_path / "w.safetensors", {"a": np.ones(1000, np.float32)}, wrapped=False)
    (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:500])
    with pytest.raises(UserError, match="cut off or is not a safetensors file"):
        read_weights(tmp_path / "w.safetensors")


def test_paths_that_are_no_file(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        read_weights(tmp_path / "absent.pth")
    with pytest.raises(UserError, match="is a folder"):
        read_weights(tmp_path)
    Path(tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="could not be written"):
        write_weights(tmp_path / "file" / "w.safetensors", TENSORS, wrapped=False)


def test_a_checkpoint_of_this_program_is_no_source(tmp_path):
    network = tiny_checkpoint(tmp_path / "own.ckpt", read_config(tiny_config(tmp_path)))
    save_checkpoint(tmp_path / "backbone.ckpt", network.backbone, None, {})
    for name in ("own.ckpt", "backbone.ckpt"):
        with pytest.raises(UserError, match="is already a checkpoint of this program. --reverse true"):
            read_weights(tmp_path / name)


def test_only_writing_needs_pytorch(torch, saved, tmp_path, monkeypatch):
    path = saved({"state_dict": state(torch)})
    monkeypatch.setitem(sys.modules, "torch", None)
    same(read_weights(path)[0])
    with pytest.raises(UserError, match="requirements-convert.txt"):
        write_weights(tmp_path / "new.pth", TENSORS, wrapped=False)
    write_weights(tmp_path / "w.safetensors", TENSORS, wrapped=False)
    same(read_weights(tmp_path / "w.safetensors")[0])
    ms.save_checkpoint({"a": ms.Parameter(ms.Tensor(TENSORS["bn1.bias"]), name="a")}, str(tmp_path / "zoo.ckpt"))
    same(read_weights(tmp_path / "zoo.ckpt")[0], {"a": TENSORS["bn1.bias"]})
