"""Anchors: the sentences of an abstract that a move comes from.

An anchor is given by a model, selected by a reviewer, or found by common words. A stored annotation
has an anchor for each stated move under "anchors"; its spans refer to the abstract as stored with
the paper. The oldest annotations have no anchors.

Alignment by common words selects one or two sentences. The first sentence is the one with the
highest ROUGE-L recall (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"): the
length of the longest common subsequence of the stemmed words, divided by the number of words of the
move. Of tied sentences the earliest is selected. A sentence without a common content word does not
count, so that a move may have no anchor. A second sentence is selected if it adds content words of
the move that the first sentence lacks: at least `FEWEST` words, in order, and the share `SHARE` of
the content words of the move. It is the sentence that adds most words, or of tied sentences the
earliest.

3,211 moves of gold_train.csv and gold_train_cs.csv share a run of four words or more with exactly
one sentence. The recall selects that sentence for 89.1% of these moves, ROUGE-L F1 for 88.9%, the
recall of content words only for 85.5%, and the coverage of content words weighted by rarity for
83.2%. 28% of the moves have a second sentence; in a sample of 30 moves, sentences that added less
than a quarter of the content words were often background.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

from rapidfuzz.distance import LCSseq

from skills.nanda.framework import MOST_SENTENCES
from skills.nanda.sentences import sentence_spans
from skills.nanda.text import ABSTRACTS, content_words, flatten, kept, stems, visible_places

SHARE = 0.25
"""Minimum share of a move's content words that a second sentence adds."""
FEWEST = 3
"""Minimum number of content words that a second sentence adds."""
By = Literal["model", "lexical", "reviewer"]
_BY = {
    "model": "given by the model",
    "lexical": "found by common words",
    "reviewer": "selected by a reviewer",
}
Span = tuple[int, int]


class Referred(TypedDict):
    """The start and the end of a name (`span`) and of the words that it replaces (`at`)."""

    span: list[int]
    at: list[int]


class Anchor(TypedDict):
    """The sentences and the spans of the abstract that a move comes from.

    Attributes:
        sentences: numbers of the sentences of the abstract, counted from 1, in order; [] if
            unknown.
        spans: start and end of each span in the abstract, in characters.
        by: the origin of the selection: a model, a reviewer, or "lexical" alignment.
        referent: the place of a name that replaces the first words of the move, and the place of
            these words.
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
        stems: the stems of its words.
        content: the stems of its content words.
    """

    span: tuple[int, int]
    stems: Sequence[str]
    content: Sequence[str]


def lexical_anchors(abstract: str, moves: Mapping[str, str]) -> dict[str, Anchor]:
    """Return the anchors of the stated `moves` by lexical alignment, as described in the module."""
    return {
        move: anchor_of(abstract, _aligned(abstract, text), "lexical")
        for move, text in moves.items()
    }


def anchor_of(abstract: str, numbers: Iterable[int], by: By) -> Anchor:
    """Return the anchor of the sentences with these numbers, which must exist."""
    given, ordered = sentences_of(abstract), sorted(set(numbers))
    return {"sentences": ordered, "spans": [list(given[n - 1].span) for n in ordered], "by": by}


def recall(text: str, sentence: Sentence) -> float:
    """Return the ROUGE-L recall of `text` in a sentence, rounded to three places."""
    found = stems(text)
    return round(LCSseq.similarity(found, sentence.stems) / len(found), 3) if found else 0.0


@kept(ABSTRACTS)
def sentences_of(abstract: str) -> tuple[Sentence, ...]:
    """Return the sentences of an abstract in order."""
    return tuple(
        Sentence(
            (start, end),
            stems(abstract[start:end]),
            content_words(abstract[start:end]),
        )
        for start, end in sentence_spans(abstract)
    )


def _aligned(abstract: str, text: str) -> list[int]:
    """Return the numbers of the one or two sentences that `text` comes from, or []."""
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
    """Return the index of the highest positive score (of ties, the first), or None."""
    best = max(range(len(scores)), key=scores.__getitem__, default=None)
    return best if best is not None and scores[best] > 0 else None


def anchors_of(
    abstract: str, moves: Mapping[str, str], given: Mapping[str, Sequence[int]]
) -> dict[str, Anchor]:
    """Return the anchors of the stated `moves`.

    Args:
        given: the sentence numbers that the model gave for each move. If they are missing, invalid,
            or more than `MOST_SENTENCES`, lexical alignment finds the anchor.
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
    """Return the anchors of the stated `moves` of a stored annotation.

    The sentence numbers are computed again: a span belongs to the sentence that contains its
    middle.

    Args:
        stored: the value of "anchors" or None. If an anchor is missing, or a span is not inside the
            abstract, lexical alignment finds the anchor.
    """
    given = stored if isinstance(stored, Mapping) else {}
    found = {move: _valid(abstract, given.get(move)) for move in moves}
    return _completed(abstract, moves, {move: one for move, one in found.items() if one})


def numbers_of(sentences: Sequence[int]) -> str:
    """Return the numbers of sentences as text without blanks, such as "[2,5]", or ""."""
    return f"[{','.join(map(str, sentences))}]" if sentences else ""


def origin_of(anchor: Anchor) -> str:
    """Return a description of the sentences that a move comes from."""
    if not anchor["sentences"]:
        return "no sentence of the abstract shares its words"
    numbers = " and ".join(map(str, anchor["sentences"]))
    plural = "s" * (len(anchor["sentences"]) > 1)
    return f"from sentence{plural} {numbers} ({_BY[anchor['by']]})"


def placed(record: Mapping[str, Any], before: str, after: str) -> dict[str, Any]:
    """Return a record with the spans of its anchors moved to another layout of its abstract.

    Args:
        before, after: the abstract in both layouts, which differ only in line breaks and blanks.
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
                own = {"span": referent["span"], "at": referent["at"]}
                parts["referent"] = {k: _moved_span(one, old, new) for k, one in own.items()}
            moved[move] = _valid(after, {**valid, **parts})
    return {**record, "anchors": {move: one for move, one in moved.items() if one}}


def _completed(
    abstract: str, moves: Mapping[str, str], found: Mapping[str, Anchor]
) -> dict[str, Anchor]:
    """Return an anchor for each move in order; a lexical anchor if `found` lacks the move."""
    others = {move: text for move, text in moves.items() if move not in found}
    all_anchors = {**lexical_anchors(abstract, others), **found}
    return {move: all_anchors[move] for move in moves}


def _valid(abstract: str, stored: object) -> Anchor | None:
    """Return a stored anchor with current sentence numbers, or None if it is not valid."""
    if not isinstance(stored, Mapping) or stored.get("by") not in tuple(_BY):
        return None
    spans = stored.get("spans")
    if not isinstance(spans, list) or not all(_is_inside(span, abstract) for span in spans):
        return None
    if not spans and stored["by"] != "lexical":  # only lexical alignment may find no sentence
        return None
    starts = [sentence.span[0] for sentence in sentences_of(abstract)]
    numbers = {bisect.bisect_right(starts, (start + end) // 2) for start, end in spans}
    if 0 in numbers:  # a span in white space before the first sentence
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
    start: int
    end: int
    start, end = span
    return 0 <= start < end <= len(abstract)


def _moved_span(span: Sequence[int], old: Sequence[int], new: Sequence[int]) -> list[int]:
    return [_moved(span[0], old, new), _moved(span[1] - 1, old, new) + 1]


def _moved(at: int, old: Sequence[int], new: Sequence[int]) -> int:
    """Return the new place of the character at `at`, or of the next visible character."""
    return new[min(bisect.bisect_left(old, at), len(new) - 1)]
