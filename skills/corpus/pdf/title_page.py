"""Find title, authors, identifiers and abstract on the first pages, and recognize headings.

The abstract begins after the heading "Abstract" or "Summary" and ends before the next heading.
Without such a heading, the abstract is the last paragraph of 40 to 400 words above the heading
"Introduction". A paper with neither the heading nor such a paragraph is refused.

Headings are compared without blanks, case and numbers: PDFium returns small capitals and spaced
letters as "A BSTRACT" or "A B S T R A C T".
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from skills.corpus.identity.identifiers import doi
from skills.corpus.pdf.page_text import MARK, Line, count_words, differs, plain
from skills.corpus.references.csl_json import month_number
from skills.nanda.paper import find_arxiv_id
from skills.nanda.text import letters_of

_DOI_WITHIN = re.compile(r"\b10\.\d{4,9}/[^\s\"<>,;]+", re.ASCII)
HEADING_WORDS = 14
"""Maximum number of words of a heading."""
NUMBER = r"(?:\d{1,2}(?:\.\d{1,2}){0,3}[.)]?|[IVX]{1,5}[.)]?|[A-H][.)])"

_NUMBERED = re.compile(rf"({NUMBER})\s+(?=[A-Z])")
BEFORE_NAME = re.compile(rf"^(?:{NUMBER}|§|•|■)\s*(?=[A-Za-z])")
"""Matches the number or the mark before the name of a section."""
_NOT_LETTERS = re.compile(r"[^a-z]+")
_AFTER_ABSTRACT = re.compile(
    r"(?:introduction|keywords?\w{0,12}|indexterms|ccsconcepts|acmreferenceformat|contents|"
    r"tableofcontents|generalterms|categoriesandsubjectdescriptors|articleinfo|authorsummary|"
    r"(?:graphical|plainlanguage|lay)\w{0,20}|highlights|rsum|zusammenfassung|resumen|nomenclature|"
    r"relatedwork|motivation|prologue|preface|significance|acknowledg\w*|references)"
)
_RUN_IN_END = re.compile(
    r"(?:Additional )?K(?:ey|EY)\s?-?\s?[Ww](?:ords|ORDS)\b|[Kk]eywords?\s?[:—–-]|"  # noqa: RUF001
    r"(?:Index|INDEX|General) (?:[Tt]erms|TERMS)\b|CCS (?:Concepts|CONCEPTS)|"
    r"Categories and Subject|ACM Reference|(?:JEL|MSC|PACS)\b|AMS (?:[Ss]ubject|[Mm]ath)|"
    r"Permission to make|Article [Hh]istory|(?:Received|Accepted)\b.{0,20}\d|"
    r"\*? ?Corresponding [Aa]uthor|Copyright\b|©|(?:doi|DOI|E-?mail|Citation|Editors?) ?:|"
    r"\d?\.? ?Introduction\b|Author [Ss]ummary\b"
)
"""Matches the beginning of a line after an abstract; such lines are rare within abstracts."""
_PARTS = (
    "background", "objective", "aim", "purpose", "method", "material", "result", "finding",
    "conclusion", "interpretation", "significance", "design", "setting", "participant", "patient",
    "context", "importance", "main", "measurement", "limitation", "discussion", "rationale",
    "hypothesis", "question", "implication", "trial", "registration", "funding", "intervention",
    "introduction",
)  # fmt: skip
"""The beginnings of the headings within a structured abstract."""
FEWEST_WORDS = 20
"""Minimum number of words after the heading "Abstract".

Fewer words follow the entry "Abstract" in a table of contents.
"""
MOST_WORDS = 700
"""Maximum number of words of an abstract."""
UNHEADED_WORDS = range(40, 401)
"""The allowed numbers of words of an abstract without a heading."""
UNHEADED_PAGES = 2
"""Number of pages, from the first, that are searched for an abstract without a heading."""
PARAGRAPH = 1.5
"""Minimum distance in ems between two lines that belong to different paragraphs."""
_RUN_IN = re.compile(
    r"(?:a\s?b\s?s\s?t\s?r\s?a\s?c\s?t|summary)\s*(?:[—–:.]|-{1,2}|\s-)+\s*(?=\S)",  # noqa: RUF001
    re.IGNORECASE,
)
_CAPITALS = re.compile(r"(?:ABSTRACT|SUMMARY)\s+(?=[A-Z])")
_HEADING = re.compile(r"(?:abstract|summary)(?:andkeywords)?")
TITLE_WORDS = 45
"""Maximum number of words of a title."""
PROVEN = 15
"""Minimum number of letters of a title in the document information.

A shorter entry may be a placeholder, such as "Paper" or "main.dvi".
"""
_STAMP = re.compile(
    r"arxiv:\s*(?P<id>\S+)\s*(?:\[(?P<category>[\w.-]+)\])?\s*(?P<day>\d{1,2})\s+(?P<month>[a-z]{3})"
    r"[a-z]*\s+(?P<year>\d{4})",
    re.IGNORECASE,
)
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


def name_of(text: str) -> str:
    """Return the letters of a heading in lower case: "limitations" for "7 Limitations"."""
    return _NOT_LETTERS.sub("", BEFORE_NAME.sub("", text.strip(), count=1).casefold())


def is_short(text: str) -> bool:
    """Return True if a line is as short as a heading, and does not end with ",", ";" or "-"."""
    text = text.strip()
    return 0 < len(text.split()) <= HEADING_WORDS and len(text) <= 100 and text[-1] not in ",;-"


def level_of(line: Line) -> int:
    """Return the level of a heading: 1 for "7", 2 for "7.1", and 0 if it has no number."""
    found = _NUMBERED.match(line.text.strip())
    return found[1].strip(".)").count(".") + 1 if found else 0


def stands_out(line: Line, body: Line) -> bool:
    """Return True if a line differs from the line `body` in font, size or case, as headings do."""
    letters = [char for char in line.text if char.isalpha()]
    capital = len(letters) > 3 and sum(map(str.isupper, letters)) > 0.9 * len(letters)
    larger = line.size > 1.06 * body.size
    other = line.font != body.font and (level_of(line) > 0 or line.size >= 0.98 * body.size)
    return (line.bold and not body.bold) or larger or capital or (other and is_title(line.text))


def is_title(text: str) -> bool:
    """Return True if a text may be a title.

    The first word of a title is capitalized. Of 6 or more words, at least half are capitalized.
    """
    words = [word for word in text.split() if word[0].isalpha()]
    capitals = sum(word[0].isupper() for word in words)
    return bool(words) and words[0][0].isupper() and (capitals * 2 >= len(words) or len(words) < 6)


def ends_abstract(line: Line, body: Line) -> bool:
    """Return True if the abstract ends before a line.

    Args:
        body: a line of the abstract.
    """
    text = line.text.strip()
    name = name_of(text)
    if _RUN_IN_END.match(text):
        return True
    if not is_short(text):
        return False
    apart = stands_out(line, body)
    if _AFTER_ABSTRACT.fullmatch(name) and (apart or not text.endswith(".")):
        return True
    return apart and (level_of(line) > 0 or (line.bold and not name.startswith(_PARTS)))


class Abstract(NamedTuple):
    """The abstract of a paper.

    Attributes:
        lines: the lines of the abstract.
        begin: the index of the line with the heading, among the lines of the paper; without a
            heading, the index of the first line of the abstract.
    """

    lines: list[Line]
    begin: int


def find_abstract(lines: Sequence[Line]) -> Abstract | None:
    """Return the abstract of a paper, or None if the lines contain no abstract."""
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
    """Return the text after the heading `wanted` in a line, or "" if no text follows.

    None is returned if the line does not begin with this heading.
    """
    text = line.text.strip()
    name = name_of(text)
    if not name.startswith(wanted):
        return None
    if _HEADING.fullmatch(name):
        return ""
    if found := _RUN_IN.match(text) or _CAPITALS.match(text):
        return text[found.end() :]
    if line.lead and _HEADING.fullmatch(name_of(line.lead)):
        return text[len(line.lead) :].lstrip(" .:-—–")  # noqa: RUF001
    return None


def _body(lines: Sequence[Line], own: Sequence[Line]) -> list[Line]:
    """Return the lines of an abstract below the line with its heading.

    A few lines of another font size, such as a footnote between two columns, are skipped. Four such
    lines in succession end the abstract.

    Args:
        lines: the lines below the heading.
        own: the rest of the line with the heading, as a list of one line; [] if there is no rest.
    """
    if not lines:
        return []
    usual = statistics.median(line.size for line in [*own, *lines[:4]])
    model = own[0] if own and differs(lines[0], usual) else lines[0]
    found: list[Line] = []
    skipped = words = 0
    for line in lines:
        before = found[-1] if found else (own[-1] if own else None)
        if before is not None and ends_abstract(line, model):
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
    """Return the last paragraph above the introduction that has the length of an abstract.

    None is returned if there is no introduction or no such paragraph.
    """
    introductions = (
        i
        for i, line in enumerate(lines)
        if line.page < UNHEADED_PAGES
        and is_short(line.text)
        and name_of(line.text) == "introduction"
    )
    last = next(introductions, 0)
    for start in range(last - 1, -1, -1):
        before, line = lines[start - 1], lines[start]
        if start and not (differs(line, before.size) or _is_apart(before, line, PARAGRAPH)):
            continue
        paragraph = list(lines[start:last])
        if count_words(paragraph) in UNHEADED_WORDS and any(". " in one.text for one in paragraph):
            return Abstract(paragraph, start)
        last = start
    return None


def _is_apart(before: Line, line: Line, most: float = 2.4) -> bool:
    """Return True if the baselines of two lines in a column are more than `most` ems apart."""
    same_column = line.page == before.page and line.left < before.right and before.left < line.right
    return same_column and before.y - line.y > most * max(before.size, line.size)


def title_of(before: Sequence[Line], stated: str) -> tuple[str, int]:
    """Return the title of a paper, or "", and the index of the line after the title.

    The title in the document information is returned if it has at least `PROVEN` letters, and
    `before` contains it. Otherwise the title is the text in the largest font.

    Args:
        before: the lines before the abstract.
        stated: the title in the document information.
    """
    block = _largest(before)
    after = block[-1] + 1 if block else 0
    written = plain(" ".join(before[i].text for i in block)).rstrip(_MARKS_AT_END)
    letters = letters_of(stated)
    if len(letters) >= PROVEN and letters in letters_of(" ".join(line.text for line in before)):
        return plain(stated).strip(), after
    return " ".join(written.split()), after


def _largest(lines: Sequence[Line]) -> list[int]:
    """Return the indexes of the title's lines: the successive lines in the largest font."""
    blocks: list[list[int]] = []
    for place, line in enumerate(lines):
        if _NOT_A_TITLE.search(line.text) or not any(map(str.isalpha, line.text)):
            continue
        last = lines[place - 1]
        alike = abs(line.size - last.size) <= 0.05 * last.size and line.page == last.page
        follows = bool(blocks) and blocks[-1][-1] == place - 1
        if follows and alike and abs(last.y - line.y) <= 2 * last.size:
            blocks[-1].append(place)
        else:
            blocks.append([place])

    def usable(fewest: int) -> list[list[int]]:
        words = (sum(len(lines[i].text.split()) for i in block) for block in blocks)
        counts = zip(blocks, words, strict=True)
        return [block for block, count in counts if fewest <= count <= TITLE_WORDS]

    largest = usable(3) or usable(0)
    return max(largest, key=lambda block: (lines[block[0]].size, -block[0]), default=[])


def authors_of(lines: Sequence[Line], stated: str) -> str:
    """Return the authors as "Ada Lovelace, Alan Turing", or "" if the names are uncertain.

    The authors are the names in the first lines. The authors in the document information are
    returned instead if the lines contain all their family names, and do not contain more names.

    Args:
        lines: the lines between title and abstract.
        stated: the authors in the document information.
    """
    shown = letters_of(" ".join(line.text for line in lines))
    named, printed = _names(stated), _printed(lines)
    if named and all(letters_of(name.split()[-1]) in shown for name in named):
        return ", ".join(printed if len(printed) > len(named) else named)
    # A single name is not returned: other names may be in the lines below or in other columns.
    return ", ".join(printed) if len(printed) > 1 else ""


def _printed(lines: Sequence[Line]) -> list[str]:
    """Return the names in the first lines, up to a line with other text or in another font."""
    found: list[str] = []
    first: Line | None = None
    for line in lines:
        names = _names(plain(_MARKS.sub(" , ", line.text)))
        first = first or line
        if not names or abs(line.size - first.size) >= 0.5 or line.font != first.font:
            break
        found += names
    return found


def _names(text: str) -> list[str]:
    """Return the names in a text that lists them, or [] if an item of the list is not a name."""
    split = (part.strip(" .") for part in re.split(r"[,;&]|\band\b", text))
    parts = [" ".join(part.split()) for part in split if part]
    fits = all(
        _NAME.fullmatch(part) and not _NO_NAME.search(part) and part[0].isupper() for part in parts
    )
    return parts if fits else []


def identifiers_of(lines: Sequence[Line], turned: str, stated: str) -> dict[str, str]:
    """Return the DOI and arXiv id on the first pages, with category and date of the arXiv stamp.

    The keys are "doi", "arxiv_id", "published" and "categories"; unknown values are omitted. The
    DOI is omitted if the pages contain several DOIs.

    Args:
        lines: the lines of the first page and of the page with the abstract.
        turned: the text in the margin, which may contain the arXiv stamp.
        stated: values of the document information.
    """
    text = "\n".join((turned, stated, *(line.text for line in lines)))
    found: dict[str, str] = {}
    dois = {one for one in dois_within(text) if any(map(str.isdigit, one.partition("/")[2]))}
    if len(dois) == 1:
        found["doi"] = dois.pop()
    stamp = _STAMP.search(text)
    if stamp and (arxiv_id := find_arxiv_id(f"arXiv:{stamp['id']}")):
        found["arxiv_id"] = arxiv_id
        month = month_number(stamp["month"])
        found["published"] = f"{stamp['year']}-{month:02}-{int(stamp['day']):02}" if month else ""
        found["categories"] = stamp["category"] or ""
    return {name: value for name, value in found.items() if value}


def dois_within(text: str) -> set[str]:
    """Return all DOIs that occur in running text, in lower case."""
    return set(filter(None, map(doi, _DOI_WITHIN.findall(text))))
