"""Read a paper from a PDF file, in the process of `worker`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skills.corpus.tables.pdf import about, front, joining, sections
from skills.corpus.tables.pdf.characters import Line
from skills.corpus.tables.pdf.front import Abstract
from skills.corpus.tables.pdf.pages import MOST_PAGES, Pages, Unreadable

FIRST_PAGES = (2, 6)
"""Pages on which the abstract is searched: these, and if there is none, those. A repository may add
a cover page."""
TITLE_SIZE = 1.15
"""Size of the letters of a title, over that of the abstract."""
FEWEST_LETTERS = 200
"""Letters of the first pages; fewer are those of a scan."""
READABLE = 0.6
"""Share of letters and digits in a text; that of a font without Unicode has fewer."""


def extract(path: Path, kinds: Sequence[str]) -> dict[str, Any]:
    """Return what is read of a paper.

    Args:
        kinds: the sections to read, "limitation" and "conclusion".

    Returns:
        title, abstract, authors, doi, arxiv_id, published, categories, "" where unknown; sections,
        each with kind, heading, page and text.

    Raises:
        Unreadable: it has no abstract, or cannot be read.
    """
    with Pages(path) as pages:
        lines, abstract = _first_pages(pages)
        known = joining.words_of(lines)
        page = abstract.lines[0].page
        before = _above(lines[: abstract.begin], abstract.lines[0])
        title, after = about.title_of(before, pages.information("Title"))
        stated = " ".join(map(pages.information, ("Subject", "Keywords", "doi")))
        first = [line for line in lines if line.page in (0, page)]
        found = about.identifiers_of(first, pages.turned, stated)
        return {
            "title": title,
            "abstract": joining.text_of(abstract.lines, known),
            "authors": about.authors_of(before[after:], pages.information("Author")),
            **found,
            "sections": _sections(pages, abstract, kinds) if kinds else [],
        }


def _first_pages(pages: Pages) -> tuple[list[Line], Abstract]:
    """Return the lines of as many pages as have the abstract, and the abstract."""
    for count in FIRST_PAGES:
        lines = pages.lines(count)
        _check_text(lines)
        if found := front.find_abstract(lines):
            return lines, found
    raise Unreadable(
        "has no abstract: there is no heading Abstract or Summary on its first pages, and no "
        "paragraph of the length of one above its introduction"
    )


def _above(before: Sequence[Line], first: Line) -> list[Line]:
    """Return the lines above the abstract, on its page if that has a title."""
    own = [line for line in before if line.page == first.page]
    has_title = any(line.size > TITLE_SIZE * first.size for line in own)
    return own if has_title else list(before)


def _check_text(lines: Sequence[Line]) -> None:
    text = "".join(line.text for line in lines)
    letters = sum(map(str.isalnum, text))
    if not letters:
        raise Unreadable("has no text layer, as a scan has none; a program for OCR adds one")
    if letters < FEWEST_LETTERS:
        raise Unreadable("has too little text for a paper")
    if letters < READABLE * len(text.replace(" ", "")):
        raise Unreadable("has text in fonts that do not state their letters")


def _sections(pages: Pages, abstract: Abstract, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Return the sections below the abstract."""
    lines = pages.lines(MOST_PAGES)
    last = abstract.lines[-1]
    below = [i for i, one in enumerate(lines) if one.page == last.page and one.y == last.y]
    rest = lines[below[-1] + 1 :] if below else lines
    if not rest:
        return []
    known = joining.words_of(lines)
    return [
        {
            "kind": one.kind,
            "heading": joining.plain(one.heading),
            "page": one.page,
            "text": joining.text_of(one.lines, known),
        }
        for one in sections.find_sections(rest, kinds, _body(rest))
    ]


def _body(lines: Sequence[Line]) -> Line:
    """Return a line that is set as most of the text."""
    sizes: Counter[tuple[float, str]] = Counter()
    for line in lines:
        sizes[line.size, line.font] += len(line.text)
    usual = sizes.most_common(1)[0][0]
    return next(line for line in lines if (line.size, line.font) == usual)
