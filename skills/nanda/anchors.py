"""Anchors: the sentences of an abstract that a move comes from.

A model gives an anchor, a reviewer selects it, or lexical alignment finds it. A stored annotation
has an anchor for each stated move under "anchors". The spans of an anchor refer to the abstract as
it is stored with the paper. The oldest annotations have no anchors.

Lexical alignment selects at most two sentences. The first is the sentence with the highest ROUGE-L
recall (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"): the length of the
longest common subsequence of stemmed words, divided by the number of words of the move. Only
sentences that share a content word with the move are considered, so an anchor may have no sentence.
The second sentence has the longest common subsequence with the content words of the move that the
first sentence lacks. This subsequence must have at least `FEWEST` words, and at least the share
`SHARE` of the content words of the move. Of equally good sentences, the earlier sentence is
selected.

3,679 moves of gold_train.csv and gold_train_cs.csv share a run of four words or more with exactly
one sentence. ROUGE-L recall selects that sentence for 93.2% of these moves, ROUGE-L F1 for 92.4%,
recall of content words only for 91.1%, and coverage of content words weighted by rarity for 88.0%.
29% of all moves have a second sentence. `SHARE` is 0.25 since, in a sample of 30 moves, second
sentences that added a smaller share were often only background.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict, get_args

from rapidfuzz.distance import LCSseq

from skills.nanda.framework import MOST_SENTENCES
from skills.nanda.sentences import sentence_spans
from skills.nanda.text import ABSTRACTS, content_words, flatten, kept, stems, visible_places

SHARE = 0.25
"""Minimum share of a move's content words that a second sentence adds to the first."""
FEWEST = 3
"""Minimum number of a move's content words that a second sentence adds to the first."""
By = Literal["model", "lexical", "reviewer"]
Span = tuple[int, int]


class Referred(TypedDict):
    """A name in the abstract, and the words of a move that this name replaces.

    Attributes:
        span: the start and the end of the name in the abstract.
        at: the start and the end of the replaced words in the abstract.
    """

    span: list[int]
    at: list[int]


class Anchor(TypedDict):
    """The sentences and the spans of the abstract that a move comes from.

    Attributes:
        sentences: numbers of the sentences of the abstract, counted from 1, in order; [] if
            lexical alignment finds no sentence.
        spans: the start and the end of each span in the abstract, in characters.
        by: the origin of the anchor: "model", "reviewer", or "lexical" for lexical alignment.
        referent: the name that replaces the first words of the move; missing without such a name.
    """

    sentences: list[int]
    spans: list[list[int]]
    by: By
    referent: NotRequired[Referred]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of an abstract.

    Attributes:
        span: the start and the end of the sentence in the abstract.
        stems: the stems of the words.
        content: the stems of the content words.
    """

    span: tuple[int, int]
    stems: Sequence[str]
    content: Sequence[str]


def lexical_anchors(abstract: str, moves: Mapping[str, str]) -> dict[str, Anchor]:
    """Return the anchors that lexical alignment finds for the stated `moves`, by move."""
    return {
        move: anchor_of(abstract, _aligned(abstract, text), "lexical")
        for move, text in moves.items()
    }


def anchor_of(abstract: str, numbers: Iterable[int], by: By) -> Anchor:
    """Return the anchor that consists of the sentences with the given numbers.

    Args:
        numbers: numbers of existing sentences, from 1.
        by: the origin of the anchor.
    """
    given, ordered = sentences_of(abstract), sorted(set(numbers))
    return {"sentences": ordered, "spans": [list(given[n - 1].span) for n in ordered], "by": by}


def recall(text: str, sentence: Sentence) -> float:
    """Return the ROUGE-L recall of the words of `text` in a sentence.

    The recall ranges from 0 to 1, with three decimals. It is 0.0 if `text` has no words.
    """
    found = stems(text)
    return round(LCSseq.similarity(found, sentence.stems) / len(found), 3) if found else 0.0


@kept(ABSTRACTS)
def sentences_of(abstract: str) -> tuple[Sentence, ...]:
    """Return the sentences of an abstract in order."""
    return tuple(
        Sentence((start, end), stems(abstract[start:end]), content_words(abstract[start:end]))
        for start, end in sentence_spans(abstract)
    )


def _aligned(abstract: str, text: str) -> list[int]:
    """Return the numbers of the sentences, at most two, that lexical alignment selects for `text`.

    The result is [] if no sentence shares a content word with `text`.
    """
    given, content = sentences_of(abstract), content_words(text)
    known = set(content)
    first = _best([recall(text, one) * (not known.isdisjoint(one.content)) for one in given])
    if first is None:
        return []
    had = set(given[first].content)
    left = [word for word in content if word not in had]
    added = [LCSseq.similarity(left, sentence.content) for sentence in given]
    second = _best(added)
    enough = second is not None and added[second] >= max(FEWEST, SHARE * len(content))
    return [first + 1, second + 1] if second is not None and enough else [first + 1]


def _best(scores: Sequence[float]) -> int | None:
    """Return the first index of the highest score, or None if no score is positive."""
    best = max(range(len(scores)), key=scores.__getitem__, default=None)
    return best if best is not None and scores[best] > 0 else None


def anchors_of(
    abstract: str, moves: Mapping[str, str], given: Mapping[str, Sequence[int]]
) -> dict[str, Anchor]:
    """Return the anchors of the stated `moves` of a new annotation, by move.

    Args:
        given: the sentence numbers that the model gave for each move. If they are missing or
            invalid, or if there are more than `MOST_SENTENCES`, lexical alignment finds the anchor.
    """
    count = len(sentences_of(abstract))
    usable = {
        move: anchor_of(abstract, given[move], "model")
        for move in moves
        if 0 < len(set(given.get(move, ()))) <= MOST_SENTENCES
        and all(1 <= number <= count for number in given[move])
    }
    return _completed(abstract, moves, usable)


def read_anchors(abstract: str, moves: Mapping[str, str], stored: object) -> dict[str, Anchor]:
    """Return the anchors of the stated `moves` of a stored annotation, by move.

    The sentence numbers are computed from the spans: a span belongs to the sentence that contains
    its midpoint.

    Args:
        stored: the value of "anchors" in the annotation, or None. If the anchor of a move is
            missing or invalid, for example because a span is outside of the abstract, lexical
            alignment finds the anchor.
    """
    given = stored if isinstance(stored, Mapping) else {}
    found = {move: _valid(abstract, given.get(move)) for move in moves}
    return _completed(abstract, moves, {move: one for move, one in found.items() if one})


def placed(record: Mapping[str, Any], before: str, after: str) -> dict[str, Any]:
    """Return a copy of a record with the anchors moved to a new layout of the abstract.

    If the two abstracts are equal, or differ in more than line breaks and blanks, all anchors stay
    as they are. Otherwise, invalid anchors are left out.

    Args:
        before, after: the old and the new abstract.
    """
    stored = record.get("anchors")
    if before == after or not isinstance(stored, Mapping) or flatten(before) != flatten(after):
        return dict(record)
    old, new = visible_places(before), visible_places(after)
    moved = {}
    for move, one in stored.items():
        if valid := _valid(before, one):
            parts: dict[str, Any] = {
                "spans": [_moved_span(one, old, new) for one in valid["spans"]]
            }
            if referent := valid.get("referent"):
                parts["referent"] = {
                    name: _moved_span(referent[name], old, new) for name in ("span", "at")
                }
            moved[move] = _valid(after, {**valid, **parts})
    return {**record, "anchors": {move: one for move, one in moved.items() if one}}


def _completed(
    abstract: str, moves: Mapping[str, str], found: Mapping[str, Anchor]
) -> dict[str, Anchor]:
    """Return an anchor for each move, in order: from `found`, or by lexical alignment."""
    others = {move: text for move, text in moves.items() if move not in found}
    all_anchors = {**lexical_anchors(abstract, others), **found}
    return {move: all_anchors[move] for move in moves}


def _valid(abstract: str, stored: object) -> Anchor | None:
    """Return a stored anchor with recomputed sentence numbers, or None for an invalid anchor."""
    if not isinstance(stored, Mapping) or stored.get("by") not in get_args(By):
        return None
    spans = stored.get("spans")
    if not isinstance(spans, list) or not all(_is_inside(span, abstract) for span in spans):
        return None
    if not spans and stored["by"] != "lexical":  # only lexical alignment may find no sentence
        return None
    starts = [sentence.span[0] for sentence in sentences_of(abstract)]
    numbers = {bisect.bisect_right(starts, (start + end) // 2) for start, end in spans}
    if 0 in numbers:  # a span in the white space before the first sentence
        return None
    anchor: Anchor = {"sentences": sorted(numbers), "spans": spans, "by": stored["by"]}
    referent = stored.get("referent")
    if isinstance(referent, Mapping) and all(
        _is_inside(referent.get(name), abstract) for name in ("span", "at")
    ):
        anchor["referent"] = {"span": referent["span"], "at": referent["at"]}
    return anchor


def _is_inside(span: object, abstract: str) -> bool:
    if not isinstance(span, list) or len(span) != 2 or {*map(type, span)} != {int}:
        return False
    start, end = span
    return bool(0 <= start < end <= len(abstract))


def _moved_span(span: Sequence[int], old: Sequence[int], new: Sequence[int]) -> list[int]:
    """Return the span of the same visible characters in a new layout.

    Args:
        old, new: the positions of the visible characters in the old and in the new layout.
    """
    ends = (bisect.bisect_left(old, at) for at in (span[0], span[1] - 1))
    start, last = (new[min(end, len(new) - 1)] for end in ends)
    return [start, last + 1]
