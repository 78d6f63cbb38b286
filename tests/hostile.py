"""Documents that a stranger or a broken program could have written: good ones with one value replaced."""
import json

from centernet.errors import UserError

# JSON texts that readers must refuse, or take as what they are.
TEXTS = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400, "1" + "0" * 5000, str(2**63), str(2**64),
         "-1", "0", "0.5", "1e-320", "null", "true", '""', '"x"', '"1"', r'"\ud800"', r'"\u0000"', f'"{"a" * 300}"',
         '"../../etc/passwd"', "[]", "[[]]", "{}", '{"": 0}', "[" * 70 + "]" * 70, "[" * 2000 + "]" * 2000)

# Whole files.
FILES = (b"", b" ", b"null", b"0", b'"x"', b"[]", b"{}", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{}", b"\x00",
         b'{"a": "\xed\xa0\x80"}', b"{}" * 2, b"PK\x03\x04", bytes(1000))


def message_of(reader, *values, most=2000):
    """The message of the UserError of a reader, which has at most so many bytes; "" without an error."""
    try:
        reader(*values)
    except UserError as error:
        assert len(str(error).encode()) < most
        return str(error)
    return ""


def variants(document):
    """JSON texts of a document, each with one value replaced or one key removed. A value gets a fifth of TEXTS."""
    for number, place in enumerate(places(document)):
        for text in TEXTS[number % 5::5]:
            yield written(document, place, text)
        if place and isinstance(place[-1], str):
            yield written(document, place, None)


def places(value, place=()):
    """The places of all values in a document, as keys and positions. Of a long list, the first and the last two."""
    yield place
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*place, key))
    elif isinstance(value, list):
        for number in sorted({0, len(value) - 2, len(value) - 1} & set(range(len(value)))):
            yield from places(value[number], (*place, number))


def written(value, place, text):
    """The JSON text of a value, with another text at one place; None removes it."""
    if not place:
        return text
    key, *rest = place
    items = value.items() if isinstance(value, dict) else enumerate(value)
    texts = [(name, written(item, rest, text) if name == key else json.dumps(item)) for name, item in items]
    texts = [(name, item) for name, item in texts if item is not None]
    if isinstance(value, list):
        return "[" + ", ".join(item for _, item in texts) + "]"
    return "{" + ", ".join(f"{json.dumps(name)}: {item}" for name, item in texts) + "}"
