"""Elements of the report, as trees: a text in them can never become markup."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from skills.nanda.text import flatten

Element = ElementTree.Element
Child = Element | str | int | None
Row = Sequence[Child | Sequence[Child]]


def h(tag: str, attributes: Mapping[str, Any] | None = None, /, *children: Child) -> Element:
    """An element. Of texts, what could reorder or hide parts of the page is taken out."""
    given = {name: _plain(str(value)) for name, value in (attributes or {}).items()}
    made = Element(tag, given)
    add(made, *children)
    return made


def add(parent: Element, *children: Child) -> None:
    """Put children at the end of an element; None is left out."""
    for child in children:
        if isinstance(child, Element):
            parent.append(child)
        elif child is not None:
            text = _plain(f"{child:,}" if isinstance(child, int) else child)
            if len(parent):
                parent[-1].tail = (parent[-1].tail or "") + text
            else:
                parent.text = (parent.text or "") + text


def html(element: Element) -> bytes:
    """An element as UTF-8 on a line of its own."""
    return ElementTree.tostring(element, encoding="unicode", method="html").encode() + b"\n"


def section(name: str, title: str, *children: Child) -> Element:
    """A section that links can lead to by its name."""
    heading = h("h2", {"id": f"{name}-title"}, title)
    return h("section", {"id": name, "aria-labelledby": f"{name}-title"}, heading, *children)


def paragraph(text: str) -> Element:
    return h("p", {}, text)


def prose(text: str) -> list[Child]:
    """A text in which what stands between a pair of ` is code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return [text]
    return [h("code", {}, piece) if place % 2 else piece for place, piece in enumerate(pieces)]


def facts(pairs: Iterable[tuple[str, str]]) -> Element:
    """Names and what they stand for, as `prose`."""
    made = h("dl", {"class": "facts"})
    for name, value in pairs:
        add(made, h("div", {}, h("dt", {}, name), h("dd", {}, *prose(value))))
    return made


def table(
    caption: str,
    columns: Sequence[Child],
    rows: Iterable[Row],
    *,
    words: Collection[int] = (),
    foot: Iterable[Row] = (),
) -> Element:
    """A table whose first column names its rows; it scrolls sideways where it has no room.

    Args:
        columns: their heads.
        words: the indices of columns of words; the others hold figures.
        foot: rows that sum the others up.
    """
    kinds = ["words" if place in (0, *words) else "figures" for place in range(len(columns))]
    heads = [
        h("th", {"scope": "col", "class": kind}, column)
        for column, kind in zip(columns, kinds, strict=True)
    ]
    made = h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, *heads)))
    for part, lines in (("tbody", rows), ("tfoot", foot)):
        body = h(part, {}, *(_row(line, kinds) for line in lines))
        add(made, body if len(body) else None)
    return h("div", {"class": "wide", "role": "region", "aria-label": caption, "tabindex": 0}, made)


def _row(cells: Row, kinds: Sequence[str]) -> Element:
    made = h("tr")
    for place, (cell, kind) in enumerate(zip(cells, kinds, strict=True)):
        children = (cell,) if cell is None or isinstance(cell, (Element, str, int)) else cell
        scope = {} if place else {"scope": "row"}
        add(made, h("td" if place else "th", {**scope, "class": kind}, *children))
    return made


def _plain(text: str) -> str:
    """`flatten`, but a blank at an end stays, since an element may follow it."""
    flat = flatten(text)
    if not flat:
        return " " if text[:1].isspace() else ""
    return " " * text[0].isspace() + flat + " " * text[-1].isspace()
