"""Extract the front matter and the sections of a PDF file; runs in a separate process."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skills.corpus.pdf import page_text, title_page
from skills.corpus.pdf.page_lines import MOST_PAGES, Pages
from skills.corpus.pdf.page_text import Line, count_words, differs
from skills.corpus.pdf.title_page import (
    BEFORE_NAME,
    Abstract,
    is_short,
    level_of,
    name_of,
    stands_out,
)
from skills.corpus.tables.reader_process import Unreadable, serve

FIRST_PAGES = (2, 6)
"""Numbers of pages that are searched for the abstract: the first 2 pages, then the first 6.

The second number is needed if a repository has added a cover page.
"""
TITLE_SIZE = 1.15
"""Minimum font size of a title, as a multiple of the font size of the abstract."""
FEWEST_LETTERS = 200
"""Minimum number of letters and digits on the searched pages; a scan without text has fewer."""
READABLE = 0.6
"""Minimum share of letters and digits in a text.

Text in fonts without Unicode mappings has a lower share.
"""
FEWEST_WORDS = 12
"""Minimum number of words of a section; an entry in a table of contents has fewer."""
MOST_WORDS = 3000
"""Number of words after which the rest of a section is ignored."""
LONGEST_NAME = 60
"""Maximum number of letters of a section's name; longer names are sentences in bold."""
_REFERENCES = ("references", "bibliography", "literaturecited", "referencesandnotes")
_OF_OTHERS = r"s?(?:of|in)(?:the)?(?:existing|previous|prior|current|related|trad|other|stat)"
_KINDS = {
    "limitation": re.compile(
        rf"limitation(?!{_OF_OTHERS})|threatstovalidity|shortcomingsandfuture"
    ),
    "conclusion": re.compile(r"conclusion|concludingremark|closingremark|conclusory"),
}
"""The pattern in the names of headings that begin a section, by the kind of the section."""
_LAST = re.compile(
    r"(?:references|bibliography|literaturecited|acknowledg\w*|appendi(?:x|ces)\w*|fundings?|"
    r"funding(?:information|statement|sources?)|(?:supplement\w*|supporting)(?:information|material|data)\w*|"
    r"authorcontributions?|contributors?|competinginterests?|conflicts?ofinterests?\w*|"
    r"declarations?\w*|dataavailability\w*|availabilityof\w*|ethics\w*|ethical\w*|broaderimpacts?\w*|"
    r"impactstatement|reproducibility\w*|abbreviations|notes|disclosures?\w*|creditauthor\w*|"
    r"abouttheauthors?|orcid|consentforpublication|additional(?:information|files?)|futurework\w*|"
    r"checklist|received\w*)"
)
"""Matches the names of headings after the main text; these headings end every section."""


def extract(path: Path, kinds: Sequence[str]) -> dict[str, Any]:
    """Return the front matter and the sections of a paper.

    Args:
        kinds: the kinds of sections to read: "limitation", "conclusion".

    Returns:
        A dictionary. The keys abstract, title and authors always exist; an unknown title is "", and
        so are unknown authors. The keys doi, arxiv_id, published and categories exist if their
        values are known. The value of the key sections is a list of dictionaries with the keys
        kind, heading, page and text.

    Raises:
        Unreadable: the file has no abstract, or cannot be read.
    """
    with Pages(path) as pages:
        lines, abstract = first_pages(pages)
        known = page_text.words_of(lines)
        above, first = lines[: abstract.begin], abstract.lines[0]
        own = [line for line in above if line.page == first.page]
        # Lines of earlier pages are omitted if the page of the abstract contains a title.
        before = own if any(line.size > TITLE_SIZE * first.size for line in own) else above
        title, after = title_page.title_of(before, pages.information("Title"))
        stated = " ".join(map(pages.information, ("Subject", "Keywords", "doi")))
        on_first_pages = [line for line in lines if line.page in (0, first.page)]
        sections = sections_below(pages, abstract, kinds) if kinds else []
        known_to_all = page_text.words_of(pages.lines(MOST_PAGES)) if sections else ()
        return {
            "title": title,
            "abstract": page_text.text_of(abstract.lines, known),
            "authors": title_page.authors_of(before[after:], pages.information("Author")),
            **title_page.identifiers_of(on_first_pages, pages.turned, stated),
            "sections": [
                {
                    "kind": one.kind,
                    "heading": page_text.plain(one.heading),
                    "page": one.page,
                    "text": page_text.text_of(one.lines, known_to_all),
                }
                for one in sections
            ],
        }


def first_pages(pages: Pages) -> tuple[list[Line], Abstract]:
    """Return the lines of the first pages, and the abstract of the paper.

    Raises:
        Unreadable: the pages have no abstract, or too little text that can be read.
    """
    for count in FIRST_PAGES:
        lines = pages.lines(count)
        _check_text(lines)
        if found := title_page.find_abstract(lines):
            return lines, found
    raise Unreadable(
        "has no abstract: there is no heading Abstract or Summary on its first pages, and no "
        "paragraph above the introduction has the length of an abstract"
    )


def _check_text(lines: Sequence[Line]) -> None:
    text = "".join(line.text for line in lines)
    letters = sum(map(str.isalnum, text))
    if not letters:
        raise Unreadable("has no text layer, like a scan; OCR software can add one")
    if letters < FEWEST_LETTERS:
        raise Unreadable("has too little text for a paper")
    if letters < READABLE * len(text.replace(" ", "")):
        raise Unreadable("has text in fonts without Unicode mappings")


def sections_below(pages: Pages, abstract: Abstract, kinds: Collection[str]) -> list[SectionLines]:
    """Return the result of `find_sections` for the lines after the abstract."""
    lines = pages.lines(MOST_PAGES)
    last = abstract.lines[-1]
    below = [i for i, one in enumerate(lines) if one.page == last.page and one.y == last.y]
    rest = lines[below[-1] + 1 :] if below else lines
    return find_sections(rest, kinds, _body(rest)) if rest else []


def _body(lines: Sequence[Line]) -> Line:
    """Return a line of the body text: the first line in the most frequent font and size."""
    sizes: Counter[tuple[float, str]] = Counter()
    for line in lines:
        sizes[line.size, line.font] += len(line.text)
    usual = sizes.most_common(1)[0][0]
    return next(line for line in lines if (line.size, line.font) == usual)


@dataclass(frozen=True, slots=True)
class SectionLines:
    """A section of a paper.

    Attributes:
        kind: "limitation" or "conclusion".
        heading: the heading without its number.
        page: the page of the heading, from 1.
        lines: the lines after the heading, including text after the heading in the same line.
    """

    kind: str
    heading: str
    page: int
    lines: list[Line]


def find_sections(lines: Sequence[Line], kinds: Collection[str], body: Line) -> list[SectionLines]:
    """Return the longest section of each of `kinds`, in the order of `kinds`.

    A kind without a section of at least `FEWEST_WORDS` words is omitted.

    Args:
        lines: the lines after the abstract.
        kinds: the kinds of sections to find.
        body: a line of the body text.
    """
    best: dict[str, SectionLines] = {}
    # "References" in the first third is ignored, since it may be in a table of contents.
    ends = (
        place
        for place in range(len(lines) // 3, len(lines))
        if name_of(lines[place].text) in _REFERENCES and stands_out(lines[place], body)
    )
    lines = lines[: next(ends, len(lines))]
    for place, line in enumerate(lines):
        heading = _heading(line, body)
        for kind in set(_kinds_of(name_of(heading))).intersection(kinds):
            found = _section(lines, place, heading, body)
            known = count_words(best[kind].lines) if kind in best else FEWEST_WORDS - 1
            if count_words(found) > known:
                shown = BEFORE_NAME.sub("", heading).rstrip(" .:—–-")  # noqa: RUF001
                best[kind] = SectionLines(kind, " ".join(shown.split()), line.page + 1, found)
    return [best[kind] for kind in kinds if kind in best]


def _kinds_of(name: str) -> list[str]:
    """Return the kinds of sections that a heading begins: "limitation", "conclusion" or both.

    The result is [] for other headings.

    Args:
        name: the heading in the form of `name_of`.
    """
    if len(name) > LONGEST_NAME:
        return []
    return [kind for kind, pattern in _KINDS.items() if pattern.search(name)]


def _heading(line: Line, body: Line) -> str:
    """Return the heading in a line, or "".

    A heading is a separate line, or the bold words at the beginning of a paragraph.
    """
    if is_short(line.text) and stands_out(line, body):
        return line.text.strip()
    lead = line.lead.strip()
    is_run_in = lead and is_short(lead) and len(lead.split()) <= 8
    return lead if is_run_in and not body.bold else ""


def _section(lines: Sequence[Line], place: int, heading: str, body: Line) -> list[Line]:
    """Return the lines after a heading, up to the next heading that ends the section.

    Text after the heading in the same line is included. Lines of footnotes, captions and
    tables are omitted.

    Args:
        place: the index of the line with the heading.
        heading: the text of the heading, which may be the beginning of the line.
    """
    first = lines[place]
    run_in = heading != first.text.strip()
    found: list[Line] = []
    words = 0
    own = [first] * run_in
    usual = statistics.median([line.size for line in [*own, *lines[place + 1 :][:6]]] or [0.0])
    if run_in:
        rest = first.text.strip()[len(heading) :].lstrip(" .:-—–")  # noqa: RUF001
        found.append(replace(first, text=rest, bold=False, lead=""))
    for number, line in enumerate(lines[place + 1 :]):
        if number == 0 and not run_in and _continues(first, line):
            continue
        if _ends(line, first, body, run_in=run_in):
            break
        text = line.text.replace(" ", "")
        is_of_numbers = len(text) > 3 and sum(map(str.isalpha, text)) < 0.4 * len(text)
        if differs(line, usual) or is_of_numbers:
            continue  # the line belongs to a footnote, a caption or a table
        found.append(line)
        words += len(line.text.split())
        if words > MOST_WORDS:
            break
    return found


def _continues(first: Line, line: Line) -> bool:
    """Return True if a line continues the heading in the line `first`."""
    close = line.page == first.page and 0 < first.y - line.y < 1.6 * first.size
    same = line.font == first.font and abs(line.size - first.size) < 0.3
    return close and same and line.bold and level_of(line) == 0


def _ends(line: Line, first: Line, body: Line, *, run_in: bool) -> bool:
    """Return True if a line is a heading that ends the section of the heading `first`."""
    heading = _heading(line, body)
    if not heading:
        return False
    if _LAST.fullmatch(name_of(heading)):
        return True
    if heading != line.text.strip():  # the heading begins a paragraph
        return run_in
    if run_in:
        return True
    level, own = level_of(line), level_of(first)
    if level and own:
        return level <= own
    alike = line.font == first.font and abs(line.size - first.size) <= 0.04 * first.size
    return alike or line.size > first.size * 1.04 or (level == 1 and own == 0)


def read(path: str, sections: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the result of `extract`; `serve` calls this function for each file."""
    yield extract(Path(path), sections)


if __name__ == "__main__":
    serve(read)
