"""Find doubtful words of a reworded move by comparing the move with the abstract.

The context of a word consists of its neighbours: the nearest content words and numbers in the same
sentence. In a measurement (`python bench/checks.py`), each check of this module finds at least 70%
of the moves that were corrupted for this check, and marks at most 5% of the moves of the gold data.
The checks find few of the false moves that a small model writes (docs/checks.md).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from skills.nanda.text import (
    ABSTRACTS,
    LONG_WORD,
    NUMBER_WORDS,
    STOP_WORDS,
    TEXTS,
    WORD,
    WORDS,
    composed,
    content_words,
    is_negation,
    is_passage,
    kept,
    set_of,
    stem,
)
from skills.nanda.unsupported import unsupported_names, unsupported_numbers, without_names

MOST_WORDS = 400
"""Maximum number of tokens of a move that are compared.

A framework may allow moves of 2,000 characters, whose comparison would take too long.
"""
MOST_PLACES = 20
"""Maximum number of occurrences of a word in the abstract that are compared."""
REACH = 12
"""Maximum distance between a word and its neighbour, in tokens."""
OF_MOVE, OF_ABSTRACT = 3, 5
"""Number of neighbours compared on each side of a word: in a move, and in the abstract.

More neighbours are compared in the abstract, since a move leaves words out.
"""
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['\u2019][^\W\d_]+)*|%|[.;:!?](?=\s|$)")
_DIGIT = re.compile(r"\d")
SPELLED = NUMBER_WORDS[:13]
"""The number words that count as numbers: "zero" to "twelve"."""
SENTENCE_ENDS = frozenset(".!?")
ENDS = SENTENCE_ENDS | frozenset(";:")
NUMBER_MARGIN = 0.15
"""Minimum difference between the `fit` of another number and the `fit` of the move's number."""
_UNITS = """
    % percent; point points pp; x times fold; k thousand thousands; m million millions
    b bn billion billions; ms millisecond milliseconds; s sec second seconds; min minute minutes
    h hour hours; day days; week weeks; month months; year years; hz; khz; mhz; ghz; kb; mb; gb; tb
    db; mm; cm; km; meter meters; fps; kbps; mbps; gbps; nm; token tokens; watt watts; mw; kw
""".replace("\n    ", ";")
UNITS = {
    word: words.split()[0]
    for words in filter(str.strip, _UNITS.split(";"))
    for word in words.split()
}
"""The canonical unit by each of its spellings. Words such as "million" also count as units."""
NEGATION_MARGIN = 0.3
"""Minimum difference between the `fit` of negated and of affirmed occurrences of a word."""
SCOPE = 3
"""Number of content words after a negation that count as negated."""
OTHERS = set_of(
    """
    instead rather except excluding exclude excludes excluded impossible little few difficult hard
    insufficient infeasible ignore ignores ignored neglect neglects neglected prevent prevents
    missing miss misses limited loses lose unexplored rarely seldom barely only unlike eliminate
    eliminates eliminating eliminated remove removes removing removed
    """
)
"""Words that express a negation without negating the next word."""
DIRECTION_MARGIN = -0.2
"""Minimum difference between the `fit` of an opposite and the `fit` of the word of the move.

The value is negative: the word is reported even if the `fit` of its opposite is a little lower.
"""
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
"""Words of a move that `turned_words` does not compare with their opposites.

The opposites "without" and "cannot" are negations, which `lost_negations` checks.
"""
_SAME = {
    "without": ("without", "no", "not", "lack", "free"),
    "cannot": ("cannot", "not", "fail", "unabl", "no", "hard", "difficult"),
}
"""The stems that count as occurrences of a word of a move in the abstract, for some words."""
REPEATED_RUN = 3
"""Length of a run of content words that a move must not repeat.

0.3% of the moves of the gold data repeat such a run.
"""


class Token(NamedTuple):
    """A word, a numeral, a percent sign, or a mark that ends a sentence or clause.

    Attributes:
        text: the token in lower case.
        key: the form that is compared: the stem of a word, or the value of a numeral or number
            word.
        number: True for a numeral or number word; False for the digits of a name.
        counts: True if the token can be a neighbour: a content word, a number or "%".
        span: the start and the end of the token in `composed(text)`.
    """

    text: str
    key: str
    number: bool
    counts: bool
    span: tuple[int, int]


@kept(TEXTS)
def tokens(text: str) -> Sequence[Token]:
    """Return the tokens of `text`."""
    text = composed(text)
    bare = without_names(text)
    found = list[Token]()
    for match in _TOKEN.finditer(text):
        span = match.span()
        word = match.group().casefold()
        found.append(Token(word, *_facts(word, named=bare[span[0]].isspace()), span))
    return tuple(found)


def written(text: str, first: Token, last: Token | None = None) -> str:
    """Return the passage of `text` from token `first` to token `last`, by default only `first`.

    The passage is spelled as in `composed(text)`.
    """
    return composed(text)[first.span[0] : (last or first).span[1]]


def tokens_of_move(text: str) -> Sequence[Token]:
    """Return the first `MOST_WORDS` tokens of a move."""
    return tokens(text)[:MOST_WORDS]


@kept(ABSTRACTS)
def places(abstract: str) -> Mapping[str, Sequence[int]]:
    """Return the indices of the tokens of an abstract by key, up to `MOST_PLACES` for a key."""
    found: dict[str, list[int]] = {}
    for index, token in enumerate(tokens(abstract)):
        known = found.setdefault(token.key, [])
        if len(known) < MOST_PLACES:
            known.append(index)
    return found


def neighbours(given: Sequence[Token], index: int, count: int) -> dict[str, int]:
    """Return the rank of each neighbour of a token, by the key of the neighbour.

    On each side of the token, the neighbours have the ranks from 1, the nearest, to `count`. A key
    on both sides has the lower rank. Neighbours are in the same sentence and at most `REACH` tokens
    away.

    Args:
        given: all tokens of a text.
        index: the index of the token.
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
    """Return the similarity of the context of a word in a move to contexts in the abstract.

    The result, 0 to 1, is the similarity of the most similar context. Each neighbour that occurs in
    both contexts scores the inverse of its rank in the move, and less if it is far from the
    compared token of the abstract. The sum of the scores is divided by the highest possible sum.

    Args:
        wanted: the neighbours of the word in the move.
        indices: the indices of the tokens of the abstract whose contexts are compared.
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
    """Yield the index of each token that is a number written in digits."""
    return (i for i, token in enumerate(given) if token.number and token.text[0].isdecimal())


@kept(WORDS, LONG_WORD)
def _facts(text: str, *, named: bool) -> tuple[str, bool, bool]:
    """Return the `key`, `number` and `counts` of a token.

    Args:
        text: the token in lower case.
        named: True if the token is part of a name.
    """
    if text[0].isdecimal():  # False for "²", which `_TOKEN` does not match as a numeral
        return (text, False, True) if named else (_value(text.replace(",", "")), True, True)
    if text in SPELLED:
        return _value(str(SPELLED.index(text))), True, True
    if not text[0].isalpha():
        return text, False, text == "%"
    return stem(text), False, text not in STOP_WORDS and len(text) > 1


def _value(digits: str) -> str:
    """Return the canonical form of a numeral, so that "1.50" equals "1.5"."""
    return digits if digits.count(".") > 1 else str(Decimal(digits).normalize())


MOST_NUMBERS, MOST_OTHERS = 20, 200
"""Maximum number of numbers of a move, and of an abstract, that are compared."""


def moved_numbers(abstract: str, text: str, margin: float = NUMBER_MARGIN) -> list[str]:
    """Return the numerals of `text` that have the context of another number in the abstract.

    If the abstract has "accuracy is 93% and fuel saving is 17%", the move "accuracy is 17%" is
    doubtful. Numerals that the abstract lacks are ignored.
    """
    if not _DIGIT.search(text):
        return []
    given, move = tokens(abstract), tokens_of_move(text)
    numbers = [index for index, token in enumerate(given) if token.number][:MOST_OTHERS]
    found: list[str] = []
    for index in itertools.islice(numerals(move), MOST_NUMBERS):
        value = move[index].key
        wanted = neighbours(move, index, OF_MOVE)
        own = [place for place in numbers if given[place].key == value]
        others = [place for place in numbers if given[place].key != value]
        if own and fit(wanted, abstract, others) > margin + fit(wanted, abstract, own):
            found.append(move[index].text)
    return list(dict.fromkeys(found))


def changed_units(abstract: str, text: str) -> list[str]:
    """Return each numeral of `text`, with its unit, that has another unit in the abstract.

    A number without a unit in `text` or the abstract, such as the 5 of "5 to 10%", is ignored.
    """
    if not _DIGIT.search(text):
        return []
    given, move = tokens(abstract), tokens_of_move(text)
    known: dict[str, set[str]] = {}
    for index, token in enumerate(given):
        if token.number:
            known.setdefault(token.key, set()).add(_unit(given, index)[0])
    found: list[str] = []
    for index in itertools.islice(numerals(move), MOST_NUMBERS):
        (unit, last), units = _unit(move, index), known.get(move[index].key, set())
        if unit and units and unit not in units and "" not in units:
            found.append(written(text, move[index], last))
    return list(dict.fromkeys(found))


def _unit(given: Sequence[Token], index: int) -> tuple[str, Token]:
    """Return the canonical unit of the number at `index`, and the token of the unit.

    The unit is "" if the next token is not a unit. "Percentage points" are the unit "point".
    """
    number, *following = given[index : index + 3]
    if following and following[0].text == "percentage":
        del following[0]
    token = following[0] if following else number
    return UNITS.get(token.text, ""), token


BEFORE, AFTER = 7, 3
"""Number of tokens before and after a word of a move that are searched for a negation."""


def lost_negations(abstract: str, text: str, margin: float = NEGATION_MARGIN) -> list[str]:
    """Return words that the abstract negates, and that `text` affirms in the same context.

    The words are spelled as in the abstract.
    """
    if not (negated := _negated(abstract)):
        return []
    given, move, known_places = tokens(abstract), tokens_of_move(text), places(abstract)
    found: list[str] = []
    for index, token in enumerate(move):
        if not token.counts or token.number or _expresses_negation(token):
            continue
        known = known_places.get(token.key, ())
        with_negation = [place for place in known if place in negated]
        nearby = move[max(0, index - BEFORE) : index + AFTER + 1]
        if not with_negation or any(map(_expresses_negation, nearby)):
            continue
        wanted = neighbours(move, index, OF_MOVE)
        affirmed = [place for place in known if place not in negated]
        better = fit(wanted, abstract, with_negation)
        if better > margin + fit(wanted, abstract, affirmed):
            found.append(written(abstract, given[with_negation[0]]))
    return list(dict.fromkeys(found))


@kept(ABSTRACTS)
def _negated(abstract: str) -> frozenset[int]:
    """Return the indices of the tokens that a negation affects; "not only" is not a negation."""
    given = tokens(abstract)
    found: set[int] = set()
    for index, token in enumerate(given):
        following = given[index + 1 : index + 1 + BEFORE]
        if not is_negation(token.text) or (following and following[0].text == "only"):
            continue
        count = 0
        for place, other in enumerate(following, index + 1):
            if other.text in ENDS or count == SCOPE:
                break
            if other.counts:
                found.add(place)
                count += 1
    return frozenset(found)


def _expresses_negation(token: Token) -> bool:
    return token.text in OTHERS or is_negation(token.text)


def _opposites() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for pair in _PAIRS.split(","):
        one, other = map(stem, pair.split())
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {word: others for word, others in found.items() if word not in _ONE_WAY}


OPPOSITES = _opposites()


def turned_words(abstract: str, text: str, margin: float = DIRECTION_MARGIN) -> list[str]:
    """Return the words of `text` whose opposites the abstract has in the same context.

    A `text` that is a passage of the abstract is not checked, since a passage such as "with and
    without" contains a word and its opposite.
    """
    if is_passage(abstract, text):
        return []
    move, known_places = tokens_of_move(text), places(abstract)

    def places_of(stems: Iterable[str]) -> list[int]:
        return [place for one in stems for place in known_places.get(one, ())]

    found: list[str] = []
    for index, token in enumerate(move):
        opposite = places_of(OPPOSITES.get(token.key, ()))
        if not opposite:
            continue
        same = places_of(_SAME.get(token.key, (token.key,)))
        wanted = neighbours(move, index, OF_MOVE)
        better = fit(wanted, abstract, opposite)
        if better > margin + fit(wanted, abstract, same):
            found.append(written(text, token))
    return list(dict.fromkeys(found))


def repeated_words(abstract: str, text: str) -> list[str]:
    """Return the runs of `REPEATED_RUN` content words that occur more than once in `text`.

    A run is returned even if the abstract repeats it. A run that overlaps a returned run is left
    out.
    """
    del abstract  # all checks have the same parameters
    text = composed(text)
    given = [(stem, m.span()) for m in WORD.finditer(text) for stem in _content_words(m.group())]
    seen: set[tuple[str, ...]] = set()
    repeated: dict[tuple[str, ...], str] = {}
    reported = -REPEATED_RUN
    for start in range(len(given) - REPEATED_RUN + 1):
        stems, spans = zip(*given[start : start + REPEATED_RUN], strict=True)
        if stems in seen and start >= reported + REPEATED_RUN:
            repeated.setdefault(stems, text[spans[0][0] : spans[-1][1]])
            reported = start
        seen.add(stems)
    return list(repeated.values())


@kept(WORDS, LONG_WORD)
def _content_words(word: str) -> Sequence[str]:
    """Return the stems of the content words in `word`.

    The result is empty for a stop word. It may have several stems if case folding divides the word.
    """
    return content_words(word)


CHECKS: Mapping[str, Callable[[str, str], list[str]]] = {
    "unsupported_numbers": unsupported_numbers,
    "unsupported_names": unsupported_names,
    "moved_numbers": moved_numbers,
    "changed_units": changed_units,
    "lost_negations": lost_negations,
    "turned_words": turned_words,
    "repeated_words": repeated_words,
}
"""The checks for doubtful words of a move, by the key of the findings in an annotation.

Each check has the parameters `abstract` and `text`, and returns the doubtful words.
"""


def find_doubts(
    abstract: str, moves: Mapping[str, str], quotes: Collection[str] = ()
) -> dict[str, dict[str, list[str]]]:
    """Return the findings of all checks: {key: {move: [doubtful words, ...]}}.

    Args:
        quotes: names of moves that quote the abstract; only `lost_negations` checks these moves.
    """
    return {
        key: {
            move: found
            for move, text in moves.items()
            if (move not in quotes or key == "lost_negations") and (found := check(abstract, text))
        }
        for key, check in CHECKS.items()
    }
