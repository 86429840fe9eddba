"""Divide sentences into phrases; a passage is a run of phrases of one sentence.

Phrases end at punctuation and before words that begin a clause or a prepositional phrase. Passages
begin and end at phrases, so that a move never begins or ends in the middle of one; the heading of a
sentence ("CONCLUSIONS:") is in none, unless it is the whole sentence. On gold_train_cs
(first 100 papers), the best passage for each gold move has a macro ROUGE-L of .62, the best whole
sentence .53, and the best run of words .66.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from skills.nanda.text import set_of

_ENDS = tuple(",;:\u2013\u2014")
_CLOSERS = "\"'\u2019\u201d)]"
LONGEST = 317
"""Characters of the longest phrase: those of a move of the built-in framework, less its marks."""
_DASHES = frozenset(["-", "--", "\u2013", "\u2014"])
_CLAUSE = set_of("although because but if though when where whereas while who whose")
"""Words that begin a clause.

"That" and "which" are not among them: without punctuation before, what governs them may deny it
("It is unlikely that the planner halts").
"""
_ANNOUNCEMENT = re.compile(
    r"""
    (?:(?:finally|first|second|then|here|thus|therefore|moreover|furthermore|additionally
        |specifically|overall|hence|in[ ]particular|in[ ]addition|to[ ]this[ ]end
        |in[ ]this[ ]\w+),?[ ])?
    (?:we|(?:this|the|our)[ ](?:paper|work|article|study|survey|chapter|report|thesis|research
        |results?|experiments?|findings|authors))[ ]
    (?:(?:(?!hardly|rarely|barely|scarcely)\w+ly|also|further|then|here|first|now|thus
        |therefore)[ ])?
    (?:(?:propose|present|introduce|describe|provide|develop|design|offer)(?:e?s|e?d)?
        |(?:show|demonstrate|find|argue|believe|conclude|suggest|observe|prove|claim|report|indicate
            |reveal)(?:e?s|n|e?d)?[ ]that
        |found[ ]that)[ ]
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""What announces a statement instead of making it: "In this paper, we show that"."""
_PHRASE = set_of(
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
        announced: True if "we show that" or the like precedes it.
        heading: True if it belongs to the heading of the sentence.
    """

    text: str
    begins_clause: bool
    announced: bool = False
    heading: bool = False


def phrases_of(sentence: str, longest: int = LONGEST, heading: int = 0) -> tuple[Phrase, ...]:
    """Return the phrases of a sentence on one line; joined by blanks, they are the sentence.

    Args:
        heading: words of its heading.
        longest: maximum characters of a phrase. A longer one is cut between words, and a longer
            word after each `longest` characters, since some scripts have no blanks.
    """
    headed, words = sentence.split()[:heading], sentence.split()[heading:]
    if headed:
        parts = _cut(" ".join(headed), longest)
        rest = phrases_of(" ".join(words), longest) if words else ()
        return (*(Phrase(part, begins_clause=True, heading=True) for part in parts), *rest)
    announced = _ANNOUNCEMENT.match(" ".join(words))
    begin = len(announced[0].split()) if announced else 0
    starts = [(0, True), (begin, True)] if begin else [(0, True)]
    for place in range(begin + 1, len(words)):
        before, word = words[place - 1], words[place].casefold()
        begins = word in _CLAUSE or word in _DASHES or word.startswith("(")
        if begins or _closes(before):
            starts.append((place, True))
        elif word in _PHRASE:
            starts.append((place, False))
    ends = [*(place for place, _ in starts[1:]), len(words)]
    return tuple(
        Phrase(piece, begins_clause and not number, bool(begin) and start == begin and not number)
        for (start, begins_clause), end in zip(starts, ends, strict=True)
        for number, piece in enumerate(_cut(" ".join(words[start:end]), longest))
    )


def _closes(word: str) -> bool:
    """Return True if a word ends with punctuation or a bracket, and perhaps quotes behind it."""
    bare = word.rstrip(_CLOSERS)
    return bare.endswith(_ENDS) or ")" in word[len(bare) :]


def _cut(text: str, longest: int) -> list[str]:
    return re.findall(rf"\S(?:.{{0,{longest - 1}}}(?!\S)|.{{{longest - 1}}})", text)


LEAST = 4
"""Words of a passage, where a sentence has one of as many: fewer rarely mean anything alone."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Phrases `first` to `last` - 1 of sentence `sentence`, numbered from 1 and 0."""

    sentence: int
    first: int
    last: int


def passages_of(number: int, phrases: tuple[Phrase, ...], limit: int) -> Iterator[Passage]:
    """Yield the passages of sentence `number` that have at most `limit` characters."""
    least = least_words(phrases, limit)
    for first, last, words in _runs(phrases, limit):
        if words >= least:
            yield Passage(number, first, last)


def weak_ends(passage: Passage, phrases: tuple[Phrase, ...]) -> int:
    """Return how many ends of a passage of these phrases do not separate clauses."""
    ends = (passage.first, passage.last)
    return sum(place < len(phrases) and not phrases[place].begins_clause for place in ends)


def least_words(phrases: tuple[Phrase, ...], limit: int) -> int:
    """Return how many words a passage of a sentence has at least."""
    return min(LEAST, max((words for _, _, words in _runs(phrases, limit)), default=LEAST))


def _runs(phrases: tuple[Phrase, ...], limit: int) -> Iterator[tuple[int, int, int]]:
    """Yield the first and last phrases of at most `limit` characters, and how many words."""
    headed = sum(phrase.heading for phrase in phrases)
    for first in range(headed if headed < len(phrases) else 0, len(phrases)):
        length, words = -1, 0
        for last in range(first, len(phrases)):
            length += len(phrases[last].text) + 1
            words += phrases[last].text.count(" ") + 1
            if length > limit:
                break
            yield first, last + 1, words
