"""A paper: an abstract and what is known of it, whatever it was read from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from skills.nanda.arxiv_id import ID as ARXIV_ID
from skills.nanda.text import flatten

IdField = Literal["arxiv_id", "paper_id", "id"]

_DATE = re.compile(
    r"(\d{4})(?:([-/.])(0?[1-9]|1[0-2])(?:\2(0?[1-9]|[12]\d|3[01]))?"
    r"|(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])?)?(?!\d)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Paper:
    """An abstract and what is known of it.

    Attributes:
        id_field: the key its id is stored under.
        abstract: as it was read, without a label "Abstract"; line breaks and all.
        source: where it came from: kind ("text", "stdin", "file", "arxiv", "table"), and path or
            arxiv_id.
        authors, categories: as the source writes them; "" where it does not say.
        published: a date that begins with the year, "2024-05-17"; "" where the source does not say.
    """

    id_field: IdField
    id: str
    title: str
    abstract: str
    source: Mapping[str, str] = field(default_factory=dict)
    authors: str = ""
    published: str = ""
    categories: str = ""

    @property
    def sha256(self) -> str:
        """Of the abstract on one line, so that line breaks do not make it another one."""
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
    """What a date that begins with its year tells, "2024-05-17", "2024-05" or "2024"; else "".

    Takes 2024/5/17, 20240517, a time behind the day, and the 2024.0 that a table made of a year.
    """
    found = _DATE.match(published)
    if found is None:
        return ""
    year, _, *parts = found.groups()
    return "-".join([year, *(part.zfill(2) for part in parts if part)])


def abstract_digest(abstract: str) -> str:
    """sha256 of an abstract on one line: what tells one abstract from another."""
    return hashlib.sha256(flatten(abstract).encode()).hexdigest()


def own_id(abstract: str) -> str:
    """An id for a paper that came without one."""
    return abstract_digest(abstract)[:12]
