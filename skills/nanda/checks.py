"""Check an annotation against its abstract without a model.

All functions are pure. `check` returns the results as annotations store them. In every function,
the argument `moves` has only stated moves.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from rapidfuzz import fuzz

from skills.nanda.anchors import Anchor, lexical_anchors, recall, sentences_of
from skills.nanda.passages import is_quote
from skills.nanda.text import ABSTRACTS, content_words, is_negation, is_passage, kept, words

SAME = 0.85
"""Minimum similarity of two moves that count as duplicates.

The most similar pair of moves of a paper in gold_train.csv and gold_dev.csv (536 papers) has a
similarity of 0.82.
"""
RUN = 5
"""Minimum number of consecutive words that count as copied."""


UNSUPPORTED: Mapping[str, tuple[str, str]] = {
    "unsupported_numbers": ("Numbers not in the abstract", "numbers that are not in the abstract"),
    "unsupported_names": ("Names not in the abstract", "names that are not in the abstract"),
}
DOUBTS: Mapping[str, tuple[str, str]] = {
    "moved_numbers": (
        "Numbers beside other words",
        "the abstract has another number beside these words",
    ),
    "changed_units": ("Units changed", "numbers that have another unit in the abstract"),
    "lost_negations": ("Negations lost", "it affirms what the abstract negates"),
    "turned_words": ("Directions turned", "the abstract has the opposite beside these words"),
    "repeated_words": ("Words repeated", "words that it repeats"),
}
"""The group of the findings of each check, and the clause that precedes the doubtful words.

The keys of `UNSUPPORTED` and `DOUBTS` are keys of "checks" in a stored annotation.
"""


def check(
    abstract: str, moves: Mapping[str, str], anchors: Mapping[str, Anchor] | None = None
) -> dict[str, Any]:
    """Return the results of all checks of `moves` against `abstract`.

    Of the checks in `UNSUPPORTED` and `DOUBTS`, only the check for lost negations is applied to a
    move that quotes the abstract. This check is also left out if the sentences of the move's anchor
    contain the quote and have no further negation.

    Args:
        anchors: the anchors of the moves; by default the anchors found by lexical alignment.

    Returns:
        the keys of `UNSUPPORTED` and `DOUBTS`: {move: [number, name or words, ...]}, only for moves
            with findings.
        duplicate_moves: [[move, move, similarity], ...].
        support: {move: share of its content words found in the abstract}.
        copied: {move: share of its words that lie in copied runs of `RUN` words}.
        source: {move: {"index": index of a sentence of the abstract, from 0, "score": ROUGE-L
            recall, "text": the sentence}}. The sentence has the highest score of the sentences of
            the move's anchor, or of all sentences if the anchor has no sentence.
        Shares, scores and similarities range from 0 to 1 and have three decimals.
    """
    if anchors is None:
        anchors = lexical_anchors(abstract, moves)
    quotes = {move for move, text in moves.items() if is_quote(abstract, text)}
    doubtful = {
        move: text
        for move, text in moves.items()
        if move not in quotes or _lacks_negation(abstract, text, anchors[move]["sentences"])
    }
    found: dict[str, dict[str, list[str]]] = {key: {} for key in (*UNSUPPORTED, *DOUBTS)}
    if doubtful:
        from skills.nanda.doubts import find_doubts  # not needed for most quotes

        found = find_doubts(abstract, doubtful, quotes)
    return {
        **found,
        "duplicate_moves": duplicate_moves(moves),
        "support": {move: support(abstract, text) for move, text in moves.items()},
        "copied": {move: copied(abstract, text) for move, text in moves.items()},
        "source": {
            move: source_sentence(abstract, text, anchors[move]["sentences"])
            for move, text in moves.items()
        },
    }


def _lacks_negation(abstract: str, text: str, numbers: Sequence[int]) -> bool:
    """Return True if the given sentences lack `text`, or have more negations than `text`.

    Args:
        numbers: the numbers of the sentences, from 1.
    """
    sentences = sentences_of(abstract)
    spans = [sentences[number - 1].span for number in numbers]
    given = " ".join(abstract[start:end] for start, end in spans)
    if not is_quote(given, text):  # a model or a reviewer has selected other sentences
        return True
    return sum(map(is_negation, words(given))) > sum(map(is_negation, words(text)))


def support(abstract: str, text: str) -> float:
    """Return the share of the content words of `text` whose stems occur in the abstract.

    The share is 1.0 for a text without content words. The mean share of the moves of the gold data
    is 0.94; without stemming, the mean would be 0.90.
    """
    known, found = _content_of(abstract), content_words(text)
    return round(sum(word in known for word in found) / len(found), 3) if found else 1.0


def copied(abstract: str, text: str) -> float:
    """Return the share of the words of `text` that lie in runs of `RUN` words of the abstract.

    The share is 1.0 if `text` is a passage of the abstract, even with fewer than `RUN` words, and
    0.0 if `text` has no words.
    """
    found, runs = words(text), _runs_of(abstract)
    if found and is_passage(abstract, text):
        return 1.0
    inside: set[int] = set()
    for i in range(len(found) - RUN + 1):
        if found[i : i + RUN] in runs:
            inside.update(range(i, i + RUN))
    return round(len(inside) / len(found), 3) if found else 0.0


def source_sentence(abstract: str, text: str, among: Sequence[int] = ()) -> dict[str, Any]:
    """Return the first sentence with the highest ROUGE-L recall of `text`.

    The result has the "index" of the sentence from 0, its "score" (`anchors.recall`) and its
    "text". If there is no sentence to compare, the text is "".

    Args:
        among: the numbers of the sentences to compare, from 1; () for all sentences.
    """
    given = sentences_of(abstract)
    scores = {i: recall(text, one) for i, one in enumerate(given) if not among or i + 1 in among}
    if not scores:
        return {"index": 0, "score": 0.0, "text": ""}
    index = max(scores, key=scores.__getitem__)
    shown = " ".join(abstract[slice(*given[index].span)].split())
    return {"index": index, "score": scores[index], "text": shown}


def duplicate_moves(moves: Mapping[str, str]) -> list[list[Any]]:
    """Return [move, move, similarity] for each pair with a similarity of at least `SAME`.

    The similarity, 0 to 1, is rapidfuzz's `token_sort_ratio` divided by 100; it ignores the order
    of words.
    """
    folded = {move: " ".join(words(text)) for move, text in moves.items()}
    pairs: list[list[Any]] = []
    for one, other in itertools.combinations(folded, 2):
        similarity = round(fuzz.token_sort_ratio(folded[one], folded[other]) / 100, 3)
        if similarity >= SAME:
            pairs.append([one, other, similarity])
    return pairs


@kept(ABSTRACTS)
def _content_of(abstract: str) -> frozenset[str]:
    """Return the stems of the content words of an abstract."""
    return frozenset(content_words(abstract))


@kept(ABSTRACTS)
def _runs_of(abstract: str) -> frozenset[tuple[str, ...]]:
    """Return all runs of `RUN` words of an abstract."""
    given = words(abstract)
    return frozenset(given[i : i + RUN] for i in range(len(given) - RUN + 1))
