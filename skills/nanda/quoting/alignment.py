"""Align a move in other words with the passages of its abstract: the labels of training.

The score of passages is the F1 of ROUGE-L (Lin 2004) of their stemmed words to those of the move,
less `WEAK` for each end that does not separate clauses. A second passage, of another sentence, is
taken only if it adds `SECOND`.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import LCSseq

from skills.nanda.quoting.passages import Passage, Phrase, passages_of, weak_ends
from skills.nanda.text import stems

WEAK = 0.08
"""Cost of an end within a clause, in F1: prefers whole clauses where they are about as similar."""
SECOND = 0.12
"""Least gain of a second passage, in F1."""
TRIED = 8
"""Best single passages that are combined with a second one."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """The passages that a move comes from, in the order of the abstract, and their score."""

    passages: tuple[Passage, ...]
    score: float


def align(move: str, abstract: Sequence[tuple[Phrase, ...]], limit: int) -> Aligned | None:
    """Return the one or two passages most similar to a move; None if none shares a word with it.

    Args:
        abstract: the phrases of each sentence.
        limit: maximum characters of the passages together.
    """
    gold = stems(move)
    by_phrase = [[stems(phrase.text) for phrase in sentence] for sentence in abstract]
    singles = [
        Aligned((passage,), _score(gold, (passage,), abstract, by_phrase))
        for number, sentence in enumerate(abstract, start=1)
        for passage in passages_of(number, sentence, limit)
    ]
    best = max(singles, key=lambda one: one.score, default=None)
    if best is None or best.score <= 0:
        return None
    for one in heapq.nlargest(TRIED, singles, key=lambda one: one.score):
        for other in singles:
            (a,), (b,) = one.passages, other.passages
            if a.sentence == b.sentence or _length((a, b), abstract) > limit:
                continue
            pair = (a, b) if a.sentence < b.sentence else (b, a)
            score = _score(gold, pair, abstract, by_phrase) - SECOND
            if score > best.score:
                best = Aligned(pair, score)
    return best


def scores_by_sentence(
    move: str, abstract: Sequence[tuple[Phrase, ...]], limit: int
) -> list[float]:
    """Return for each sentence the score of its passage that is most similar to a move."""
    gold = stems(move)
    by_phrase = [[stems(phrase.text) for phrase in sentence] for sentence in abstract]
    return [
        max(
            (
                _score(gold, (passage,), abstract, by_phrase)
                for passage in passages_of(number, sentence, limit)
            ),
            default=0.0,
        )
        for number, sentence in enumerate(abstract, start=1)
    ]


def _score(
    gold: Sequence[str],
    passages: tuple[Passage, ...],
    abstract: Sequence[tuple[Phrase, ...]],
    by_phrase: Sequence[Sequence[Sequence[str]]],
) -> float:
    found = [
        stem
        for one in passages
        for phrase in by_phrase[one.sentence - 1][one.first : one.last]
        for stem in phrase
    ]
    if not found or not gold:
        return 0.0
    f1 = 2 * LCSseq.similarity(gold, found) / (len(gold) + len(found))
    return f1 - WEAK * sum(weak_ends(one, abstract[one.sentence - 1]) for one in passages)


def _length(passages: tuple[Passage, ...], abstract: Sequence[tuple[Phrase, ...]]) -> int:
    lengths = (
        len(phrase.text) + 1
        for one in passages
        for phrase in abstract[one.sentence - 1][one.first : one.last]
    )
    return sum(lengths)
