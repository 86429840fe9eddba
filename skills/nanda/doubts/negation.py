"""Negations of the abstract that a move has lost."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from skills.nanda.doubts import context
from skills.nanda.doubts.context import Token

MARGIN = 0.3
"""By how much the neighbours of a word must fit a place better where it is negated."""
SCOPE = 3
"""Content words after a negation that are negated."""
BEFORE, AFTER = 7, 3
"""Tokens before and after a word of a move that are searched for a negation."""

_PLAIN = """
    not no without cannot never nor neither none lack lacks lacking lacked fail fails failed failing
    unable hardly absence absent avoid avoids avoiding avoided free
"""
_OTHERS = """
    instead rather except excluding exclude excludes excluded impossible little few difficult hard
    insufficient infeasible ignore ignores ignored neglect neglects neglected prevent prevents
    missing miss misses limited loses lose unexplored rarely seldom barely only unlike eliminate
    eliminates eliminating eliminated remove removes removing removed
"""
PLAIN, OTHERS = frozenset(_PLAIN.split()), frozenset(_OTHERS.split())
"""Negations, and words that may replace one in a move."""


def lost_negations(abstract: str, text: str, margin: float = MARGIN) -> list[str]:
    """Return the words of the abstract that it negates, and `text` affirms among the same words."""
    given, move = context.tokens(abstract), context.tokens_of_move(text)
    negated, places = _negated(abstract), context.places(abstract)
    found: list[str] = []
    for index, token in enumerate(move):
        if not token.counts or token.number or token.text in PLAIN | OTHERS:
            continue
        known = places.get(token.key, ())
        with_negation = [place for place in known if place in negated]
        if not with_negation or _is_negated(move, index):
            continue
        wanted = context.neighbours(move, index, context.OF_MOVE)
        affirmed = [place for place in known if place not in negated]
        better = context.fit(wanted, abstract, with_negation)
        if better > margin + context.fit(wanted, abstract, affirmed):
            found.append(context.written(abstract, given[with_negation[0]]))
    return list(dict.fromkeys(found))


@functools.lru_cache(maxsize=4)
def _negated(abstract: str) -> frozenset[int]:
    """Return the indices of the tokens in the scope of a negation; "not only" is not one."""
    given = context.tokens(abstract)
    found: set[int] = set()
    for index, token in enumerate(given):
        following = given[index + 1 : index + 1 + BEFORE]
        if not _is_negation(token) or (following and following[0].text == "only"):
            continue
        count = 0
        for place, other in enumerate(following, index + 1):
            if other.text in context.ENDS or count == SCOPE:
                break
            if other.counts:
                found.add(place)
                count += 1
    return frozenset(found)


def _is_negated(move: Sequence[Token], index: int) -> bool:
    near = move[max(0, index - BEFORE) : index + AFTER + 1]
    return any(_is_negation(token) or token.text in OTHERS for token in near)


def _is_negation(token: Token) -> bool:
    return token.text in PLAIN or token.text.endswith(("n't", "n\u2019t"))
