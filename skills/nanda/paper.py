"""Define papers (abstracts with metadata from any source), and find arXiv ids in texts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from skills.nanda.text import flatten

IdField = Literal["arxiv_id", "paper_id", "id"]
ID_FIELDS: tuple[IdField, ...] = ("arxiv_id", "paper_id", "id")
"""Names of the columns and keys that can contain the id of a paper, in order of preference."""
METADATA = ("title", "authors", "published", "categories")
"""The text fields of a `Paper` other than the id and the abstract."""
_DATE = re.compile(
    r"(\d{4})(?:([-/.])(0?[1-9]|1[0-2])(?:\2(0?[1-9]|[12]\d|3[01]))?"
    r"|(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])?)?(?!\d)",
    re.ASCII,
)
# Without possessive quantifiers, the matcher would use stack space for each hyphen of a text.
ARXIV_ID = (
    r"(?:\d{2}(?:0[1-9]|1[0-2])\.\d{4,5}|[a-z]++(?:-[a-z]++)*+(?:\.[a-z]{2})?/\d{7})(?:v\d+)?"
)
"""Matches new arXiv ids (2405.12345v2) and old arXiv ids (cs/0112017, math.GT/0309136)."""
WHOLE_ARXIV_ID = re.compile(
    rf"(?:arxiv:\s*|(?:https?://)?(?:[a-z]+\.)?arxiv\.org/(?:abs|pdf|html)/)?(?P<id>{ARXIV_ID})"
    r"(?:\.pdf)?/?(?:[?#]\S*)?(?:\s+\[[a-z.-]+\])?(?:\s+\d{1,2}\s+[a-z]{3}\s+\d{4})?",
    re.IGNORECASE,
)
"""Matches a text that consists only of an arXiv id in a common notation.

The id may be alone, after "arXiv:", or in a URL of arxiv.org. The category and the date may follow
the id, as in the stamp on a PDF.
"""
_ALONE = rf"(?<![\w./-])(?P<alone>{ARXIV_ID})(?![\w/])"
_NAMED = rf"(?:arxiv\.org/(?:abs|pdf|html)/|arxiv:\s*)(?P<named>{ARXIV_ID})(?![\d/])"
_IN_ADDRESS = re.compile(_NAMED, re.IGNORECASE)
_ANYWHERE = re.compile(rf"{_NAMED}|{_ALONE}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a paper.

    Attributes:
        kind: "limitation" or "conclusion".
        heading: the heading as written in the paper.
        page: the page of the heading, from 1.
    """

    kind: str
    heading: str
    page: int
    text: str


@dataclass(frozen=True)  # pickled much faster without slots
class Paper:
    """An abstract and its metadata.

    Attributes:
        id_field: the name of the column or key that contains the id.
        abstract: the text as read, with line breaks, without the label "Abstract".
        source: the origin of the paper. "kind" is "text", "stdin", "file", "table", "corpus" or the
            name of a source such as "arxiv"; other keys are, for example, "path" and "arxiv_id".
        authors, categories: as written in the source; "" if unknown.
        published: a date that begins with the year, such as "2024-05-17"; "" if unknown.
        sections: the sections that are annotated in addition to the abstract.
    """

    id_field: IdField
    id: str
    title: str
    abstract: str
    source: Mapping[str, str] = field(default_factory=dict)
    authors: str = ""
    published: str = ""
    categories: str = ""
    sections: tuple[Section, ...] = ()

    @property
    def input(self) -> dict[str, Any]:
        """The source of the paper and the digests of its abstract and sections, for provenance."""
        digests = {one.kind: abstract_digest(one.text) for one in self.sections}
        own = {"sha256": self.sha256}
        return {**self.source, **own, **({"sections": digests} if digests else {})}

    @property
    def sha256(self) -> str:
        """The digest of the abstract (`abstract_digest`)."""
        return abstract_digest(self.abstract)

    @property
    def year(self) -> int | None:
        """The year of `published`, or None if unknown."""
        return year_of(self.published)

    @property
    def is_arxiv(self) -> bool:
        """True if `id_field` is "arxiv_id" and the id has the form of an arXiv id."""
        return self.id_field == "arxiv_id" and bool(re.fullmatch(ARXIV_ID, self.id, re.IGNORECASE))


def year_of(published: str) -> int | None:
    """Return the first four characters of a text as a year, or None if they are not digits."""
    digits = published[:4]
    return int(digits) if len(digits) == 4 and digits.isdecimal() else None


def iso_date(published: str) -> str:
    """Return a date as "2024-05-17", "2024-05" or "2024", or "" if it does not begin with a year.

    The input may be 2024/5/17, 20240517, a date with a time, or 2024.0 from a table.
    """
    found = _DATE.match(published)
    if found is None:
        return ""
    year, _, *parts = found.groups()
    return "-".join([year, *(part.zfill(2) for part in parts if part)])


def abstract_digest(abstract: str) -> str:
    """Return the SHA-256 of an abstract after `flatten`, so that line breaks do not affect it."""
    return hashlib.sha256(flatten(abstract).encode()).hexdigest()


def own_id(abstract: str) -> str:
    """Return an id for a paper without an id, made from its abstract."""
    return abstract_digest(abstract)[:12]


def page_address(text: str) -> str:
    """Return the URL of a paper at arXiv if `WHOLE_ARXIV_ID` matches `text`, else ""."""
    found = WHOLE_ARXIV_ID.fullmatch(text)
    return f"https://arxiv.org/abs/{found['id']}" if found else ""


def find_arxiv_id(text: str, *, allow_bare: bool = False) -> str | None:
    """Return the first arXiv id in `text`, without its version, or None.

    Args:
        allow_bare: True to also accept an id that is neither after "arXiv:" nor in a URL of
            arxiv.org. Such an id may be wrong, since "2405.12345" may be a number, and
            "and/2000000" a part of a sentence.
    """
    found = (_ANYWHERE if allow_bare else _IN_ADDRESS).search(text)
    return re.sub(r"v\d+$", "", found[found.lastgroup or 0]) if found else None


def bare_arxiv_id(text: str) -> str | None:
    """Return the arXiv id without its version if `WHOLE_ARXIV_ID` matches `text`, else None."""
    return find_arxiv_id(text, allow_bare=True) if WHOLE_ARXIV_ID.fullmatch(text) else None
