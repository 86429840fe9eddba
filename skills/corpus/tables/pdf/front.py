"""Find the title, the authors, the identifiers and the abstract on the first pages.

The abstract is the text after its heading, "Abstract" or "Summary", up to the next heading. Without
one, it is the last paragraph of 40 to 400 words above the heading "Introduction" on the first
pages; a paper that has neither is refused.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from skills.corpus.tables.pdf import headings
from skills.corpus.tables.pdf.characters import Line, count_words, differs
from skills.corpus.tables.pdf.headings import name_of

FEWEST_WORDS = 20
"""Words of a text after the heading "Abstract"; fewer are those of a table of contents."""
MOST_WORDS = 700
"""Words of an abstract."""
UNHEADED_WORDS = range(40, 401)
"""Words of an abstract without a heading."""
UNHEADED_PAGES = 2
"""Pages on which it is searched."""
PARAGRAPH = 1.5
"""Distance of two lines, in ems, that begins a paragraph."""

_RUN_IN = re.compile(
    r"(?:a\s?b\s?s\s?t\s?r\s?a\s?c\s?t|summary)\s*(?:[—–:.]|-{1,2}|\s-)+\s*(?=\S)",  # noqa: RUF001
    re.IGNORECASE,
)
_CAPITALS = re.compile(r"(?:ABSTRACT|SUMMARY)\s+(?=[A-Z])")
_HEADING = re.compile(r"(?:abstract|summary)(?:andkeywords)?")


@dataclass(frozen=True, slots=True)
class Abstract:
    """Where the abstract is.

    Attributes:
        lines: those of the abstract.
        begin: the index of the line with its heading, or of its first one.
    """

    lines: list[Line] = field(default_factory=list)
    begin: int = 0


def find_abstract(lines: Sequence[Line]) -> Abstract | None:
    """Return the abstract of a paper, None if none is found."""
    for wanted in ("abstract", "summary"):
        for place, line in enumerate(lines):
            rest = _after_heading(line, wanted)
            if rest is None:
                continue
            own = [replace(line, text=rest)] if rest else []
            found = own + _body(lines[place + 1 :], own)
            if FEWEST_WORDS <= count_words(found) <= MOST_WORDS:
                return Abstract(found, place)
    return _unheaded(lines)


def _after_heading(line: Line, wanted: str) -> str | None:
    """Return the text after the heading on its line, "" if it is alone, None for another line."""
    text = line.text.strip()
    name = name_of(text)
    if not name.startswith(wanted):
        return None
    if _HEADING.fullmatch(name):
        return ""
    found = _RUN_IN.match(text) or _CAPITALS.match(text)
    if found:
        return text[found.end() :]
    if line.lead and _HEADING.fullmatch(name_of(line.lead)):
        return text[len(line.lead) :].lstrip(" .:-—–")  # noqa: RUF001
    return None


def _body(lines: Sequence[Line], own: Sequence[Line]) -> list[Line]:
    """Return the lines that go on with an abstract.

    Lines of another size, such as a footnote between two columns, are left out; several of them in
    succession end it.
    """
    if not lines:
        return []
    usual = statistics.median(line.size for line in [*own, *lines[:4]])
    model = own[0] if own and differs(lines[0], usual) else lines[0]
    found: list[Line] = []
    skipped = words = 0
    for line in lines:
        before = found[-1] if found else (own[-1] if own else None)
        if before is not None and headings.ends_abstract(line, model):
            break
        if differs(line, usual):
            skipped += 1
            if skipped > 3:
                break
            continue
        if before is not None and words >= FEWEST_WORDS and _is_apart(before, line):
            break
        skipped = 0
        found.append(line)
        words += len(line.text.split())
        if words > MOST_WORDS:
            break
    return found


def _unheaded(lines: Sequence[Line]) -> Abstract | None:
    """Return the last paragraph above the introduction that is as long as an abstract."""
    place = next(
        (
            i
            for i, line in enumerate(lines)
            if line.page < UNHEADED_PAGES
            and headings.is_short(line.text)
            and name_of(line.text) == "introduction"
        ),
        None,
    )
    if place is None or place == 0:
        return None
    last = place
    for start in range(place - 1, -1, -1):
        before, line = lines[start - 1], lines[start]
        if start and not (differs(line, before.size) or _is_apart(before, line, PARAGRAPH)):
            continue
        paragraph = list(lines[start:last])
        if count_words(paragraph) in UNHEADED_WORDS and any(". " in one.text for one in paragraph):
            return Abstract(paragraph, start)
        last = start
    return None


def _is_apart(before: Line, line: Line, most: float = 2.4) -> bool:
    """Return True if the space between two lines of a column is more than `most` of their size."""
    same_column = line.page == before.page and line.left < before.right and before.left < line.right
    return same_column and before.y - line.y > most * max(before.size, line.size)
