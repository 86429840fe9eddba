"""Escape text for a note: nothing in it is Markdown, HTML, a link, a tag, a comment or a field."""

from __future__ import annotations

import re

from skills.nanda.text import MARKDOWN_SPECIAL, flatten

_SPECIAL = re.compile(rf"{MARKDOWN_SPECIAL.pattern}|[#$^]|=(?==)|(?<==)=|::|%%")
"""Of Obsidian: tags, formulas, ids of blocks, highlighting, fields of Dataview, comments."""
_AT_START = re.compile(r"(\d+)([.)])(?=\s|\Z)|[-+>=]")
"""A list, a quotation or a line below a heading, at the start of a line."""


def escaped(text: str) -> str:
    """Return `text` on one line, to be shown as it is."""
    return _SPECIAL.sub(_replaced, flatten(text))


def at_start(text: str) -> str:
    """Return escaped text without what would begin a list or the like at the start of a line."""
    found = _AT_START.match(text)
    if found is None or text.startswith("=="):  # a highlighted passage
        return text
    number, mark = found.groups()
    return f"{number}\\{mark}{text[found.end() :]}" if number else f"\\{text}"


def _replaced(found: re.Match[str]) -> str:
    if found[0] == "%%":  # a backslash does not end a comment
        return "&#37;&#37;"
    return "".join(f"\\{char}" for char in found[0])
