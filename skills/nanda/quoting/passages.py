"""Divide sentences into phrases; a passage is a run of phrases of one sentence.

Phrases end at punctuation and before words that begin a clause or a prepositional phrase. Passages
begin and end at phrases, so that a move never begins or ends in the middle of one. On gold_train_cs
(first 100 papers), the best passage for each gold move has a macro ROUGE-L of .62, the best whole
sentence .53, and the best run of words .66.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


_CLOSING = re.compile(r"[,;:)\u2013\u2014][\"'\u2019\u201d)\]]*\Z")
_DASHES = frozenset(["-", "--", "\u2013", "\u2014"])
_CLAUSE = _set_of("although because but if that though when where whereas which while who whose")
"""Words that begin a clause."""
_ANNOUNCEMENT = re.compile(
    r"""
    (?:(?:finally|first|second|then|here|thus|therefore|moreover|furthermore|additionally
        |specifically|overall|hence|in[ ]particular|in[ ]addition|to[ ]this[ ]end
        |in[ ]this[ ]\w+),?[ ])?
    (?:we|(?:this|the|our)[ ](?:paper|work|article|study|survey|chapter|report|thesis|research
        |results?|experiments?|findings|authors))[ ]
    (?:(?:\w+ly|also|further|then|here|first|now|thus|therefore)[ ])?
    (?:(?:propose|present|introduce|describe|provide|develop|design|offer)(?:e?s|e?d)?
        |(?:show|demonstrate|find|argue|believe|conclude|suggest|observe|prove|claim|report|indicate
            |reveal)(?:e?s|n|e?d)?[ ]that
        |found[ ]that)[ ]
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""What announces a statement instead of making it: "In this paper, we show that"."""
_PHRASE = _set_of(
    """
    across and as between by compared for from in into on or over than through to under using via
    with without
    """
)
"""Words that begin a phrase, most of them prepositions."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A part of a sentence.

    Attributes:
        text: its words, with single blanks.
        begins_clause: False if only a word of `_PHRASE` separates it from the phrase before.
    """

    text: str
    begins_clause: bool


def phrases_of(sentence: str) -> tuple[Phrase, ...]:
    """Return the phrases of a sentence on one line; joined by blanks, they are the sentence."""
    words = sentence.split()
    announced = _ANNOUNCEMENT.match(" ".join(words))
    begin = len(announced[0].split()) if announced else 0
    starts = [(0, True), (begin, True)] if begin else [(0, True)]
    for place in range(begin + 1, len(words)):
        before, word = words[place - 1], words[place].casefold()
        if _CLOSING.search(before) or word in _CLAUSE or word in _DASHES or word.startswith("("):
            starts.append((place, True))
        elif word in _PHRASE:
            starts.append((place, False))
    ends = [*(place for place, _ in starts[1:]), len(words)]
    return tuple(
        Phrase(" ".join(words[start:end]), begins_clause)
        for (start, begins_clause), end in zip(starts, ends, strict=True)
        if end > start
    )


LEAST = 4
"""Words of a passage that is not a whole sentence: fewer rarely mean anything alone."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Phrases `first` to `last` - 1 of sentence `sentence`, numbered from 1 and 0."""

    sentence: int
    first: int
    last: int


def passages_of(number: int, phrases: tuple[Phrase, ...], limit: int) -> Iterator[Passage]:
    """Yield the passages of sentence `number` that have at most `limit` characters."""
    for first in range(len(phrases)):
        length, words = -1, 0
        for last in range(first, len(phrases)):
            length += len(phrases[last].text) + 1
            words += phrases[last].text.count(" ") + 1
            if length > limit:
                break
            if words >= LEAST or last - first == len(phrases) - 1:
                yield Passage(number, first, last + 1)
