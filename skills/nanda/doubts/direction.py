"""Words of a move whose opposite is among the same words of the abstract."""

from __future__ import annotations

from skills.nanda.doubts import context
from skills.nanda.text import is_passage, stem

MARGIN = -0.2
"""By how much the opposite must fit the neighbours better than the word of the move."""

_PAIRS = """
    increase decrease, increase reduce, increase lower, improve worsen, improve degrade,
    improvement decline, improvement degradation, outperform underperform, surpass trail,
    exceed trail, beat trail, higher lower, high low, more less, more fewer, better worse,
    best worst, larger smaller, greater smaller, greater lower, faster slower, fast slow,
    stronger weaker, strong weak, enable prevent, support hinder, raise reduce, raise lower,
    effective ineffective, reliable unreliable, achieve miss, longer shorter, long short,
    cheaper costlier, superior inferior, above below, positive negative, gain loss, gain drop,
    rise fall, rise drop, grow shrink, easier harder, easy hard, early late, earlier later,
    maximum minimum, maximize minimize, most least, strengthen weaken, include exclude,
    accept reject, success failure, succeed fail, significant insignificant,
    sufficient insufficient, feasible infeasible, possible impossible, stable unstable,
    similar different, known unknown, competitive inferior, comparable inferior, always never,
    many few, before after, allow prevent, allow prohibit, without with, cannot can
"""
_ONE_WAY = frozenset({"with", "can"})
"""Words without a meaning of their own: their opposites in the abstract are lost negations."""
_SAME = {
    "without": ("without", "no", "not", "lack", "free"),
    "cannot": ("cannot", "not", "fail", "unabl", "no", "hard", "difficult"),
}
"""The stems that mean the same as a word, where it is not that word alone."""


def _opposites() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for pair in _PAIRS.split(","):
        one, other = map(stem, pair.split())
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {word: others for word, others in found.items() if word not in _ONE_WAY}


OPPOSITES = _opposites()


def turned_words(abstract: str, text: str, margin: float = MARGIN) -> list[str]:
    """Return the words of `text` in whose place the abstract has the opposite.

    A quote has none: "with and without" would be its own opposite.
    """
    if is_passage(abstract, text):
        return []
    move, places = context.tokens_of_move(text), context.places(abstract)
    found: list[str] = []
    for index, token in enumerate(move):
        opposite = [
            place for other in OPPOSITES.get(token.key, ()) for place in places.get(other, ())
        ]
        if not opposite:
            continue
        same = [
            place for word in _SAME.get(token.key, (token.key,)) for place in places.get(word, ())
        ]
        wanted = context.neighbours(move, index, context.OF_MOVE)
        better = context.fit(wanted, abstract, opposite)
        if better > margin + context.fit(wanted, abstract, same):
            found.append(context.written(text, token))
    return list(dict.fromkeys(found))
