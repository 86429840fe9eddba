"""Find the papers that share a term, for the links between their notes.

A term is a pair of adjacent words of the title or of a stated move whose first one is not a generic
word, or one word with a capital inside, such as "LoRA". It joins papers if two papers or
more have it, and at most a tenth of them: what half of a field is about joins nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from skills.nanda.terms import GENERIC, Term, spelling, terms_in
from skills.nanda.text import set_of, stem

LINKS = 8
"""Links of a note."""
TERMS = 3
"""Terms that a link names."""
FEW, SHARE, MOST = 5, 0.1, 50
"""A term joins at most this share of the papers, but `FEW` in any case, and never more than `MOST`,
which keeps the work for each paper constant."""
_OF_ARGUMENTS = set_of(
    "best demonstrate existing extensive extensively guide help lesson outperform practical"
    " previous previously prior promising shed show"
)
_NO_SUBJECT = GENERIC | set(map(stem, _OF_ARGUMENTS))
"""Stems of the first words of pairs that occur on any subject: "extensive experiments"."""


def terms_of(texts: Iterable[str]) -> dict[Term, str]:
    """Return the terms of a paper with their first spelling."""
    found: dict[Term, str] = {}
    for text in texts:
        for term, written in terms_in(text):
            if _is_specific(term, written):
                found.setdefault(term, spelling([" ".join(written.split())]))
    return found


def related(papers: Sequence[Iterable[Term]]) -> list[list[tuple[int, list[Term]]]]:
    """Return for each paper those that share the rarest terms, with these terms, by their places.

    The order depends on the papers and their terms alone.
    """
    having: dict[Term, list[int]] = defaultdict(list)
    for place, terms in enumerate(papers):
        for term in terms:
            having[term].append(place)
    most = min(MOST, max(FEW, int(len(papers) * SHARE)))
    joining = {term: places for term, places in having.items() if 1 < len(places) <= most}
    return [_related(place, terms, joining, len(papers)) for place, terms in enumerate(papers)]


def _related(
    place: int, terms: Iterable[Term], joining: dict[Term, list[int]], papers: int
) -> list[tuple[int, list[Term]]]:
    shared: dict[int, list[Term]] = defaultdict(list)
    for term in sorted(joining.keys() & set(terms), key=lambda term: (len(joining[term]), term)):
        for other in joining[term]:
            if other != place:
                shared[other].append(term)

    def weight(other: int) -> float:
        return sum(math.log(1 + papers / len(joining[term])) for term in shared[other])

    ranked = sorted(shared, key=lambda other: (-round(weight(other), 9), other))
    return [(other, shared[other][:TERMS]) for other in ranked[:LINKS]]


def _is_specific(term: Term, written: str) -> bool:
    if len(term) == 1:
        return any(char.isupper() for char in written[1:]) and not written.isupper()
    return term[0] not in _NO_SUBJECT
