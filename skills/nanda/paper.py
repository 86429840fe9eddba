"""Define a paper: an abstract and its metadata, from any source."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from skills.nanda.arxiv_id import ID as ARXIV_ID
from skills.nanda.text import flatten

IdField = Literal["arxiv_id", "paper_id", "id"]
ID_FIELDS: tuple[IdField, ...] = ("arxiv_id", "paper_id", "id")
"""Names of ids in tables and records, in order of preference."""

_DATE = re.compile(
    r"(\d{4})(?:([-/.])(0?[1-9]|1[0-2])(?:\2(0?[1-9]|[12]\d|3[01]))?"
    r"|(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])?)?(?!\d)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a paper.

    Attributes:
        kind: "limitation" or "conclusion".
        heading: as the paper has it.
        page: the one of the heading, from 1.
    """

    kind: str
    heading: str
    page: int
    text: str


@dataclass(frozen=True, slots=True)
class Paper:
    """An abstract and its metadata.

    Attributes:
        id_field: the key under which its id is stored.
        abstract: as it was read, with line breaks, without the label "Abstract".
        source: its origin: kind ("text", "stdin", "file", "arxiv", "table"), and path or arxiv_id.
        authors, categories: as the source writes them; "" if unknown.
        published: a date that begins with the year, "2024-05-17"; "" if unknown.
        sections: those that are to be read besides the abstract.
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
        """What an annotation is made from: the source, the digest of the abstract, and those of the
        sections by kind, if there are any."""
        digests = {one.kind: abstract_digest(one.text) for one in self.sections}
        own = {"sha256": self.sha256}
        return {**self.source, **own, **({"sections": digests} if digests else {})}

    @property
    def sha256(self) -> str:
        """The digest of the abstract (`abstract_digest`)."""
        return abstract_digest(self.abstract)

    @property
    def year(self) -> int | None:
        """The year of `published`."""
        digits = self.published[:4]
        return int(digits) if len(digits) == 4 and digits.isdecimal() else None

    @property
    def is_arxiv(self) -> bool:
        """True if the id is an arXiv id."""
        return self.id_field == "arxiv_id" and bool(re.fullmatch(ARXIV_ID, self.id, re.IGNORECASE))


def iso_date(published: str) -> str:
    """Return a date as "2024-05-17", "2024-05" or "2024", "" if it does not begin with its year.

    Accepts 2024/5/17, 20240517, a time after the day, and 2024.0 for a year in a table.
    """
    found = _DATE.match(published)
    if found is None:
        return ""
    year, _, *parts = found.groups()
    return "-".join([year, *(part.zfill(2) for part in parts if part)])


def abstract_digest(abstract: str) -> str:
    """Return the SHA-256 of an abstract on one line, so that line breaks do not count."""
    return hashlib.sha256(flatten(abstract).encode()).hexdigest()


def own_id(abstract: str) -> str:
    """Return the id of a paper that has none, made from its abstract."""
    return abstract_digest(abstract)[:12]
