"""Parsing of XML text that a stranger may have written. No other module parses such files.

A small text can ask for much memory (entities that stand for entities) or stack. Then it is refused with a UserError.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

from centernet.documents import MOST_DEPTH
from centernet.errors import UserError, shown

MOST_XML_NODES = 200_000  # elements of a text


@dataclass
class XmlElement:
    """An element of an XML text: its name, its own text, and its children. Attributes are left out."""

    tag: str
    text: str = ""
    children: list[XmlElement] = field(default_factory=list)

    def all(self, tag: str) -> list[XmlElement]:
        """Return the children of a name."""
        return [child for child in self.children if child.tag == tag]

    def find(self, *tags: str) -> str:
        """Return the text below a path of names, without spaces around it; "" if it is not there."""
        found: XmlElement | None = self
        for tag in tags:
            found = next(iter(found.all(tag)), None) if found else None
        return found.text.strip() if found else ""


def parse_xml(text: bytes, subject: str) -> XmlElement:
    """Parse an XML text. One that declares entities is refused: a few lines of them can stand for gigabytes.

    Raises:
        UserError: the text is not XML, declares entities, is nested too deeply, or has too many elements.
    """
    opened = [XmlElement("")]
    count = 0

    def start(tag: str, _attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(opened) > MOST_DEPTH or count > MOST_XML_NODES:
            raise ValueError(f"it has more than {MOST_DEPTH} levels or {MOST_XML_NODES} elements")
        opened[-1].children.append(XmlElement(tag))
        opened.append(opened[-1].children[-1])

    def add(words: str) -> None:
        opened[-1].text += words

    def refuse(name: str, *_details: object) -> None:
        raise ValueError(f"it declares the entity {shown(name)}, and no annotation needs one")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, lambda _tag: opened.pop()
    parser.CharacterDataHandler, parser.EntityDeclHandler = add, refuse
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise UserError(f"{subject} is not valid XML for this program: {error}") from error
    return opened[0].children[0]
