"""Weight files of other programs, read and written as name -> array: PyTorch, safetensors, MindSpore.

PyTorch is imported here and nowhere else, and only for its own files; it is an optional
package. Files are told by their content, not by their suffix. Nothing in a file is run:
pickles are read with weights_only.
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
from centernet.files import replacing
from centernet.weights.checkpoint import read_checkpoint

# Where programs put the weights in what they save, and where they put an average of them over the training.
WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "weights")
EMA_WRAPPERS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
# What DataParallel, Lightning, averaging and torch.compile put before every name.
PREFIX = re.compile(r"^((module|model|ema|ema_model|model_ema|_orig_mod)\.)+")
# Modules of Python that an honest checkpoint has nothing from.
HARMFUL = ("builtins", "nt", "os", "posix", "runpy", "shutil", "socket", "subprocess", "sys")
NO_TORCH = ("PyTorch is needed for .pth files and is not installed: `pip install -r requirements-convert.txt`. Or save "
            "the weights as .safetensors where they come from")


def read_weights(path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Read the tensors of a file, without wrappers and common prefixes.

    Returns:
        name -> array, in the file's precision (bfloat16 becomes float32), and notes for the user.

    Raises:
        UserError: the file is missing, cut off, altered, holds code or is no weight file at all.
    """
    if path.is_dir() or not path.is_file():
        raise UserError(f"--input {path}: {'is a folder, name a file' if path.is_dir() else 'there is no such file'}")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise UserError(f"--input {path} cannot be read: {error.strerror or error}") from error
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
        raise UserError(f"--input {path}: neither a PyTorch, a safetensors nor a MindSpore (.ckpt) file; it has "
                        f"{path.stat().st_size} bytes and begins with {head[:16]!r}. Was a web page saved instead of "
                        "the file, or was it packed?")
    tensors, notes = _unwrap(content, path)
    plain = _without_prefix(tensors)
    if len(plain) < len(tensors):
        notes += (f"{len(tensors) - len(plain)} tensors were left aside: others have their names, but for a prefix "
                  "(averaged weights have one)",)
    return plain, notes


def write_weights(path: Path, tensors: dict[str, np.ndarray], wrapped: bool) -> None:
    """Write name -> array as PyTorch (.pth, .pt), .safetensors or MindSpore (.ckpt); all of the file appears, or none.

    Args:
        path: its suffix says which; an older file is replaced.
        tensors: what to write.
        wrapped: PyTorch only: put them into the entry "state_dict", beside an "epoch" of 0.

    Raises:
        UserError: PyTorch is needed and absent, or the file cannot be written.
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
    """The module torch; raises UserError saying what to install if it is absent."""
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
    # What torch raises for a bad file depends on the place where it is bad.
    except Exception as error:
        text = str(error)
        # A name of torch's own appears when a cut goes through it.
        refused = re.search(r"GLOBAL (?!torch\._utils\.)([\w.]+)", text)
        if "TorchScript" in text:
            raise UserError(f"--input {path} is a TorchScript program, not a checkpoint: save the state_dict of the "
                            "network it was made from") from error
        if refused:
            raise UserError(f"--input {path} holds more than weights: reading it would run {refused[1]}, so it was not "
                            f"read. {_way_out(refused[1])}") from error
        if "Unsupported operand" in text or "Invalid magic number" in text:
            raise UserError(f"--input {path} is a pickle that torch.save did not write, or damaged. It was not read, "
                            "since pickles can hold code: get the weights as torch.save or safetensors write them"
                            ) from error
        raise UserError(f"--input {path} is cut off or damaged ({path.stat().st_size} bytes, "
                        f"{type(error).__name__}): copy or download it again") from error


def _way_out(refused: str) -> str:
    if refused.split(".")[0] in HARMFUL:
        return "No checkpoint needs that: do not use this file"
    return ("If you trust its author, save its weights alone where the program that wrote it is installed: "
            "torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'weights.pth'); "
            "where the file holds the network itself, .state_dict() instead of ['state_dict']")


def _require_intact_zip(path: Path) -> None:
    """Compare every entry's checksum, which torch does not; raises UserError."""
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
    """Whether a file begins with the length of a JSON header, and with the header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size


def _read_mindspore(path: Path) -> dict[str, np.ndarray]:
    checkpoint = read_checkpoint(path)
    if checkpoint.record or any(name.startswith("backbone.") for name in checkpoint.parameters):
        raise UserError(f"--input {path} is a checkpoint of this program already; with --reverse true it is written "
                        "for --source")
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
        raise UserError(f"--input {path} holds numbers of a type that NumPy has not got ({error}): save them as "
                        "float32") from error


def _unwrap(content: Any, path: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The tensors of what torch.load gave, and a note if averaged weights were there too."""
    averaged = [key for key in EMA_WRAPPERS if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)]
    notes: tuple[str, ...] = ()
    while isinstance(content, Mapping):
        inner = next((key for key in (*WRAPPERS, *averaged) if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = content[inner]
        if averaged:
            others = [key for key in averaged if key != inner]
            notes = (f"weights are those of its entry '{inner}'"
                     + (f"; '{others[0]}' was left aside" if others else ""),)
    tensors = {str(name): _as_array(value) for name, value in content.items() if hasattr(value, "detach")} \
        if isinstance(content, Mapping) else {}
    if not tensors:
        held = ", ".join(map(str, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
        raise UserError(f"--input {path} holds no tensors by name (it holds: {held or 'nothing'}): give the file that "
                        "has the network's state_dict")
    return tensors, notes


def _as_array(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()


def _without_prefix(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names without module. and its like; of several for one name the plainest is kept, and an average last."""
    def rank(name: str) -> tuple[bool, bool]:
        prefix = PREFIX.match(name)
        return (prefix is not None and "ema" in prefix[0], prefix is not None)

    return {PREFIX.sub("", name): tensors[name] for name in sorted(tensors, key=rank, reverse=True)}
