"""Compare the neighbours of a word in a move with its neighbours in the abstract."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from skills.nanda.named_entities import without_names
from skills.nanda.text import STOP_WORDS, composed, stem

MOST_WORDS = 400
"""Words of a move that are read: a framework allows 2,000 characters."""
MOST_PLACES = 20
"""Places of a word in the abstract that are compared, so that the time stays linear."""
REACH = 12
"""Tokens on each side of a word that are searched for its neighbours."""
OF_MOVE, OF_ABSTRACT = 3, 5
"""Neighbours on each side of a word. The abstract's are more, since a move leaves words out."""

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['\u2019][^\W\d_]+)*|%|[.;:!?](?=\s|$)")
_SPELLED = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
SENTENCE_ENDS = frozenset(".!?")
ENDS = SENTENCE_ENDS | frozenset(";:")


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a numeral, a percent sign, or a mark that ends a sentence or clause.

    Attributes:
        text: as written, in lower case.
        key: what is compared: the stem of a word, the value of a numeral or number word.
        number: True for a numeral and a number word, but not for digits of a name.
        counts: True if it counts as a neighbour: content words, numbers and "%".
        span: its start and end in the composed text.
    """

    text: str
    key: str
    number: bool
    counts: bool
    span: tuple[int, int]


@functools.lru_cache(maxsize=16)  # an abstract is compared with all moves, a move by all checks
def tokens(text: str) -> Sequence[Token]:
    """Return the tokens of `text`."""
    text = composed(text)
    bare = without_names(text)
    return tuple(
        _token(found.group().casefold(), found.span(), named=bare[found.start()].isspace())
        for found in _TOKEN.finditer(text)
    )


def written(text: str, first: Token, last: Token | None = None) -> str:
    """Return the passage of `text` from its token `first` to `last`, as it is in the text."""
    return composed(text)[first.span[0] : (last or first).span[1]]


def tokens_of_move(text: str) -> Sequence[Token]:
    """Return the first `MOST_WORDS` tokens of a move."""
    return tokens(text)[:MOST_WORDS]


@functools.lru_cache(maxsize=4)
def places(abstract: str) -> Mapping[str, Sequence[int]]:
    """Return the first `MOST_PLACES` indices of each key in the tokens of an abstract."""
    found: dict[str, list[int]] = {}
    for index, token in enumerate(tokens(abstract)):
        known = found.setdefault(token.key, [])
        if len(known) < MOST_PLACES:
            known.append(index)
    return found


def neighbours(given: Sequence[Token], index: int, count: int) -> dict[str, int]:
    """Return the `count` nearest tokens that count, on each side, by key, with their rank from 1.

    They are of the same sentence.
    """
    found: dict[str, int] = {}
    for side in (
        range(index - 1, max(-1, index - 1 - REACH), -1),
        range(index + 1, min(len(given), index + 1 + REACH)),
    ):
        rank = 0
        for token in (given[place] for place in side):
            if token.text in SENTENCE_ENDS:
                break
            if token.counts:
                rank += 1
                found[token.key] = min(rank, found.get(token.key, rank))
                if rank == count:
                    break
    return found


def fit(wanted: Mapping[str, int], abstract: str, indices: Sequence[int]) -> float:
    """Return how well neighbours of a word fit the best of some places of the abstract, 0 to 1.

    Near neighbours count more: by the inverse of their rank in the move, and of the root of their
    distance beyond that in the abstract.
    """
    given = tokens(abstract)
    total = sum(1 / rank for rank in wanted.values())
    best = 0.0
    for index in indices:
        found = neighbours(given, index, OF_ABSTRACT)
        shared = (key for key in wanted if key in found)
        score = sum(1 / wanted[key] / max(1, found[key] - 1) ** 0.5 for key in shared)
        best = max(best, score)
    return best / total if total else 0.0


def numerals(given: Sequence[Token]) -> Iterator[int]:
    """Yield the indices of the numerals written in digits."""
    return (i for i, token in enumerate(given) if token.number and token.text[0].isdecimal())


def _token(text: str, span: tuple[int, int], *, named: bool) -> Token:
    if text[0].isdecimal():  # not for "²", which is not a numeral of `_TOKEN`
        if named:
            return Token(text, text, number=False, counts=True, span=span)
        return Token(text, _value(text.replace(",", "")), number=True, counts=True, span=span)
    if text in _SPELLED:
        value = _value(str(_SPELLED.index(text)))
        return Token(text, value, number=True, counts=True, span=span)
    if not text[0].isalpha():
        return Token(text, text, number=False, counts=text == "%", span=span)
    counts = text not in STOP_WORDS and len(text) > 1
    return Token(text, stem(text), number=False, counts=counts, span=span)


def _value(digits: str) -> str:
    """Return a numeral so that equal values are equal text: "1.50" and "1.5"."""
    whole, point, part = digits.partition(".")
    if "." in part:
        return digits
    return str(Decimal(f"{whole}{point}{part}").normalize())
