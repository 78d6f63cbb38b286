"""Parsing of JSON and YAML text that a stranger may have written. No other module parses such files.

A small text can ask for much: memory (YAML aliases that refer to aliases), stack (100,000 nested lists), or numbers and
texts that fail later, where they are used (Infinity, 10^400, half of a surrogate pair). The functions here refuse
such texts with a UserError that names the place. files.py reads the files, and json_value.py takes single values.
"""
from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from centernet.errors import UserError, printable, shown

MOST_DEPTH = 64             # nested lists and objects; the C++ program has the same limit
MOST_YAML_NODES = 100_000   # of a text; an alias counts as all that it stands for
LOWEST, HIGHEST = -2**63, 2**64 - 1  # whole numbers of a document have 64 bits

# The C version of the loader, where PyYAML has it: it is eight times as fast and saves each command 0.1 s.
FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# No dates, sets and binary data: settings have none, and PyYAML's constructors of them raise errors of many types.
_TAGS = [f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map")]


def _flatten_once(loader: Any, node: Any) -> None:
    """Do what flatten_mapping does for `<<`, and refuse a key that a mapping has twice: the last one would win.

    PyYAML may call this again for a mapping that an alias names. Then the mapping has the keys of its `<<`, too.

    Raises:
        ValueError: a key is there twice.
    """
    if hasattr(node, "flattened"):
        return
    own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode)]
    FAST_LOADER.flatten_mapping(loader, node)
    node.flattened = True
    lines: dict[Any, int] = {}
    for key in own:
        value, line = loader.construct_object(key), key.start_mark.line + 1
        if value in lines:
            raise ValueError(f"the key {shown(value)} is on line {lines[value]} and again on line {line}: keep one of "
                             "the two")
        lines[value] = line


LOADER: Any = type("PlainLoader", (FAST_LOADER,), {
    "flatten_mapping": _flatten_once,
    "yaml_constructors": {tag: FAST_LOADER.yaml_constructors[tag] for tag in [*_TAGS, None]},
    "yaml_implicit_resolvers": {
        first: [(tag, pattern) for tag, pattern in rules if not tag.endswith(":timestamp")]
        for first, rules in FAST_LOADER.yaml_implicit_resolvers.items()}})
TEXT_LOADER: Any = type("TextLoader", (LOADER,), {
    "yaml_implicit_resolvers": {"<": LOADER.yaml_implicit_resolvers["<"]}})  # the one that stays is for merges, <<


def parse_json(text: str | bytes, subject: str, remedy: str = "", *,
               object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Parse one JSON document.

    Args:
        text: the document; bytes are UTF-8, with or without a byte order mark.
        subject: name of the document in messages.
        remedy: last sentence of the messages.
        object_hook: reduces each object as soon as it is parsed, see json.loads. With it, the document may be large,
            and its numbers and texts are not checked: the caller checks them. Of a repeated key, the last one wins.

    Raises:
        UserError: the text is not UTF-8 or not JSON, is nested too deeply, has a key twice in an object, or has a
            number that is not finite or has more than 64 bits, or text that cannot be encoded.
    """
    try:
        value = json.loads(_decoded(text), object_hook=object_hook,
                           object_pairs_hook=None if object_hook else _without_repeats)
    except RecursionError as error:
        raise _too_deep("JSON", subject, remedy) from error
    except ValueError as error:  # also from the UTF-8 decoder, and for integers of more than 4300 digits
        raise UserError(f"{subject} is not valid JSON: {_reason(error)}{_end(remedy)}") from error
    if object_hook is None:
        require_plain(value, subject, remedy)
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these keys and values. Raise ValueError if a key is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"an object has the key {shown(twice)} twice: keep one of the two")
    return found


def parse_object(text: str | bytes, subject: str, remedy: str = "") -> dict[str, Any]:
    """Parse one JSON document that holds an object. Raise UserError as parse_json does, and for any other value."""
    value = parse_json(text, subject, remedy)
    if not isinstance(value, dict):
        raise UserError(f"{subject} must hold a JSON object, found {type(value).__name__}{_end(remedy)}")
    return value


def parse_yaml(text: str | bytes, subject: str, as_text: bool = False) -> list[Any]:
    """Parse the documents of a YAML text. The conditions are those of parse_json, and dates are texts.

    Args:
        text, subject: as for parse_json.
        as_text: each key and each single value is the text that the file has: "no", "007", "~".

    Raises:
        UserError: as parse_json does; also if the aliases of the text stand for too many values. For a key that a
            mapping has twice, the message names both lines.
    """
    try:
        text = _decoded(text)
        if "*" in text or _may_be_deep(text):
            _check_events(text)
        documents = list(yaml.load_all(text, TEXT_LOADER if as_text else LOADER))
    except RecursionError as error:
        raise _too_deep("YAML", subject, "") from error
    # PyYAML's constructors do not check the text of a value with an explicit tag: !!bool x is a KeyError.
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{subject} is not valid YAML: {_reason(error)}") from error
    for document in documents:
        require_plain(document, subject)
    return documents


def whole_number(text: str, below: int) -> int | None:
    """Return the number that a text of digits stands for; None if it is something else, or not below a limit."""
    # Python refuses to convert more than 4300 digits.
    number = int(text) if len(text) <= 40 and text.isdecimal() else below
    return number if number < below else None


def is_text(value: str) -> bool:
    """Return whether a text can be encoded as UTF-8: it has no half of a surrogate pair."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def place_of(parent: str, key: object) -> str:
    """Return the place of a list's element, or of an object's key: input.shape[0]."""
    if isinstance(key, int):
        return f"{parent}[{key}]"
    name = printable(key, 60) if isinstance(key, str) else shown(key)
    return f"{parent}.{name}" if parent else name


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    return text.decode("utf-8-sig")


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return f"it is not UTF-8 text ({error.reason if isinstance(error, UnicodeDecodeError) else error})"
    if isinstance(error, (yaml.YAMLError, ValueError)):
        return str(error)
    return f"a value does not fit its tag ({error!r})"


def _end(remedy: str) -> str:
    return f". {remedy}" if remedy else ""


def _too_deep(kind: str, subject: str, remedy: str) -> UserError:
    return UserError(f"{subject} is not valid {kind} for this program: it has more than {MOST_DEPTH} lists and objects "
                     f"in each other{_end(remedy)}")


def _may_be_deep(text: str) -> bool:
    """Return whether a YAML text may have many levels. If not, it needs no second pass, which takes a quarter more.

    Each [ and { opens two levels at most ([a: b] has a mapping in a list), and so does each column of a line: "a:" and
    "- b" may begin in the same one.
    """
    return 2 * (text.count("[") + text.count("{") + max(map(len, text.split("\n")))) > 1000


def _check_events(text: str) -> None:
    """Check a YAML text without recursion. PyYAML's C code overflows the stack at some 50,000 levels.

    Raises:
        RecursionError: it is too deep.
        ValueError: its aliases stand for too many values, or for a value that contains them.
    """
    sizes: dict[str, int] = {}                  # values of each anchor
    total = 0                                   # values so far
    opened: list[tuple[str | None, int]] = []   # of open lists and objects: the anchor, and the values before
    for event in yaml.parse(text, FAST_LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            sizes = {}
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"the alias *{shown(event.anchor)[1:-1]} is inside of what it stands for, or unknown")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(opened) == MOST_DEPTH:
                raise RecursionError
            opened.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = total - before
        if total > MOST_YAML_NODES:
            raise ValueError(f"it has more than {MOST_YAML_NODES} values; an alias (*name) counts as all that it "
                             "stands for")


def require_plain(document: Any, subject: str, remedy: str = "", place: str = "") -> None:
    """Raise UserError if a document is too deep, or has a number or a text that could not be used.

    Args:
        document: lists, dicts and single values, without cycles.
        subject, remedy: as for parse_json.
        place: place of a part of a document.
    """
    rows: list[tuple[str, Any]] = [(place, document)]
    depth = 0
    while rows:
        for place, value in rows:
            if isinstance(value, (int, float, str)) and (kind := _defect(value)):
                raise UserError(f"{subject}: {place or 'the document'} {kind}, found {shown(value)}{_end(remedy)}")
        rows = [(place_of(place, key), item) for place, value in rows for key, item in _children(value)
                if not _is_usual(item)]
        depth += 1
        if depth == MOST_DEPTH and any(isinstance(value, (dict, list)) for _, value in rows):
            raise _too_deep("text", subject, remedy)


def _children(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield key, key  # a key is a value too: it may be Infinity in YAML
    elif isinstance(value, list):
        if set(map(type, value)) == {int} and min(value) >= LOWEST and max(value) <= HIGHEST:
            return  # a long list of ids
        yield from enumerate(value)


def _is_usual(value: Any) -> bool:
    """Return whether a value needs no more checks. This is much faster than to write down the place of each value."""
    kind = type(value)
    if kind is str:
        return value.isascii()
    return value is None or kind is bool or (kind in (int, float) and not _defect(value))


def _defect(value: int | float | str) -> str:
    if isinstance(value, str):
        return "" if is_text(value) else "must be text that can be encoded as UTF-8"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "must be a finite number"
    return "" if LOWEST <= value <= HIGHEST else "must be a number of at most 64 bits"
