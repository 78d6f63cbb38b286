"""Weight files of other programs, read and written as name -> array: PyTorch, safetensors, MindSpore.

PyTorch is an optional package. Only this module imports it, and only for PyTorch's files. The content of a file, not
its suffix, determines its format. No code in a file is run: pickles are read with weights_only.
"""
from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor

from centernet.errors import UserError
from centernet.files import replacing, user_errors
from centernet.weights.checkpoint import read_checkpoint

# Keys under which programs save the weights, and keys under which they save averaged weights.
WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "weights")
EMA_WRAPPERS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
# Prefixes of names by DataParallel, Lightning, averaging and torch.compile.
PREFIX = re.compile(r"^((module|model|ema|ema_model|model_ema|_orig_mod)\.)+")
# Modules of Python that a normal checkpoint never uses.
HARMFUL = ("builtins", "nt", "os", "posix", "runpy", "shutil", "socket", "subprocess", "sys")
NO_TORCH = ("PyTorch is needed for .pth files and is not installed: `pip install -r requirements-convert.txt`. Or save "
            "the weights as .safetensors on a machine that has PyTorch")


def read_weights(path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Read the tensors of a file, without wrappers and common prefixes.

    Returns:
        name -> array, in the file's precision (bfloat16 becomes float32), and notes for the user.

    Raises:
        UserError: the file is missing, truncated, changed, contains code, or is not a weight file.
    """
    if path.is_dir() or not path.is_file():
        raise UserError(f"--input {path}: {'is a folder: give a file' if path.is_dir() else 'there is no such file'}")
    with user_errors(f"--input {path} cannot be read"), path.open("rb") as file:
        head = file.read(64)
    if head[:4] == b"PK\x03\x04":
        _require_intact_zip(path)
        content = _read_torch(path)
    elif head[:1] == b"\x80":
        content = _read_torch(path)
    elif path.suffix == ".safetensors" or _is_safetensors(head, path.stat().st_size):
        return _without_prefix(_read_safetensors(path)), ()
    elif path.suffix == ".ckpt":
        return _read_mindspore(path), ()
    elif not head:
        raise UserError(f"--input {path} is empty (0 bytes): copy or download it again")
    else:
        raise UserError(f"--input {path} is not a PyTorch, safetensors or MindSpore (.ckpt) file; it has "
                        f"{path.stat().st_size} bytes and begins with {head[:16]!r}. Is it a web page, or is it "
                        "compressed?")
    tensors, notes = _unwrap(content, path)
    plain = _without_prefix(tensors)
    if len(plain) < len(tensors):
        notes += (f"{len(tensors) - len(plain)} tensors were left out: other tensors have the same names without a "
                  "prefix (averaged weights have a prefix)",)
    return plain, notes


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
        raise UserError(NO_TORCH) from error
    return torch


def _read_torch(path: Path) -> Any:
    torch = import_torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    # The type of torch's exception depends on the place of the damage.
    except Exception as error:
        text = str(error)
        # A truncated file can end within a name of torch itself; this is not a refused name.
        refused = re.search(r"GLOBAL (?!torch\._utils\.)([\w.]+)", text)
        if "TorchScript" in text:
            raise UserError(f"--input {path} is a TorchScript program, not a checkpoint: save the state_dict of its "
                            "network instead") from error
        if refused:
            raise UserError(f"--input {path} contains more than weights: to read it would run {refused[1]}. Therefore "
                            f"it was not read. {_way_out(refused[1])}") from error
        if "Unsupported operand" in text or "Invalid magic number" in text:
            raise UserError(f"--input {path} is damaged, or a pickle that torch.save did not write. It was not read, "
                            "because pickles can contain code: use a file of torch.save or safetensors"
                            ) from error
        raise UserError(f"--input {path} is cut off or damaged ({path.stat().st_size} bytes, "
                        f"{type(error).__name__}): copy or download it again") from error


def _way_out(refused: str) -> str:
    if refused.split(".")[0] in HARMFUL:
        return "No checkpoint needs that: do not use this file"
    return ("If you trust its author, save only its weights on a machine that has the program that wrote it: "
            "torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'weights.pth'). "
            "If the file contains the network itself, use .state_dict() instead of ['state_dict']")


def _require_intact_zip(path: Path) -> None:
    """Check the checksum of every entry, because torch does not. Raise UserError if one is wrong."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(f"--input {path} is cut off ({path.stat().st_size} bytes): copy or download it again"
                        ) from error
    if bad:
        raise UserError(f"--input {path} is damaged: the checksum of its entry {bad} is wrong. Copy or download it "
                        "again")


def _is_safetensors(head: bytes, size: int) -> bool:
    """Return whether a file begins with the length of a JSON header and the header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size


def _read_mindspore(path: Path) -> dict[str, np.ndarray]:
    checkpoint = read_checkpoint(path)
    if checkpoint.record or any(name.startswith("backbone.") for name in checkpoint.parameters):
        raise UserError(f"--input {path} is already a checkpoint of this program. --reverse true converts it to the "
                        "format of --source")
    return {name: value.asnumpy() for name, value in checkpoint.parameters.items()}


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"--input {path} is cut off or is not a safetensors file ({path.stat().st_size} bytes, "
                        f"{error}): copy or download it again") from error
    except (TypeError, KeyError) as error:
        raise UserError(f"--input {path} contains numbers of a type that NumPy does not have ({error}): save them as "
                        "float32") from error


def _unwrap(content: Any, path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the tensors in the result of torch.load, and a note if there are also averaged weights."""
    averaged = [key for key in EMA_WRAPPERS if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)]
    notes: tuple[str, ...] = ()
    while isinstance(content, Mapping):
        inner = next((key for key in (*WRAPPERS, *averaged) if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = content[inner]
        if averaged:
            others = [key for key in averaged if key != inner]
            notes = (f"weights are those of the entry '{inner}'"
                     + (f"; '{others[0]}' was left out" if others else ""),)
    tensors = {str(name): _as_array(value) for name, value in content.items() if hasattr(value, "detach")} \
        if isinstance(content, Mapping) else {}
    if not tensors:
        held = ", ".join(map(str, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
        raise UserError(f"--input {path} has no tensors with names (it has: {held or 'nothing'}): give the file that "
                        "contains the network's state_dict")
    return tensors, notes


def _as_array(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()


def _without_prefix(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Remove common prefixes from the names. Of several tensors with one name, prefer no prefix, then no average."""
    def rank(name: str) -> tuple[bool, bool]:
        prefix = PREFIX.match(name)
        return (prefix is not None and "ema" in prefix[0], prefix is not None)

    return {PREFIX.sub("", name): tensors[name] for name in sorted(tensors, key=rank, reverse=True)}
