"""HTML that is escaped where it is made: names of files and categories come from strangers."""
from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence
from string import Template

# No script and no address of another place can work in the page, whatever gets into it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2330; background: #f4f6f9; margin: 0; }
main { max-width: 1200px; margin: 0 auto; padding: 20px 24px 60px; }
h1 { font-size: 26px; margin: 8px 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 0 0 10px; } h3 { font-size: 15px; margin: 16px 0 4px; }
section { background: #fff; border: 1px solid #dde2ea; border-radius: 8px; padding: 16px 20px; margin: 16px 0;
          overflow-x: auto; }
p { margin: 6px 0; max-width: 95ch; }
.note { color: #5b6675; font-size: 14px; }
.cards { display: flex; gap: 12px; flex-wrap: wrap; }
.card { border: 1px solid #dde2ea; border-radius: 8px; padding: 8px 16px; min-width: 92px; }
.card b { display: block; font-size: 24px; }
.card span { color: #5b6675; font-size: 13px; }
table { border-collapse: collapse; font-size: 14px; }
th, td { padding: 4px 10px; text-align: right; border-bottom: 1px solid #e8ebf0; font-variant-numeric: tabular-nums; }
th { color: #5b6675; font-weight: 600; }
th:first-child, td:first-child, td.text, th.text { text-align: left; overflow-wrap: anywhere; max-width: 560px; }
.matrix td { min-width: 44px; border: 1px solid #fff; height: 21px; }
.matrix td:first-child { min-width: 130px; }
.many th:not(:first-child) { writing-mode: vertical-rl; text-align: right; }
.many td:not(:first-child) { min-width: 30px; padding: 4px 6px; text-align: center; }
code { font-weight: 600; white-space: nowrap; }
.better { color: #0a7d3c; } .worse { color: #b3261e; }
.bar { display: inline-block; height: 10px; background: #3b6fd4; border-radius: 2px; vertical-align: middle; }
.key { display: inline-block; width: 14px; height: 4px; margin: 0 7px 0 0; vertical-align: middle; }
.note .key { margin-left: 18px; } .note .key:first-child { margin-left: 0; }
.columns { display: flex; gap: 28px; flex-wrap: wrap; align-items: flex-start; }
img.plot { max-width: 100%; height: auto; }
figure { margin: 0 0 18px; } figcaption { font-size: 14px; margin-bottom: 6px; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 10px; }
.pair svg { width: 100%; height: auto; max-height: 620px; background: #eee; }
details summary { cursor: pointer; margin: 8px 0; }
@media (max-width: 800px) { .pair { grid-template-columns: 1fr; } }
</style>
</head>
<body><main>
$body
</main></body>
</html>
""")


class Html(str):
    """Text that is HTML already. Every other text is escaped when it gets into an element."""

    __slots__ = ()


_VOID = ("img", "image", "rect", "use")
# Control characters, halves of surrogate pairs, and marks that reverse the direction of what follows.
_STRANGE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def element(name: str, *content: object, **attributes: object) -> Html:
    """Return an element. A trailing underscore of an attribute's name is left out, other ones become hyphens."""
    listed = "".join(f' {key.rstrip("_").replace("_", "-")}="{_escaped(value)}"' for key, value in attributes.items())
    if name in _VOID and not content:
        return Html(f"<{name}{listed}/>")
    return Html(f"<{name}{listed}>{join(content)}</{name}>")


def join(parts: Iterable[object]) -> Html:
    """Return all parts one after the other; those that are not Html are escaped."""
    return Html("".join(part if isinstance(part, Html) else _escaped(part) for part in parts))


def _escaped(value: object) -> str:
    """Return a value for text or attributes. Characters that a page cannot show, or that turn text, become \\u...."""
    return html.escape(_STRANGE.sub(lambda found: ascii(found[0])[1:-1], str(value)))


def page(title: str, body: Iterable[object]) -> str:
    """Return a complete page."""
    return PAGE.substitute(title=_escaped(title), policy=_escaped(POLICY), body=join(body))


def section(title: str, *content: object) -> Html:
    """Return a section with a heading."""
    return element("section", element("h2", title), *content)


def note(*text: object) -> Html:
    """Return a paragraph of explanation."""
    return element("p", *text, class_="note")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], class_: str = "") -> Html:
    """Return a table; the cells are text, or td elements."""
    lines = [element("tr", *(cell if is_cell(cell) else element("td", cell) for cell in row)) for row in rows]
    top = [element("tr", *(cell if is_cell(cell) else element("th", cell) for cell in head))] if any(head) else []
    return element("table", *top, *lines, class_=class_)


def is_cell(value: object) -> bool:
    """Return whether a value is an element of a table's row already."""
    return isinstance(value, Html) and value.startswith(("<td", "<th"))


def bar(share: float, widest: int) -> Html:
    """Return a table's cell with a bar: share (0..1, less counts as 0) of the widest one, which is in pixels."""
    return element("td", element("span", class_="bar", style=f"width:{max(0, share) * widest:.0f}px"), class_="text")


def data_address(data: bytes, kind: str) -> str:
    """Return the content of a file as an address, so that the page needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def plot(svg: bytes, description: str) -> Html:
    """Return a plot; its elements cannot meet those of other plots, because it is an image."""
    return element("img", src=data_address(svg, "image/svg+xml"), alt=description, class_="plot")


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a number, or a dash for None and for -1 (COCO's sign for "nothing is annotated")."""
    return "–" if value is None or value <= -1 else f"{value:.{digits}f}"
