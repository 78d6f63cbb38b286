"""Write default_config.yaml: values, help and choices from the declarations, comments from the existing file.

    python -m tools.default_config

A comment belongs to the key below it, or to the key on its line. Values that were changed in the file are reset.
"""
from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from centernet.config.declared import SETTINGS, Declared
from centernet.config.load import DEFAULT_CONFIG
from centernet.config.values import plain

WIDTH = 120
COLUMN = 28  # column of comments after a value


def render(text: str) -> str:
    """Return the text of the file according to the declarations, with the comments of an earlier text."""
    settings = list(SETTINGS.values())
    values, helps, choices = (document.splitlines() for document in re.split(r"^---\n", text, flags=re.MULTILINE))
    documents = (_document(settings, lambda declared: declared.default, _comments(values)),
                 _document(settings, lambda declared: declared.help, _comments(helps)),
                 _document([declared for declared in settings if declared.choices],
                           lambda declared: declared.choices, _comments(choices)))
    return "\n---\n".join("\n".join(lines) + "\n" for lines in documents)


def _comments(lines: Iterable[str]) -> dict[str, tuple[list[str], str]]:
    """Return the comments by dotted name: the lines above the key (also blank lines), and the end of its line."""
    found: dict[str, tuple[list[str], str]] = {}
    above: list[str] = []
    sections: list[str] = []
    for line in lines:
        key = re.match(r"( *)(\w+):(.*)", line)
        if key:
            depth = len(key[1]) // 4
            sections = [*sections[:depth], key[2]]
            behind = re.search(r"\s#\s(.*)$", key[3])
            found[".".join(sections)] = (above, behind[1] if behind else "")
            above = []
        elif not line.strip() or line.lstrip().startswith("#"):
            above.append(line)
    return found


def _document(settings: Iterable[Declared], value: Callable[[Declared], Any],
              comments: Mapping[str, tuple[list[str], str]]) -> list[str]:
    lines, known = [], set()
    for declared in settings:
        *sections, _ = parts = declared.name.split(".")
        for depth, key in enumerate(parts):
            name = ".".join(parts[:depth + 1])
            if name in known:
                continue
            known.add(name)
            above, behind = comments.get(name, ([], ""))
            start = f"{'    ' * depth}{key}:"
            wanted = start if depth < len(sections) else _line(start, plain(value(declared)))
            lines += [*above, f"{wanted:<{COLUMN}}# {behind}" if behind else wanted]
    return lines


def _line(start: str, value: Any) -> str:
    """Return `key: value` in YAML. A list that is too long for one line continues below its bracket."""
    text = f"{start} {_scalar(value)}"
    if len(text) <= WIDTH - 20 or not isinstance(value, list):
        return text
    indent, rows = " " * (len(start) + 2), [f"{start} ["]
    for number, item in enumerate(value):
        word = _scalar(item) + ("]" if number == len(value) - 1 else ",")
        full = len(rows[-1]) + len(word) + 1 > WIDTH or (isinstance(item, list) and number > 0)
        if full:
            rows.append(indent + word)
        else:
            rows[-1] += word if rows[-1].endswith("[") else f" {word}"
    return "\n".join(rows)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"  # YAML reads 5e-07 as a string
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    return json.dumps(value, ensure_ascii=False)


def write(path: Path = DEFAULT_CONFIG) -> None:
    """Update the file."""
    path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write()
