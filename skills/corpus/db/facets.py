"""Encode the facets of papers and moves as words of the full-text index.

A facet is a property to filter by, such as move, year or category. The full-text index contains the
text of each stated move, and the facet words of the move. One full-text query thus finds, for
example, the methods of 2024 that contain a given word. A join of every matching move with its paper
would take twenty times as long. The facet words occur in no text, and no stemmer changes these
words.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from skills.nanda.paper import Paper

Kind = Literal["move", "year", "category"]

UNKNOWN = "unknown"
"""The value of the facets "year" and "category" if the year or the category is unknown."""
STATED, UNSTATED = "stated", "not stated"
"""The values of the facet of a move."""
MOVE = "move."
"""Prefix in the names of the facets of moves, such as "move.claim"."""
ANNOTATED = "annotated"
"""The value of the facet "state" of an annotated paper; the facet has no index words."""

_ARXIV_CATEGORY = re.compile(r"[a-z-]+\.[A-Za-z-]+|[a-z]+-[a-z]+")


@lru_cache(maxsize=4096)
def word(kind: Kind, value: object) -> str:
    """Return the word that represents a facet value in the full-text index.

    The word consists of letters and digits. Values that differ only in case have the same word;
    other values have different words.

    Args:
        value: the move, year or category; "" for an unknown year.
    """
    folded = str(value).casefold()
    plain = (c if c in "abcdefghijklmnopqrstuvwxy0123456789" else f"z{ord(c):x}z" for c in folded)
    return f"{kind}{''.join(plain)}0"


def words(move: str, paper: Paper) -> str:
    """Return the facet words of a move in an annotation of `paper`."""
    return f"{word('move', move)} {paper_words(paper.year, paper.categories)}"


@lru_cache(maxsize=65_536)
def paper_words(year: int | None, of: str) -> str:
    """Return the facet words of a paper.

    Args:
        of: the value of `Paper.categories`.
    """
    among = (word("category", category) for category in categories(of))
    return " ".join((word("year", "" if year is None else year), *among))


def categories(text: str) -> list[str]:
    """Return the categories in the text of `Paper.categories`, with the primary category first.

    Categories are separated by commas or semicolons. arXiv categories may also be separated by
    blanks, as in "cs.CL cs.AI".
    """
    found: list[str] = []
    for part in filter(str.strip, re.split("[,;]", text)):
        parts = part.split()
        found += parts if all(map(_ARXIV_CATEGORY.fullmatch, parts)) else [" ".join(parts)]
    return found


def first_category(text: str) -> str:
    """Return the primary category in the text of `Paper.categories`, or "" if there is none."""
    return next(iter(categories(text)), "")
