"""Name the facets of papers and moves, and encode them as words of the full-text index.

Since the facets are indexed together with the text, a single pass of the index finds the moves that
contain a word and, for example, are methods of 2024; joining every matching move to its paper takes
twenty times as long. The words are chosen so that no text contains them and no stemmer changes
them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from skills.nanda.paper import Paper

Kind = Literal["move", "year", "category"]

UNKNOWN = "unknown"
"""The value of an unknown year or category."""
STATED, UNSTATED = "stated", "not stated"
"""The values of the facet of a move, whose name begins with `MOVE`."""
MOVE = "move."
ANNOTATED, FAILED, MISSING = "annotated", "failed", "not annotated"
"""The values of the facet "state"."""

_ARXIV_CATEGORY = re.compile(r"[a-z-]+\.[A-Za-z-]+|[a-z]+-[a-z]+")


def word(kind: Kind, value: object) -> str:
    """Return the word for a value of a facet: letters and digits, different for each value.

    The word for an unknown year is "".
    """
    folded = str(value).casefold()
    plain = (c if c in "abcdefghijklmnopqrstuvwxy0123456789" else f"z{ord(c):x}z" for c in folded)
    return f"{kind}{''.join(plain)}0"


def words(move: str, paper: Paper) -> str:
    """Return the words of a move of a paper's annotation."""
    return f"{word('move', move)} {paper_words(paper.year, paper.categories)}"


def paper_words(year: int | None, of: str) -> str:
    """Return the words of a paper of this year with these `Paper.categories`."""
    among = (word("category", category) for category in categories(of))
    return " ".join((word("year", "" if year is None else year), *among))


def categories(text: str) -> list[str]:
    """Split `Paper.categories`, the primary category first.

    Commas or semicolons separate categories; blanks also do if all of them are categories of arXiv.
    """
    found: list[str] = []
    for part in filter(str.strip, re.split("[,;]", text)):
        parts = part.split()
        found += parts if all(map(_ARXIV_CATEGORY.fullmatch, parts)) else [" ".join(parts)]
    return found


@lru_cache(maxsize=4096)
def has_category(text: str, wanted: str) -> bool:
    """Return True if `Paper.categories` contain the category `wanted`, given in lower case."""
    return wanted in (category.casefold() for category in categories(text))


def first_category(paper: Paper) -> str:
    """Return the primary category, or "" without categories."""
    return next(iter(categories(paper.categories)), "")
