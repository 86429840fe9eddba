"""Find the title, the authors, the identifiers and the date of a paper on its first pages."""

from __future__ import annotations

import re
from collections.abc import Sequence

from skills.corpus.identity.identifiers import doi as own_doi
from skills.corpus.tables.pdf.characters import MARK, Line
from skills.corpus.tables.pdf.joining import plain
from skills.nanda.paper import find_arxiv_id

TITLE_WORDS = 45
"""Words of a title at most."""
PROVEN = 15
"""Letters from which the title of the document information is that of the paper, if the first
pages have it; a shorter one may be "Paper" or "main.dvi"."""

_DOI = re.compile(r"(?:doi\.org/|doi\s*:?\s*)?(10\.\d{4,9}/[^\s\"<>,;]+)", re.IGNORECASE)
_STAMP = re.compile(
    r"arxiv:\s*(?P<id>\S+)\s*(?:\[(?P<category>[\w.-]+)\])?\s*(?P<day>\d{1,2})\s+(?P<month>[a-z]{3})"
    r"[a-z]*\s+(?P<year>\d{4})",
    re.IGNORECASE,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NOT_A_TITLE = re.compile(
    r"journal homepage|contents lists|sciencedirect|available (?:online|at)|https?:|www\.|issn|"
    r"^(?:research|original|review|regular)? ?(?:article|paper|report)s?$|^open access|^arxiv:|"
    r"^vol(?:ume|\.)|proceedings of|preprint|^letters?$",
    re.IGNORECASE,
)
_MARKS_AT_END = " *\u2217†‡§¶1"
_NAME = re.compile(
    r"(?:[^\W\d_][\w'’.\u2010-]*\s+){1,3}[^\W\d_][\w'’-]+(?:\s+(?:Jr|Sr|I{2,3}|IV)\.?)?"  # noqa: RUF001
)
_NO_NAME = re.compile(
    r"universit|institut|depart|school|college|laborator|\blabs?\b|centre|center|research|google|"
    r"microsoft|\bai\b|\binc\b|corp|academy|hospital|faculty|team|group|abstract|member|ieee|"
    r"\b(?:the|for|with|using|from|an?|on|to|is|are)\b|street|road|usa|china|email",
    re.IGNORECASE,
)
_MARKS = re.compile(rf"[{MARK}\d\u2217*†‡§¶♠♣♥♦⋆☆✉|·]+|\{{[^}}]*\}}")


def title_of(before: Sequence[Line], stated: str) -> tuple[str, int]:
    """Return the title of a paper, and the index of the line after it; "" if there is none.

    It is the one of the document information if the first pages have it, else the text in the
    largest letters.

    Args:
        before: the lines before the abstract.
        stated: the title of the document information.
    """
    block = _largest(before)
    after = block[-1] + 1 if block else 0
    written = plain(" ".join(before[i].text for i in block)).rstrip(_MARKS_AT_END)
    letters = squeezed(stated)
    if len(letters) >= PROVEN and letters in squeezed(" ".join(line.text for line in before)):
        return plain(stated).strip(), after
    return (" ".join(written.split()), after) if block else ("", 0)


def _largest(lines: Sequence[Line]) -> list[int]:
    """Return the places of the successive lines in the largest letters."""
    blocks: list[list[int]] = []
    for place, line in enumerate(lines):
        if _NOT_A_TITLE.search(line.text) or not any(map(str.isalpha, line.text)):
            continue
        last = lines[blocks[-1][-1]] if blocks else None
        if last is not None and blocks[-1][-1] == place - 1 and _goes_on(last, line):
            blocks[-1].append(place)
        else:
            blocks.append([place])
    words = {id(block): sum(len(lines[i].text.split()) for i in block) for block in blocks}
    usable = [block for block in blocks if 3 <= words[id(block)] <= TITLE_WORDS] or [
        block for block in blocks if words[id(block)] <= TITLE_WORDS
    ]
    return max(usable, key=lambda block: (lines[block[0]].size, -block[0]), default=[])


def _goes_on(last: Line, line: Line) -> bool:
    same = abs(line.size - last.size) <= 0.05 * last.size and line.page == last.page
    return same and abs(last.y - line.y) <= 2 * last.size


def authors_of(lines: Sequence[Line], stated: str) -> str:
    """Return the authors as "Ada Lovelace, Alan Turing", "" where they are not certain.

    They are those of the document information if all their family names are on these lines, else
    the first lines that consist of names alone.

    Args:
        lines: those between title and abstract.
        stated: the authors of the document information.
    """
    shown = squeezed(" ".join(line.text for line in lines))
    named = _names(stated)
    if named and all(squeezed(name.split()[-1]) in shown for name in named):
        printed = _printed(lines)
        return ", ".join(printed if len(printed) > len(named) else named)
    printed = _printed(lines)
    return ", ".join(printed) if len(printed) > 1 else ""  # one may be the first of a column


def _printed(lines: Sequence[Line]) -> list[str]:
    """Return the names on the first lines that have only names, all set alike."""
    found: list[str] = []
    first: Line | None = None
    for line in lines:
        names = _names(plain(_MARKS.sub(" , ", line.text)))
        if first is None and not names:
            return []
        if not names or (first is not None and not _alike(first, line)):
            break
        first = first or line
        found += names
    return found


def _alike(one: Line, other: Line) -> bool:
    return abs(one.size - other.size) < 0.5 and one.font == other.font


def _names(text: str) -> list[str]:
    """Return the names in a list; if a part of it is something else, none of them."""
    parts = [part.strip(" .") for part in re.split(r"[,;&]|\band\b", text)]
    parts = [" ".join(part.split()) for part in parts if part]
    fits = all(
        _NAME.fullmatch(part) and not _NO_NAME.search(part) and part[0].isupper() for part in parts
    )
    return parts if fits else []


def identifiers_of(lines: Sequence[Line], turned: str, stated: str) -> dict[str, str]:
    """Return the DOI and the arXiv id that are printed, the category and the date of the stamp.

    A DOI counts if it is the only one.

    Args:
        lines: those of the first page.
        turned: the text on its margin.
        stated: the entries of the document information.
    """
    text = "\n".join((turned, stated, *(line.text for line in lines)))
    found: dict[str, str] = {}
    written = map(own_doi, _DOI.findall(text))
    dois = {one for one in written if any(map(str.isdigit, one.partition("/")[2]))}
    if len(dois) == 1:
        found["doi"] = dois.pop()
    stamp = _STAMP.search(text)
    if stamp and (arxiv_id := find_arxiv_id(f"arXiv:{stamp['id']}")):
        found["arxiv_id"] = arxiv_id
        month = (
            _MONTHS.index(stamp["month"].lower()) + 1 if stamp["month"].lower() in _MONTHS else 0
        )
        found["published"] = f"{stamp['year']}-{month:02}-{int(stamp['day']):02}" if month else ""
        found["categories"] = stamp["category"] or ""
    return {name: value for name, value in found.items() if value}


def squeezed(text: str) -> str:
    """Return the letters and digits of a text in lower case."""
    return re.sub(r"[\W_]+", "", plain(text).casefold())
