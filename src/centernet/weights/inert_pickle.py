"""Reading of a pickle as plain values. Nothing that a pickle names is imported or called.

Pickles are programs for a machine with a stack. This module runs the operations that build values, and gives a note of
its own (Stub) in place of every object that a normal unpickler would make by a call. So a hostile file can only give
wrong values. Its time and memory are proportional to its size: see the limits below.
"""
from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

MOST_OPERATIONS = 5_000_000  # a checkpoint of 2000 tensors, with an optimizer, has 200,000
MOST_PAIRS = 500_000  # entries of OrderedDict([...]) and others; usual files give their entries by operations

# Names of classes and functions in checkpoints that say nothing about weights: settings, logs, numbers of NumPy.
HARMLESS = re.compile(
    r"torch\.(_utils\._rebuild_\w+|_tensor\._rebuild_\w+|nn\.parameter\.\w+|serialization\._get_layout|storage\.\w+"
    r"|(cuda\.)?\w+(Storage|Tensor)|Tensor|Size|device|b?float\w+|u?int\d+|bool|q\w+|complex\w+|per_\w+)"
    r"|numpy\.(_?core\.(multiarray|numeric)\.\w+|ndarray|dtypes?(\.\w+)?|u?int\d+|float\d+|bool_?|random\.[\w.]+)"
    r"|(mmengine|mmcv|omegaconf|yacs|addict|easydict)\.[\w.]+"
    r"|collections\.(OrderedDict|defaultdict|Counter|deque)|argparse\.Namespace|pathlib\.\w+|datetime\.\w+"
    r"|builtins\.(dict|list|tuple|set|frozenset|bytearray|bytes|complex|slice|range|object|int|float|str|bool)"
    r"|copyreg\._reconstructor|_codecs\.encode|types\.SimpleNamespace|uuid\.UUID|decimal\.Decimal|fractions\.Fraction")
# HistoryBuffer of mmengine (from 0.7.3 on) keeps its methods in its state; protocol 2 writes getattr(class, name).
GETATTR, ITS_OWNERS = "builtins.getattr", "mmengine."
DICTS = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict")
PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # modules that have another name in Python 3
KEYS = (str, int, float, bytes, bool, type(None))  # hashing a nested tuple can take exponential time

ATOMS = frozenset(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING",
                   "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "BINUNICODE",
                   "SHORT_BINUNICODE", "BINUNICODE8", "FLOAT", "BINFLOAT"))
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class BrokenPickle(ValueError):
    """The bytes are not a pickle, or not a complete one."""


class RefusedName(ValueError):
    """The pickle names a class or function that is not HARMLESS; the argument is the name."""


@dataclass(frozen=True)
class Global:
    """A class or function that the pickle names; it is not imported."""

    name: str


@dataclass(frozen=True, eq=False)
class Stub:
    """An object that a call of `name` with `arguments` would make."""

    name: str
    arguments: tuple[Any, ...]


class Mark:
    """Place on the stack where a sequence of items begins."""


def read_pickle(file: BinaryIO, persistent: Callable[[Any], Any], rebuilt: Callable[[Stub], Any]) -> Any:
    """Read one pickle from a file that is in memory, up to its end.

    Args:
        file: io.BytesIO; reading begins at its position.
        persistent: value for a persistent id, which is the place of data outside the pickle.
        rebuilt: value for an object that is made by a call.

    Raises:
        BrokenPickle: the bytes are not a complete pickle, or the limit of operations is exceeded.
        RefusedName: it names a class or function that no weights need.
    """
    machine = _Machine(persistent, rebuilt)
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if count > MOST_OPERATIONS:
                raise BrokenPickle(f"more than {MOST_OPERATIONS} operations")
            machine.run(operation.name, argument)
        return machine.pop()
    except (BrokenPickle, RefusedName):
        raise
    # genops and the stack's operations raise these for bytes that are not a pickle.
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise BrokenPickle(f"{type(error).__name__} in its pickle") from error


class _Machine:
    """The stack, the memory of values that are used again, and the operations."""

    def __init__(self, persistent: Callable[[Any], Any], rebuilt: Callable[[Stub], Any]):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0  # pairs given to DICTS; one list can be given many times
        self.persistent, self.rebuilt = persistent, rebuilt
        self.operations: dict[str, Callable[[Any], object]] = {
            "PROTO": self._nothing, "FRAME": self._nothing, "STOP": self._nothing,
            "MARK": lambda _: self.stack.append(Mark()), "POP": lambda _: self.stack.pop(),
            "POP_MARK": lambda _: self.items(), "DUP": lambda _: self.stack.append(self.stack[-1]),
            "EMPTY_LIST": lambda _: self.stack.append([]), "EMPTY_DICT": lambda _: self.stack.append({}),
            "EMPTY_TUPLE": lambda _: self.stack.append(()), "EMPTY_SET": lambda _: self.stack.append([]),
            "LIST": lambda _: self.stack.append(self.items()), "DICT": self._dict,
            "FROZENSET": lambda _: self.stack.append(self.items()),
            "TUPLE": lambda _: self.stack.append(tuple(self.items())),
            "TUPLE1": lambda _: self._tuple(1), "TUPLE2": lambda _: self._tuple(2), "TUPLE3": lambda _: self._tuple(3),
            "APPEND": lambda _: self._extend([self.pop()]), "APPENDS": lambda _: self._extend(self.items()),
            "ADDITEMS": lambda _: self._extend(self.items()), "SETITEM": self._set_item,
            "SETITEMS": lambda _: self._set_items(self.items()), "GLOBAL": self._global,
            "STACK_GLOBAL": self._stack_global, "REDUCE": self._reduce, "NEWOBJ": self._reduce,
            "NEWOBJ_EX": self._new_with_names, "INST": self._instance, "OBJ": self._object,
            "BUILD": lambda _: self.pop(),  # the state of an object, which no tensor needs
            "BINPERSID": lambda _: self.stack.append(self.persistent(self.pop())),
            **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), self._remember),
            **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), self._recall),
            **dict.fromkeys(ATOMS, self.stack.append),
            **{name: partial(self._constant, value) for name, value in CONSTANTS.items()}}

    def run(self, name: str, argument: Any) -> None:
        if name not in self.operations:
            raise BrokenPickle(f"the operation {name} in its pickle")
        self.operations[name](argument)

    def pop(self) -> Any:
        value = self.stack.pop()
        if isinstance(value, Mark):
            raise BrokenPickle("a mark in place of a value in its pickle")
        return value

    def items(self) -> list[Any]:
        """Return the values after the last mark, and remove both from the stack."""
        found = []
        while not isinstance(value := self.stack.pop(), Mark):
            found.append(value)
        return found[::-1]

    def _constant(self, value: Any, _: Any) -> None:
        self.stack.append(value)

    def _nothing(self, _: Any) -> None:
        """Do nothing: the operation does not change the stack."""

    def _tuple(self, count: int) -> None:
        values = tuple(self.pop() for _ in range(count))[::-1]
        self.stack.append(values)

    def _dict(self, _: Any) -> None:
        items = self.items()
        self.stack.append({})
        self._set_items(items)

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)
        elif not isinstance(self.stack[-1], Stub):
            raise BrokenPickle("items for a value that is not a list in its pickle")

    def _set_item(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self._set_items([key, value])

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if len(items) % 2 or not isinstance(target, (dict, Stub)):
            raise BrokenPickle("keys without values, or for a value that is not a dictionary, in its pickle")
        if isinstance(target, dict):
            # Keys that are objects are kept out: only names matter, and hashes of nested tuples can take for ever.
            target.update((key, value) for key, value in zip(items[::2], items[1::2]) if isinstance(key, KEYS))

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        full = f"{PYTHON_2.get(module, module)}.{name}"
        if full != GETATTR and not HARMLESS.fullmatch(full):  # _call checks what getattr is used for
            raise RefusedName(full)
        self.stack.append(Global(full))

    def _stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):  # the text of nested tuples can take for ever
            raise BrokenPickle("a name that is not text in its pickle")
        self._global(f"{module} {name}")

    def _reduce(self, _: Any) -> None:
        arguments = self.pop()
        self._call(self.pop(), arguments)

    def _new_with_names(self, _: Any) -> None:
        self.pop()
        self._reduce(_)

    def _instance(self, argument: str) -> None:
        arguments = tuple(self.items())
        self._global(argument)
        self._call(self.pop(), arguments)

    def _object(self, _: Any) -> None:
        kind, *arguments = self.items()
        self._call(kind, tuple(arguments))

    def _call(self, called: Any, arguments: Any) -> None:
        if not isinstance(called, Global) or not isinstance(arguments, tuple):
            raise BrokenPickle("a call of something that is not a name in its pickle")
        if called.name == GETATTR and not _takes_a_method(arguments):
            raise RefusedName(called.name)
        if called.name not in DICTS:
            self.stack.append(self.rebuilt(Stub(called.name, arguments)))
            return
        self.stack.append({})
        pairs = arguments[0] if arguments and isinstance(arguments[0], (list, tuple)) else ()
        self.copied += len(pairs)
        if self.copied > MOST_PAIRS:
            raise BrokenPickle(f"more than {MOST_PAIRS} entries of dictionaries")
        self._set_items([value for key, item in pairs for value in (key, item)])

    def _remember(self, argument: int | None) -> None:
        value = self.stack[-1]
        if isinstance(value, Mark):
            raise BrokenPickle("a mark in place of a value in its pickle")
        self.memo[len(self.memo) if argument is None else argument] = value

    def _recall(self, argument: int) -> None:
        self.stack.append(self.memo[argument])


def _takes_a_method(arguments: tuple[Any, ...]) -> bool:
    """Return whether getattr is called for a name of mmengine. The call is only noted, as all others."""
    return len(arguments) == 2 and isinstance(arguments[0], Global) and arguments[0].name.startswith(ITS_OWNERS)
