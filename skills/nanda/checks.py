"""What can be said about an annotation without asking a model: does its abstract bear it out?

All functions are pure. `check` gathers them in the form that is stored: a flat object whose values
are keyed by move. The moves given to them are those that the abstract states.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from rapidfuzz import fuzz
from rapidfuzz.distance import LCSseq

from skills.nanda.named_entities import unsupported_names, without_names
from skills.nanda.sentences import split_sentences
from skills.nanda.text import content_words, stem, words

SAME = 0.85
"""Similarity from which two moves say the same. No pair of moves of the 536 papers of
gold_train.csv and gold_dev.csv reaches it; the most similar has 0.82."""
RUN = 5
"""Words in a row that count as copied."""

_of_abstract = functools.lru_cache(maxsize=4)  # each abstract is asked about move by move

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SPELLED = {word: value for value, word in enumerate(_UNITS.split())} | {
    word: value * 10 for value, word in enumerate(_TENS.split(), start=2)
}
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|[\u00a0\u2009\u202f'\u2019])(?=\d{3}(?!\d))")
_LOOSE_THOUSANDS = re.compile(r"(?<=\d), (?=\d{3}(?!\d))")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|(?<![\w.])\.\d+")


def check(abstract: str, moves: Mapping[str, str]) -> dict[str, Any]:
    """All checks of `moves` against `abstract`.

    Returns:
        unsupported_numbers, unsupported_names: {move: [text, ...]}, moves with findings alone.
        duplicate_moves: [[move, move, similarity], ...].
        support: {move: share of its content words found in the abstract}.
        copied: {move: share of its words copied in runs of `RUN` words or more}.
        source: {move: {"index": sentence of the abstract from 0, "score": ROUGE-L recall, "text":
            the sentence}}.
        Shares, scores and similarities are 0 to 1, rounded to three places.
    """
    numbers = {move: unsupported_numbers(abstract, text) for move, text in moves.items()}
    names = {move: unsupported_names(abstract, text) for move, text in moves.items()}
    return {
        "unsupported_numbers": {move: found for move, found in numbers.items() if found},
        "unsupported_names": {move: found for move, found in names.items() if found},
        "duplicate_moves": duplicate_moves(moves),
        "support": {move: support(abstract, text) for move, text in moves.items()},
        "copied": {move: copied(abstract, text) for move, text in moves.items()},
        "source": {move: source_sentence(abstract, text) for move, text in moves.items()},
    }


def unsupported_numbers(abstract: str, text: str) -> list[str]:
    """The numerals of `text` whose value the abstract does not hold, as written, each once.

    1,000 is 1000, 1.0 is 1, and 93% is 93 %; the abstract may spell numbers below a hundred out,
    and its "80, 000", as tokenized text has it, is 80 and 0 as well as 80000.
    Digits within a name ("GPT-4") are left to `unsupported_names`; number words of the text
    are not looked at, since "two directions" may well be the annotator's own count.
    """
    known = _known_numbers(abstract)
    found = [shown for shown, value in _numbers(without_names(text)) if value not in known]
    return list(dict.fromkeys(found))


def support(abstract: str, text: str) -> float:
    """The share of the content words of `text` that the abstract holds in some inflection.

    A text without content words is borne out by anything: 1.0. The gold's own moves have 0.94 on
    average (0.90 when words are compared as they are, without `wording.stem`).
    """
    known = _known_words(abstract)
    asked = content_words(text)
    return round(sum(word in known for word in asked) / len(asked), 3) if asked else 1.0


def copied(abstract: str, text: str) -> float:
    """The share of the words of `text` within runs of `RUN` words that the abstract has too."""
    asked, runs = words(text), _runs(abstract)
    inside: set[int] = set()
    for i in range(len(asked) - RUN + 1):
        if tuple(asked[i : i + RUN]) in runs:
            inside.update(range(i, i + RUN))
    return round(len(inside) / len(asked), 3) if asked else 0.0


def source_sentence(abstract: str, text: str) -> dict[str, Any]:
    """The sentence of the abstract that `text` most likely comes from; the first of equal ones.

    The score is ROUGE-L recall (Lin 2004, "ROUGE: A Package for Automatic Evaluation of
    Summaries"): the longest common subsequence of the stemmed words, over the words of `text`.
    """
    asked = [stem(word) for word in words(text)]
    best: dict[str, Any] = {"index": 0, "score": 0.0, "text": ""}
    for index, (sentence, given) in enumerate(_stemmed_sentences(abstract)):
        score = round(LCSseq.similarity(asked, given) / len(asked), 3) if asked else 0.0
        if score > best["score"] or not best["text"]:
            best = {"index": index, "score": score, "text": sentence}
    return best


def duplicate_moves(moves: Mapping[str, str]) -> list[list[Any]]:
    """The pairs of moves that say the same in the same words, whatever their order.

    The similarity is rapidfuzz's `token_sort_ratio` of the words, over 100.
    """
    folded = {move: " ".join(words(text)) for move, text in moves.items()}
    pairs: list[list[Any]] = []
    for one, other in itertools.combinations(folded, 2):
        similarity = round(fuzz.token_sort_ratio(folded[one], folded[other]) / 100, 3)
        if similarity >= SAME:
            pairs.append([one, other, similarity])
    return pairs


@_of_abstract
def _known_numbers(abstract: str) -> frozenset[Decimal]:
    loose = _LOOSE_THOUSANDS.sub("", abstract)
    written = (value for text in (abstract, loose) for _, value in _numbers(text))
    return frozenset(itertools.chain(written, _spelled_out(abstract)))


@_of_abstract
def _known_words(abstract: str) -> frozenset[str]:
    return frozenset(content_words(abstract))


@_of_abstract
def _runs(abstract: str) -> frozenset[tuple[str, ...]]:
    given = words(abstract)
    return frozenset(tuple(given[i : i + RUN]) for i in range(len(given) - RUN + 1))


@_of_abstract
def _stemmed_sentences(abstract: str) -> list[tuple[str, list[str]]]:
    return [
        (" ".join(sentence.split()), [stem(word) for word in words(sentence)])
        for sentence in split_sentences(abstract)
    ]


def _numbers(text: str) -> Iterator[tuple[str, Decimal]]:
    """Each numeral as written, with its value."""
    for match in _NUMBER.finditer(_THOUSANDS.sub("", text)):
        yield match.group(), Decimal(match.group())


def _spelled_out(text: str) -> Iterator[Decimal]:
    """The values of number words, "twenty-three" as 20, 3 and 23."""
    previous = 0
    for word in words(text):
        value = _SPELLED.get(word)
        if value is not None:
            yield Decimal(value)
            if previous >= 20 and 0 < value < 10:
                yield Decimal(previous + value)
        previous = value or 0
