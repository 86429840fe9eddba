"""Divide the sentences of an abstract where passages of moves begin and end, for display."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skills.nanda.anchors import Anchor, Span
from skills.nanda.sentences import sentence_spans
from skills.nanda.text import flatten


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a sentence, on one line.

    Attributes:
        moves: the names of the moves that come from this piece, in the order of the anchors.
    """

    text: str
    moves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Marked:
    """A sentence of an abstract, with the moves that come from it.

    Attributes:
        segments: the pieces of the sentence on one line.
        moves: the names of the moves that come from the whole sentence; the segments do not have
            these names.
    """

    segments: tuple[Segment, ...]
    moves: tuple[str, ...] = ()


def marked(abstract: str, anchors: Mapping[str, Anchor]) -> list[Marked]:
    """Return the sentences of an abstract, divided where the spans of anchors begin and end.

    A letter and its combining accents stay together.
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
    """Return the position in the flattened `text` that corresponds to `at` in `sentence`.

    If combining accents follow the position, the result is the position after the accents.
    """
    place = len(flatten(sentence[:at]))
    while unicodedata.category(text[place : place + 1] or " ").startswith("M"):
        place += 1
    return place


def _segments(text: str, parts: Mapping[str, Sequence[Span]]) -> tuple[Segment, ...]:
    """Return the pieces of a sentence, divided at the spans of each move."""
    ends = {0, len(text)}.union(*itertools.chain.from_iterable(parts.values()))
    found, blank = list[Segment](), ""
    for start, end in itertools.pairwise(sorted(ends)):
        moves = (
            move
            for move, spans in parts.items()
            if any(first <= start and end <= last for first, last in spans)
        )
        one = Segment(blank + text[start:end], tuple(moves))
        # A page shows the names of the moves directly after a segment. A blank at the end of the
        # segment is therefore put at the beginning of the next segment.
        blank = " " * (bool(one.moves) and one.text.endswith(" "))
        if shown := one.text.removesuffix(blank):
            found.append(Segment(shown, one.moves))
    return tuple(found)
