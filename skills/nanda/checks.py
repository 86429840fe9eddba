"""Check an annotation against its abstract without a model.

All functions are pure. `check` returns the results in the form in which annotations store them: an
object of objects by move. The functions expect only the moves that the abstract states.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from rapidfuzz import fuzz

from skills.nanda.anchors import Anchor, lexical_anchors, recall, sentences_of
from skills.nanda.confidence import uncertain_moves
from skills.nanda.doubts import doubts_about, find_doubts
from skills.nanda.named_entities import unsupported_names, without_names
from skills.nanda.passages import is_quote
from skills.nanda.text import ABSTRACTS, content_words, is_passage, kept, words

SAME = 0.85
"""Minimum similarity of two moves that count as duplicates. The most similar pair of moves of a
paper in gold_train.csv and gold_dev.csv (536 papers) has 0.82.
"""
LOW_SUPPORT = 0.6
"""Support of a move (see `support`) below which a doubt is reported. Of the 3,581 stated moves of
gold_train.csv and gold_dev.csv, 12 are below it.
"""
FEW_WORDS = "few of its words are in the abstract"
RUN = 5
"""Minimum number of consecutive words that count as copied."""

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


def check(
    abstract: str, moves: Mapping[str, str], anchors: Mapping[str, Anchor] | None = None
) -> dict[str, Any]:
    """Return the results of all checks of `moves` against `abstract`.

    Quotes are not searched for numbers, names and words that differ from the abstract.

    Args:
        anchors: the anchors of the moves; by default the anchors found by lexical alignment.

    Returns:
        unsupported_numbers, unsupported_names: {move: [number or name, ...]}, only for moves with
            findings.
        the keys of `DOUBTS`: {move: [doubtful words, ...]}, only for moves with findings.
        duplicate_moves: [[move, move, similarity], ...].
        support: {move: share of its content words found in the abstract}.
        copied: {move: share of its words that lie in copied runs of `RUN` words}.
        source: {move: {"index": index of a sentence of the abstract, from 0, "score": ROUGE-L
            recall, "text": the sentence}}, for the sentence of the move's anchor with the highest
            score.
        Shares, scores and similarities range from 0 to 1 and have three decimals.
    """
    if anchors is None:
        anchors = lexical_anchors(abstract, moves)
    quotes = {move for move, text in moves.items() if is_quote(abstract, text)}
    written = {move: text for move, text in moves.items() if move not in quotes}
    numbers = {move: unsupported_numbers(abstract, text) for move, text in written.items()}
    names = {move: unsupported_names(abstract, text) for move, text in written.items()}
    return {
        "unsupported_numbers": {move: found for move, found in numbers.items() if found},
        "unsupported_names": {move: found for move, found in names.items() if found},
        **find_doubts(abstract, moves, quotes),
        "duplicate_moves": duplicate_moves(moves),
        "support": {move: support(abstract, text) for move, text in moves.items()},
        "copied": {move: copied(abstract, text) for move, text in moves.items()},
        "source": {
            move: source_sentence(abstract, text, anchors[move]["sentences"])
            for move, text in moves.items()
        },
    }


def unusable(abstract: str, moves: Mapping[str, str]) -> str:
    """Return the reason why the moves of a reply are not an annotation of the abstract, or "".

    There are two reasons. Repetition: more than half of the moves, and at least three, have the
    same content. Repetition is accepted for an abstract with less than half as many sentences as
    there are moves, because the model has little choice; but not if all of more than three moves
    have the same content and the abstract has several sentences. Invention: more than half of the
    moves have no content word of the abstract. No annotation in gold_train.csv and gold_dev.csv is
    refused.
    """
    half = len(moves) / 2
    alike = Counter(move for pair in duplicate_moves(moves) for move in pair[:2])
    most = 1 + max(alike.values(), default=0)
    sentences = len(sentences_of(abstract))
    has_choice = sentences >= half or (sentences > 1 and most == len(moves) > 3)
    if most >= 3 and most > half and has_choice:
        return f"{most} of {len(moves)} moves have the same content"
    invented = [move for move, text in moves.items() if not support(abstract, text)]
    if len(invented) > half:
        return f"{', '.join(invented)}: no content word is in the abstract"
    return ""


def findings(move: str, record: Mapping[str, Any], labels: Mapping[str, str]) -> list[str]:
    """Return the findings about a move of a stored annotation, each as a clause.

    Args:
        record: the stored annotation; its `checks`, `anchors` and `confidence` are read.
        labels: the label of each move by name.
    """
    return [clause for _, clause in findings_by_kind(move, record, labels)]


def findings_by_kind(
    move: str, record: Mapping[str, Any], labels: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the group of each finding about a move, such as "Uncertain", and its clause."""
    checks = record["checks"]
    for what in ("numbers", "names"):
        if texts := checks[f"unsupported_{what}"].get(move):
            clause = f"{what} that are not in the abstract: {', '.join(texts)}"
            yield f"{what.capitalize()} not in the abstract", clause
    yield from doubts_about(move, checks)
    if checks["support"].get(move, 1.0) < LOW_SUPPORT:
        yield "Few words in the abstract", FEW_WORDS
    pairs = [(one, other) for one, other, _ in checks["duplicate_moves"] if move in (one, other)]
    if pairs:
        others = ", ".join(labels[other if move == one else one] for one, other in pairs)
        yield "Moves that repeat each other", f"has the same content as {others}"
    if (confidence := uncertain_moves(record).get(move)) is not None:
        yield "Uncertain", f"uncertain: confidence {confidence:.2f}"


def unsupported_numbers(abstract: str, text: str) -> list[str]:
    """Return the distinct numerals of `text`, as written, whose value is not in the abstract.

    Values are compared: 1,000 equals 1000, 1.0 equals 1, and 93% equals 93 %. Number words of the
    abstract below one hundred count. "80, 000" in the abstract, as tokenizers write it, counts as
    80, as 0 and as 80000. Digits of a name ("GPT-4") are left to `unsupported_names`. Number words
    of `text` are ignored, since "two directions" may be a count by the annotator.
    """
    known = _abstract_facts(abstract).numbers
    found = [shown for shown, value in _numbers(without_names(text)) if value not in known]
    return list(dict.fromkeys(found))


def support(abstract: str, text: str) -> float:
    """Return the share of the content words of `text` that occur in the abstract, as stems.

    The share is 1.0 for a text without content words. The mean support of the moves of the gold
    data is 0.94; it would be 0.90 if words were compared without `text.stem`.
    """
    known, found = _abstract_facts(abstract).words, content_words(text)
    return round(sum(word in known for word in found) / len(found), 3) if found else 1.0


def copied(abstract: str, text: str) -> float:
    """Return the share of the words of `text` that lie in runs of `RUN` words of the abstract.

    The share is 1 if the abstract has the whole of `text`, even if it is shorter than a run.
    """
    found, runs = words(text), _abstract_facts(abstract).runs
    if found and is_passage(abstract, text):
        return 1.0
    inside: set[int] = set()
    for i in range(len(found) - RUN + 1):
        if tuple(found[i : i + RUN]) in runs:
            inside.update(range(i, i + RUN))
    return round(len(inside) / len(found), 3) if found else 0.0


def source_sentence(abstract: str, text: str, among: Sequence[int] = ()) -> dict[str, Any]:
    """Return the sentence with the highest ROUGE-L recall of `text` (of ties, the first).

    The result has the "index" of the sentence from 0, its "score" (`anchors.recall`) and its
    "text".

    Args:
        among: the numbers of the sentences to compare, from 1; () for all sentences.
    """
    best: dict[str, Any] = {"index": 0, "score": 0.0, "text": ""}
    for index, sentence in enumerate(sentences_of(abstract)):
        if among and index + 1 not in among:
            continue
        score = recall(text, sentence)
        if score > best["score"] or not best["text"]:
            start, end = sentence.span
            shown = " ".join(abstract[start:end].split())
            best = {"index": index, "score": score, "text": shown}
    return best


def duplicate_moves(moves: Mapping[str, str]) -> list[list[Any]]:
    """Return [move, move, similarity] for each pair of moves with nearly the same words.

    The similarity is rapidfuzz's `token_sort_ratio` divided by 100, which ignores the order of
    words.
    """
    folded = {move: " ".join(words(text)) for move, text in moves.items()}
    pairs: list[list[Any]] = []
    for one, other in itertools.combinations(folded, 2):
        similarity = round(fuzz.token_sort_ratio(folded[one], folded[other]) / 100, 3)
        if similarity >= SAME:
            pairs.append([one, other, similarity])
    return pairs


class _AbstractFacts(NamedTuple):
    """The numbers, the content words, and the runs of `RUN` words of an abstract."""

    numbers: frozenset[Decimal]
    words: frozenset[str]
    runs: frozenset[tuple[str, ...]]


@kept(ABSTRACTS)
def _abstract_facts(abstract: str) -> _AbstractFacts:
    loose, given = _LOOSE_THOUSANDS.sub("", abstract), words(abstract)
    written = (value for text in (abstract, loose) for _, value in _numbers(text))
    return _AbstractFacts(
        frozenset(itertools.chain(written, _spelled_out(given))),
        frozenset(content_words(abstract)),
        frozenset(tuple(given[i : i + RUN]) for i in range(len(given) - RUN + 1)),
    )


def _numbers(text: str) -> Iterator[tuple[str, Decimal]]:
    """Yield each numeral of a text, without thousands separators, and its value."""
    for match in _NUMBER.finditer(_THOUSANDS.sub("", text)):
        yield match.group(), Decimal(match.group())


def _spelled_out(given: Sequence[str]) -> Iterator[Decimal]:
    """Yield the value of each number word, and of pairs: 20, 3 and 23 for "twenty", "three"."""
    previous = 0
    for word in given:
        value = _SPELLED.get(word)
        if value is not None:
            yield Decimal(value)
            if previous >= 20 and 0 < value < 10:
                yield Decimal(previous + value)
        previous = value or 0
