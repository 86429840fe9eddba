"""The parts of a page, for tests: elements, tables, facts, and whether it may reach a network."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser


class Elements(HTMLParser):
    """The elements of a page: tables by caption, facts by name, texts by tag or ".class".

    `sources` has what is marked in abstracts, by move.
    """

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.page = page
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.facts: dict[str, str] = {}
        self.texts: dict[str, list[str]] = {}
        self.sources: dict[str, list[str]] = {}
        self.shown = ""
        self._open: list[str] = []
        self._moves: list[list[str]] = []
        self._cell = ""
        self._rows: list[list[str]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.attributes += attrs
        if tag in ("meta", "input", "br", "rect", "line", "circle", "path"):
            return
        style = (given.get("class") or "").split()
        self._open.append(f".{style[0]}" if style else tag)
        self._moves.append((given.get("data-moves") or "").split())
        for move in self._moves[-1]:
            self.sources.setdefault(move, []).append("")
        self.texts.setdefault(self._open[-1], []).append("")
        if tag in ("td", "th", "dt", "dd", "caption"):
            self._cell = ""
        if tag == "table":
            self._rows = []
        if tag == "tr":
            self._rows.append([])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()
        self._moves.pop()
        if tag in ("td", "th"):
            self._rows[-1].append(" ".join(self._cell.split()))
        elif tag == "caption":
            self.tables[self._cell] = self._rows
        elif tag == "dt":
            self._term = self._cell
        elif tag == "dd":
            self.facts[self._term] = self._cell

    def handle_data(self, data: str) -> None:
        self._cell += data
        for name in set(self._open):
            self.texts[name][-1] += data
        for move in itertools.chain(*self._moves):
            self.sources[move][-1] += data
        if "style" not in self._open and "script" not in self._open:
            self.shown += data

    def values(self, attribute: str) -> list[str]:
        return [value or "" for name, value in self.attributes if name == attribute]

    def table(self, caption: str) -> dict[str, dict[str, str]]:
        """Return the rows of a table by their first cell, each by the heads of its columns."""
        head, *rows = self.tables[caption]
        return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def assert_self_contained(page: bytes) -> None:
    """Check that a page loads nothing, and that its policy allows its own script and style only."""
    elements = Elements(page)
    [content] = [one for one in elements.values("content") if one.startswith("default-src")]
    policy = dict(part.split(" ", 1) for part in content.split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    for kind, tag in (("script-src", b"<script>"), ("style-src", b"<style>")):
        text = page.split(tag)[1].split(tag.replace(b"<", b"</"))[0] if tag in page else b""
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        assert policy[kind] == f"'sha256-{digest}'"
    names = {name for name, _ in elements.attributes}
    assert names.isdisjoint({"src", "srcset", "style", "onclick", "onload", "action"})
    assert all(link.startswith(("#", "https://arxiv.org/abs/")) for link in elements.values("href"))
    assert not re.search(rb"url\(|@import|@font-face", page)


def assert_harmless(script: str) -> None:
    """Check that a script makes no markup of data and uses no network."""
    forbidden = (
        "innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|DOMParser|document.write|"
        r"\beval\b|\bFunction\b|fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import\("
    )
    assert not re.search(forbidden, script)
