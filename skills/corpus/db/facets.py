"""What a search is narrowed by, as words of the full-text index.

The index finds the moves that hold a word and are the methods of 2024 in one pass; asking the rows
of every move that holds the word takes twenty times as long. So beside its text each move has the
words of its facets indexed, made such that no text holds them and no stemmer changes them.
"""

from __future__ import annotations

import re
from typing import Literal

from skills.nanda.paper import Paper

Kind = Literal["move", "year", "category"]

_ARXIV_CATEGORY = re.compile(r"[a-z-]+\.[A-Za-z-]+|[a-z]+-[a-z]+")


def word(kind: Kind, value: object) -> str:
    """The index's word for one facet: letters and digits alone, and different for each value.

    A year that is not known is "".
    """
    folded = str(value).casefold()
    plain = (c if c in "abcdefghijklmnopqrstuvwxy0123456789" else f"z{ord(c):x}z" for c in folded)
    return f"{kind}{''.join(plain)}0"


def words(move: str, paper: Paper) -> str:
    """The words of one move of a paper's annotation."""
    year = "" if paper.year is None else paper.year
    among = (word("category", category) for category in categories(paper.categories))
    return " ".join((word("move", move), word("year", year), *among))


def categories(text: str) -> list[str]:
    """The categories of `Paper.categories`, the primary one first.

    Commas or semicolons part them; blanks do so too where all are written as arXiv's are.
    """
    found: list[str] = []
    for part in filter(str.strip, re.split("[,;]", text)):
        parts = part.split()
        found += parts if all(map(_ARXIV_CATEGORY.fullmatch, parts)) else [" ".join(parts)]
    return found


def first_category(paper: Paper) -> str:
    """The primary category; "" where there is none."""
    return next(iter(categories(paper.categories)), "")
