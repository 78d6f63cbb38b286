"""Files of torch.save, read without PyTorch: the ZIP form, and the form before PyTorch 1.6.

Nothing in a file is run, see inert_pickle. Values that are not tensors become plain values or notes.
"""
from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from centernet.errors import UserError
from centernet.weights.inert_pickle import BrokenPickle, Global, RefusedName, Stub, read_pickle
from centernet.weights.raw_tensors import WrongTensor, array_of, item_size

MOST_ENTRIES = 200_000
LARGEST_PICKLE = 1 << 28
# A normal file is not compressed. Weights that another program compressed shrink to a half at best.
LARGEST_RATIO = 16
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
# Modules of Python that a normal checkpoint never uses.
HARMFUL = ("builtins", "nt", "os", "posix", "runpy", "shutil", "socket", "subprocess", "sys")

STORAGES = {"Float": "F32", "Double": "F64", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32",
            "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL", "Untyped": "bytes"}
NUMBERS = {"float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
           "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
           "bool": "BOOL"}
# Calls that give their first argument back, with other attributes.
WRAPPERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
            "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer")


@dataclass(frozen=True, eq=False)
class Storage:
    """Place of numbers: its key in the file, its type of numbers ("bytes" if the tensor says it), their count."""

    key: str
    kind: str
    count: int


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor in a file: see raw_tensors.array_of for the fields."""

    storage: Storage
    kind: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class TorchFile:
    """The content of a file of torch.save.

    Attributes:
        content: dictionaries, lists, numbers, texts, StoredTensor, and notes (Stub, Global) for all other objects.
        order: "<" if the numbers are little-endian, ">" otherwise.
    """

    content: Any
    order: str
    _bytes: dict[str, bytes] = field(default_factory=dict)
    _archive: zipfile.ZipFile | None = None
    _prefix: str = ""

    def array(self, tensor: StoredTensor) -> np.ndarray:
        """Return a tensor's numbers, see raw_tensors.array_of. Raise WrongTensor if they are not in the file."""
        key = tensor.storage.key
        if self._archive and key not in self._bytes:
            try:
                self._bytes[key] = self._archive.read(f"{self._prefix}data/{key}")
            except KeyError as error:
                raise WrongTensor(f"has its numbers in the entry data/{key}, which is not in the file") from error
        if key not in self._bytes:
            raise WrongTensor(f"has its numbers in the storage {key}, which is not in the file")
        data = self._bytes[key]
        size = 1 if tensor.storage.kind == "bytes" else item_size(tensor.storage.kind)
        if len(data) != tensor.storage.count * size:
            raise WrongTensor(f"has a storage of {tensor.storage.count} values of {size} bytes, but the file has "
                              f"{len(data)} bytes for it")
        return array_of(data, tensor.kind, tensor.shape, self.order, tensor.offset, tensor.strides)


@contextmanager
def open_torch(path: Path, zipped: bool) -> Iterator[TorchFile]:
    """Open a file of torch.save.

    Raises:
        UserError: it is cut off or damaged, names code, claims sizes that it does not have, or is not of torch.save.
    """
    size = path.stat().st_size
    try:
        if zipped:
            with zipfile.ZipFile(path) as archive:
                _require_sane(archive, path)
                yield _read_zip(archive, path)
        else:
            yield _read_legacy(io.BytesIO(path.read_bytes()), path)
    except RefusedName as error:
        raise UserError(f"--input {path} contains more than weights: to read it would run {str(error)[:80]}. Therefore "
                        f"it was not read. {_way_out(str(error))}") from error
    except WrongTensor as error:
        raise UserError(f"--input {path}: one of its tensors {error}") from error
    # The readers of ZIP files raise these for damaged bytes; also for encrypted entries and unknown compression.
    except (BrokenPickle, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, OverflowError,
            LookupError) as error:
        raise UserError(f"--input {path} is cut off or damaged ({size} bytes, {type(error).__name__}: "
                        f"{ascii(str(error))[1:-1][:80]}): copy or download it again") from error


def _require_sane(archive: zipfile.ZipFile, path: Path) -> None:
    """Check number, sizes and checksums of all entries before any is read. Raise UserError if one is wrong."""
    entries, size = archive.infolist(), path.stat().st_size
    names = {entry.filename for entry in entries}
    problem = ""
    if len(entries) > MOST_ENTRIES:
        problem = f"it has {len(entries)} entries (at most {MOST_ENTRIES})"
    elif len(names) < len(entries):
        problem = "two of its entries have the same name"
    elif any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1
             for entry in entries):
        problem = "an entry is encrypted or compressed in a form that torch.save does not write"
    elif sum(entry.file_size for entry in entries) > LARGEST_RATIO * size:
        problem = (f"its entries claim {sum(entry.file_size for entry in entries)} bytes, more than {LARGEST_RATIO} "
                   f"times those of the file ({size})")
    if problem:
        raise UserError(f"--input {path} is damaged or not a file of torch.save: {problem}. Copy or download it again")
    if bad := archive.testzip():
        raise UserError(f"--input {path} is damaged: the checksum of its entry {ascii(bad)[1:-1][:80]} is wrong. Copy "
                        "or download it again")


def _read_zip(archive: zipfile.ZipFile, path: Path) -> TorchFile:
    names = archive.namelist()
    pickles = [name for name in names if name.count("/") <= 1 and name.rpartition("/")[2] == "data.pkl"]
    if any(name.endswith("constants.pkl") for name in names):
        raise UserError(f"--input {path} is a TorchScript program, not a checkpoint: save the state_dict of its "
                        "network instead")
    if len(pickles) != 1:
        listed = ", ".join(ascii(name)[1:-1][:60] for name in names[:3]) or "nothing"
        raise UserError(f"--input {path} is a ZIP archive that torch.save did not write (it has: {listed}): unpack it "
                        f"with unzip, and give the weight file inside")
    prefix = pickles[0].removesuffix("data.pkl")
    if archive.getinfo(pickles[0]).file_size > LARGEST_PICKLE:
        raise BrokenPickle(f"a pickle of more than {LARGEST_PICKLE} bytes")
    content = read_pickle(io.BytesIO(archive.read(pickles[0])), _storage, _rebuilt)
    order = archive.read(f"{prefix}byteorder") if f"{prefix}byteorder" in names else b"little"
    if order not in (b"little", b"big"):
        raise BrokenPickle("unknown order of bytes")
    return TorchFile(content, ">" if order == b"big" else "<", _archive=archive, _prefix=prefix)


def _read_legacy(file: BinaryIO, path: Path) -> TorchFile:
    """Read a magic number, a version, a description of the machine, the content, keys, and the bytes of each key."""
    def value() -> Any:
        return read_pickle(file, found, _rebuilt)

    used: dict[str, Storage] = {}

    def found(identity: Any) -> Any:
        storage = _storage(identity)
        return used.setdefault(storage.key, storage)

    try:
        magic = value()
    except (BrokenPickle, RefusedName):
        magic = None
    if magic != LEGACY_MAGIC:
        raise UserError(f"--input {path} is damaged, or a pickle that torch.save did not write. It was not read, "
                        "because pickles can contain code: use a file of torch.save or safetensors")
    version, machine, content, keys = value(), value(), value(), value()
    if version != LEGACY_PROTOCOL or not isinstance(machine, dict) or not isinstance(keys, list):
        raise BrokenPickle("unknown version, or no list of storages")
    order = "<" if machine.get("little_endian", True) else ">"
    data: dict[str, bytes] = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little" if order == "<" else "big")
        storage = used.get(key) if isinstance(key, str) else None
        if storage is None or count != storage.count:
            raise BrokenPickle("a storage that no tensor uses, or of another size")
        length = count * (1 if storage.kind == "bytes" else item_size(storage.kind))
        data[storage.key] = file.read(length)
        if len(data[storage.key]) != length:
            raise BrokenPickle("the file ends within the numbers of a tensor")
    return TorchFile(content, order, _bytes=data)


def _storage(identity: Any) -> Storage:
    """Return the storage of a persistent id: ("storage", type, key, device, count) and further values."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] not in ("storage", b"storage"):
        raise BrokenPickle("a reference that is not to a storage in its pickle")
    _, kind, key, _, count = identity[:5]
    if not isinstance(kind, Global) or not isinstance(key, str) or type(count) is not int or count < 0:
        raise BrokenPickle("a wrong reference to a storage in its pickle")
    if len(identity) > 5 and identity[5] is not None:
        raise BrokenPickle("a storage that is part of another one")
    name = kind.name.rpartition(".")[2].removesuffix("Storage")
    return Storage(key, STORAGES.get(name, name), count)


def _rebuilt(stub: Stub) -> Any:
    """Return the tensor that a call makes; other calls stay notes."""
    arguments = stub.arguments
    if stub.name in WRAPPERS and arguments:
        return arguments[0]
    if stub.name == "torch._tensor._rebuild_from_type_v2" and len(arguments) >= 3:
        function, _, inner = arguments[:3]
        return _rebuilt(Stub(function.name, inner)) if isinstance(function, Global) and function.name != stub.name \
            and isinstance(inner, tuple) else stub
    rebuilds = [f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")]
    if stub.name not in rebuilds or len(arguments) < 4 or not isinstance(arguments[0], Storage):
        return stub
    storage, offset, shape, strides = arguments[:4]
    shape, strides = (value.arguments[0] if isinstance(value, Stub) and value.arguments else value
                      for value in (shape, strides))
    kind = storage.kind
    if stub.name == rebuilds[2]:
        if len(arguments) < 7 or not isinstance(arguments[6], Global):
            raise BrokenPickle("a tensor without the type of its numbers in its pickle")
        name = arguments[6].name.rpartition(".")[2]
        kind = NUMBERS.get(name, name)
    return StoredTensor(storage, kind, offset, shape, strides)


def _way_out(refused: str) -> str:
    if refused.split(".")[0] in HARMFUL:
        return "No checkpoint needs that: do not use this file"
    return ("If you trust its author, save only its weights on a machine that has the program that wrote it: "
            "torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'weights.pth'). "
            "If the file contains the network itself, use .state_dict() instead of ['state_dict']")
