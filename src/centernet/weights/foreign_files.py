"""Weight files of other programs, read and written as name -> array: PyTorch, safetensors, MindSpore.

PyTorch is an optional package. Only this module imports it, and only to write PyTorch's files. The content of a file,
not its suffix, determines its format. Files may come from strangers: no code in a file is run (inert_pickle), and
their claims of sizes are checked before memory is used.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor

from centernet.errors import UserError
from centernet.files import replacing, user_errors
from centernet.model_files import require_weight_file
from centernet.program import install
from centernet.weights.checkpoint import read_checkpoint
from centernet.weights.inert_pickle import Stub
from centernet.weights.name_maps import BACKBONE
from centernet.weights.raw_tensors import WrongTensor, require_name
from centernet.weights.safetensors_files import is_safetensors, read_safetensors
from centernet.weights.torch_files import StoredTensor, open_torch

# Keys under which programs save the weights, and keys under which they save averaged weights.
WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "weights")
EMA_WRAPPERS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
# Prefixes of names by DataParallel, Lightning, averaging and torch.compile.
PREFIX = re.compile(r"^((module|model|ema|ema_model|model_ema|_orig_mod)\.)+")
DEEPEST_WRAPPER = 8
REBUILT = re.compile(r"torch\._(utils|tensor)\._rebuild_")
LARGEST_SHARED = 8  # tensors may share numbers (tied layers), but all of them are not much larger than the file
ARCHIVES = ((257, b"ustar", "tar archive", "tar xf FILE"),
            (0, b"\x1f\x8b", "gzip-compressed", "tar xzf FILE, or gunzip"),
            (0, b"BZh", "bzip2-compressed", "tar xjf FILE, or bunzip2"),
            (0, b"\xfd7zXZ", "xz-compressed", "tar xJf FILE, or unxz"),
            (0, b"\x28\xb5\x2f\xfd", "zstd-compressed", "tar --zstd -xf FILE, or unzstd"),
            (0, b"7z\xbc\xaf\x27\x1c", "7-Zip", "7z x FILE"), (0, b"Rar!", "RAR", "unrar x FILE"))


def read_weights(path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Read the tensors of a file, without wrappers and common prefixes.

    Returns:
        name -> array, in the file's precision (bfloat16 becomes float32), and notes for the user.

    Raises:
        UserError: the file is missing, truncated, changed, contains code, or is not a weight file.
    """
    require_weight_file(path)
    with user_errors(f"--input {path} cannot be read"):
        tensors, notes = _read_by_content(path)
    plain = _without_prefix(tensors)
    if len(plain) < len(tensors):
        notes += (f"{len(tensors) - len(plain)} tensors were left out: other tensors have the same names without a "
                  "prefix (averaged weights have a prefix)",)
    return plain, notes


def _read_by_content(path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    with path.open("rb") as file:
        head = file.read(512)
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
        return _read_torch(path, head[:1] == b"P")
    if path.suffix == ".safetensors" or is_safetensors(head, path.stat().st_size):
        return read_safetensors(path), ()
    if path.suffix == ".ckpt":
        return _read_mindspore(path), ()
    if not head:
        raise UserError(f"--input {path} is empty (0 bytes): copy or download it again")
    for place, mark, kind, command in ARCHIVES:
        if head[place:].startswith(mark):
            raise UserError(f"--input {path} is a {kind} file, not the weight file itself: unpack it ({command}), and "
                            "give the weight file inside")
    raise UserError(f"--input {path} is not a PyTorch, safetensors or MindSpore (.ckpt) file; it has "
                    f"{path.stat().st_size} bytes and begins with {head[:16]!r}. Is it a web page?")


def write_weights(path: Path, tensors: dict[str, np.ndarray], wrapped: bool) -> None:
    """Write a PyTorch (.pth, .pt), safetensors or MindSpore (.ckpt) file, completely or not at all.

    Args:
        path: the file; its suffix determines the format. An existing file is replaced.
        tensors: name -> array.
        wrapped: PyTorch only: write the tensors into the entry "state_dict", beside an "epoch" of 0.

    Raises:
        UserError: PyTorch is needed but not installed, or the file cannot be written.
    """
    try:
        with replacing(path) as unfinished:
            if path.suffix == ".safetensors":
                from safetensors.numpy import save
                unfinished.write_bytes(save({name: np.ascontiguousarray(value) for name, value in tensors.items()}))
            elif path.suffix == ".ckpt":
                ms.save_checkpoint({name: Parameter(Tensor(value), name=name) for name, value in tensors.items()},
                                   str(unfinished))
            else:
                torch = import_torch()
                state = {name: torch.tensor(value) for name, value in tensors.items()}
                torch.save({"epoch": 0, "state_dict": state} if wrapped else state, unfinished)
            unfinished.chmod(0o644)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"--output {path} could not be written: {str(error).splitlines()[0]}. Is the folder writable, "
                        "and the disk not full?") from error


def import_torch() -> Any:
    """Import the module torch. Raise UserError with the installation command if it is missing."""
    try:
        import torch
    except ImportError as error:
        raise UserError("PyTorch is needed to write .pth files and is not installed: "
                        f"`{install('convert', 'torch')}`. Or write .safetensors files") from error
    return torch


def _read_mindspore(path: Path) -> dict[str, np.ndarray]:
    checkpoint = read_checkpoint(path)
    if checkpoint.record or any(name.startswith(BACKBONE) for name in checkpoint.parameters):
        raise UserError(f"--input {path} is already a checkpoint of this program. --reverse true converts it to the "
                        "format of --source")
    return {name: value.asnumpy() for name, value in checkpoint.parameters.items()}


def _read_torch(path: Path, zipped: bool) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the tensors of a file of torch.save, and a note if it has averaged weights, too."""
    with open_torch(path, zipped) as file:
        stored, notes = _unwrap(file.content, path)
        tensors: dict[str, np.ndarray] = {}
        most = LARGEST_SHARED * path.stat().st_size
        for name, tensor in stored.items():
            try:
                if not isinstance(tensor, StoredTensor):
                    raise WrongTensor(f"is of a kind that this program does not read ({tensor.name[:60]}): save it as "
                                      "a plain tensor")
                tensors[require_name(name)] = file.array(tensor)
                most -= tensors[name].nbytes
                if most < 0:
                    raise WrongTensor("and those before it claim far more numbers than the file has")
            except WrongTensor as error:
                raise UserError(f"--input {path}: its tensor {ascii(name[:80])} {error}") from error
    return tensors, notes


def _unwrap(content: Any, path: Path) -> tuple[dict[str, StoredTensor | Stub], tuple[str, ...]]:
    """Return the tensors in the content of a file of torch.save, and a note if there are also averaged weights."""
    averaged = [key for key in EMA_WRAPPERS if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)]
    notes: tuple[str, ...] = ()
    for _ in range(DEEPEST_WRAPPER):
        inner = next((key for key in (*WRAPPERS, *averaged) if isinstance(content.get(key), Mapping)), None) \
            if isinstance(content, Mapping) else None
        if inner is None:
            break
        content = content[inner]
        if averaged:
            others = [key for key in averaged if key != inner]
            notes = (f"weights are those of the entry '{inner}'"
                     + (f"; '{others[0]}' was left out" if others else ""),)
    else:
        raise UserError(f"--input {path} has more than {DEEPEST_WRAPPER} dictionaries inside each other under names "
                        f"such as {' and '.join(WRAPPERS[:2])}, or one that contains itself: it is damaged, or made to "
                        "do harm. Copy or download it again")
    return _tensors_of(content, path), notes


def _tensors_of(content: Any, path: Path) -> dict[str, StoredTensor | Stub]:
    entries = content if isinstance(content, Mapping) else {}
    tensors = {name: value for name, value in entries.items() if isinstance(name, str) and (
        isinstance(value, StoredTensor) or (isinstance(value, Stub) and REBUILT.match(value.name)))}
    if not tensors:
        held = ", ".join(ascii(key)[1:-1][:40] if isinstance(key, str) else type(key).__name__
                         for key in list(entries)[:5])
        if not isinstance(content, Mapping):
            held = content.name[:60] if isinstance(content, Stub) else type(content).__name__
        raise UserError(f"--input {path} has no tensors with names (it has: {held or 'nothing'}): give the file that "
                        "contains the network's state_dict")
    return tensors


def _without_prefix(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Remove common prefixes from the names. Of several tensors with one name, prefer no prefix, then no average."""
    def rank(name: str) -> tuple[bool, bool]:
        prefix = PREFIX.match(name)
        return (prefix is not None and "ema" in prefix[0], prefix is not None)

    return {PREFIX.sub("", name): tensors[name] for name in sorted(tensors, key=rank, reverse=True)}
