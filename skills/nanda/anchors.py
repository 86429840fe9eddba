"""Anchors: the sentences of an abstract that a move comes from.

They are given by a model, selected by a reviewer, or found by common words. A stored annotation has
an anchor for each stated move under "anchors"; its spans refer to the abstract as it is stored with
the paper. Annotations made before there were anchors have none.

Alignment by common words selects one or two sentences. The first has the highest ROUGE-L recall
(Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"): the longest common subsequence
of the stemmed words over the words of the move; the earliest sentence if tied. Sentences without a
common content word do not count, so that there may be none. Of the content words that the first
does not have, a second sentence must have `SHARE` of the move's content words and at least
`FEWEST`, in order; the sentence with most of them, the earliest if tied.

Of 3,211 moves of gold_train.csv and gold_train_cs.csv that share a run of four words or more with
one sentence alone, this recall selects that sentence for 89.1%, ROUGE-L F1 for 88.9%, the recall of
content words alone for 85.5%, and their coverage weighted by rarity for 83.2%. 28% of the moves
have a second sentence; in a reading of 30 moves, candidates below a quarter were often background.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

from rapidfuzz.distance import LCSseq

from skills.nanda.framework import MOST_SENTENCES
from skills.nanda.sentences import sentence_spans
from skills.nanda.text import content_words, flatten, stems, visible_places

SHARE = 0.25
"""Share of a move's content words that a second sentence adds."""
FEWEST = 3
"""Content words that a second sentence adds, at least."""
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
    """Where a move comes from.

    Attributes:
        sentences: numbers of sentences of the abstract from 1, in order; [] if unknown.
        spans: start and end of each in the abstract, in characters.
        by: the model, the alignment by common words, or the reviewer that selected them.
        referent: the place of a name that replaces the first words of the move, and their place.
    """

    sentences: list[int]
    spans: list[list[int]]
    by: By
    referent: NotRequired[Referred]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of an abstract.

    Attributes:
        span: its start and end in the abstract.
        stems: its words, stemmed.
        content: the content words among them.
    """

    span: tuple[int, int]
    stems: Sequence[str]
    content: Sequence[str]


def lexical_anchors(abstract: str, moves: Mapping[str, str]) -> dict[str, Anchor]:
    """Return the anchor of each of the stated `moves`, by lexical alignment; see the module."""
    return {
        move: anchor_of(abstract, _aligned(abstract, text), "lexical")
        for move, text in moves.items()
    }


def anchor_of(abstract: str, numbers: Iterable[int], by: By) -> Anchor:
    """Return the anchor of these sentences of the abstract, which must exist."""
    given, ordered = sentences_of(abstract), sorted(set(numbers))
    return {"sentences": ordered, "spans": [list(given[n - 1].span) for n in ordered], "by": by}


def recall(text: str, sentence: Sentence) -> float:
    """Return the ROUGE-L recall of `text` in a sentence, rounded to three places."""
    found = stems(text)
    return round(LCSseq.similarity(found, sentence.stems) / len(found), 3) if found else 0.0


@functools.lru_cache(maxsize=4)  # each abstract is aligned move by move
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
    """Return the numbers of the sentences, at most two, that `text` comes from."""
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
    """Return the index of the highest score, the first if tied; None if no score is above zero."""
    best = max(range(len(scores)), key=scores.__getitem__, default=None)
    return best if best is not None and scores[best] > 0 else None


def anchors_of(
    abstract: str, moves: Mapping[str, str], given: Mapping[str, Sequence[int]]
) -> dict[str, Anchor]:
    """Return the anchors of the stated `moves`.

    Args:
        given: sentence numbers by move, as the model gave them. Where they are missing, more than
            `MOST_SENTENCES`, or not numbers of sentences, the anchor is the lexical one.
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
    """Return the anchors of the stated `moves` of an annotation that is read.

    The number of a sentence is that of the sentence in which the middle of its span lies now.

    Args:
        stored: the value of "anchors" or None. Where an anchor is missing, or a span is not inside
            the abstract, the anchor is the lexical one.
    """
    given = stored if isinstance(stored, Mapping) else {}
    found = {move: _valid(abstract, given.get(move)) for move in moves}
    return _completed(abstract, moves, {move: one for move, one in found.items() if one})


def numbers_of(sentences: Sequence[int]) -> str:
    """Return the numbers of sentences for people: "[2,5]", which is not wrapped, or ""."""
    return f"[{','.join(map(str, sentences))}]" if sentences else ""


def origin_of(anchor: Anchor) -> str:
    """Return in words where a move comes from."""
    if not anchor["sentences"]:
        return "no sentence of the abstract shares its words"
    numbers = " and ".join(map(str, anchor["sentences"]))
    plural = "s" * (len(anchor["sentences"]) > 1)
    return f"from sentence{plural} {numbers} ({_BY[anchor['by']]})"


def placed(record: Mapping[str, Any], before: str, after: str) -> dict[str, Any]:
    """Return a record with the spans of its anchors moved to another layout of its abstract.

    Args:
        before, after: the abstract in both layouts, which differ in line breaks and blanks alone.
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
    """Return an anchor for each move, in their order; lexical anchors where `found` has none."""
    others = {move: text for move, text in moves.items() if move not in found}
    all_anchors = {**lexical_anchors(abstract, others), **found}
    return {move: all_anchors[move] for move in moves}


def _valid(abstract: str, stored: object) -> Anchor | None:
    """Return a stored anchor with its present sentence numbers, None if it is not valid."""
    if not isinstance(stored, Mapping) or stored.get("by") not in tuple(_BY):
        return None
    spans = stored.get("spans")
    if not isinstance(spans, list) or not all(_is_inside(span, abstract) for span in spans):
        return None
    if not spans and stored["by"] != "lexical":  # only lexical alignment finds no sentence
        return None
    starts = [sentence.span[0] for sentence in sentences_of(abstract)]
    numbers = {bisect.bisect_right(starts, (start + end) // 2) for start, end in spans}
    if 0 in numbers:  # white space before the first sentence
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
    """Return the place of the character at `at`, or of the next visible one."""
    return new[min(bisect.bisect_left(old, at), len(new) - 1)]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a sentence, on one line.

    Attributes:
        moves: the moves that come from this part of the sentence, in the order of the anchors.
    """

    text: str
    moves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Marked:
    """A sentence of an abstract with the moves that come from it.

    Attributes:
        segments: their texts together are the sentence on one line.
        moves: the moves that come from all words of the sentence; segments do not repeat them.
    """

    segments: tuple[Segment, ...]
    moves: tuple[str, ...] = ()


def marked(abstract: str, anchors: Mapping[str, Anchor]) -> list[Marked]:
    """Return the sentences of an abstract, divided where the spans of anchors begin and end.

    No letter is separated from the accents that combine with it.
    """
    return [_marked(abstract, *span, anchors) for span in sentence_spans(abstract)]


def _marked(abstract: str, first: int, last: int, anchors: Mapping[str, Anchor]) -> Marked:
    sentence = abstract[first:last]
    text = flatten(sentence)
    covered: dict[str, list[Span]] = {}
    for move, anchor in anchors.items():
        for low, high in anchor["spans"]:
            if low >= last or high <= first:
                continue
            start, end = (_place(max(at - first, 0), sentence, text) for at in (low, high))
            start += text[start : start + 1] == " "
            if start < end:
                covered.setdefault(move, []).append((start, end))
    visible = {place for place, char in enumerate(text) if char.isalnum()}
    whole = tuple(
        move
        for move, spans in covered.items()
        if visible.issubset(itertools.chain.from_iterable(itertools.starmap(range, spans)))
    )
    parts = {move: spans for move, spans in covered.items() if move not in whole}
    return Marked(_segments(text, parts), whole)


def _place(at: int, sentence: str, text: str) -> int:
    """Return where the visible characters before `at` end in the flattened sentence."""
    place = len(flatten(sentence[:at]))
    while unicodedata.category(text[place : place + 1] or " ").startswith("M"):
        place += 1
    return place


def _segments(text: str, parts: Mapping[str, Sequence[Span]]) -> tuple[Segment, ...]:
    """Return the pieces of a sentence between the ends of the spans of `parts`."""
    ends = {0, len(text)}.union(*itertools.chain.from_iterable(parts.values()))
    found, blank = list[Segment](), ""
    for start, end in itertools.pairwise(sorted(ends)):
        moves = (
            move
            for move, spans in parts.items()
            if any(first <= start and end <= last for first, last in spans)
        )
        one = Segment(blank + text[start:end], tuple(moves))
        # The names of the moves of a segment follow its last word.
        blank = " " * (bool(one.moves) and one.text.endswith(" "))
        if shown := one.text.removesuffix(blank):
            found.append(Segment(shown, one.moves))
    return tuple(found)
