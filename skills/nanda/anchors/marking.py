"""Divide the sentences of an abstract by the spans of its anchors, wherever it is displayed."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skills.nanda.anchors.lexical import Anchor
from skills.nanda.sentences import sentence_spans
from skills.nanda.text import flatten

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a sentence, on one line.

    Attributes:
        moves: those that come from this part of the sentence, in the order of the anchors.
    """

    text: str
    moves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Marked:
    """A sentence of an abstract with the moves that come from it.

    Attributes:
        segments: their texts together are the sentence on one line.
        moves: those that come from all words of the sentence; the segments do not repeat them.
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
    whole = tuple(move for move, spans in covered.items() if _has_all_words(text, spans))
    parts = {move: spans for move, spans in covered.items() if move not in whole}
    return Marked(_segments(text, parts), whole)


def _place(at: int, sentence: str, text: str) -> int:
    """Return where the visible characters before `at` end in the flattened sentence."""
    place = len(flatten(sentence[:at]))
    while unicodedata.category(text[place : place + 1] or " ").startswith("M"):
        place += 1
    return place


def _has_all_words(text: str, spans: Sequence[Span]) -> bool:
    """Return True if no letter or digit is outside of the spans."""
    left = list(text)
    for start, end in spans:
        left[start:end] = " " * (end - start)
    return not any(map(str.isalnum, left))


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
        # What names the moves of a segment follows its last word.
        blank = " " * (bool(one.moves) and one.text.endswith(" "))
        if shown := one.text.removesuffix(blank):
            found.append(Segment(shown, one.moves))
    return tuple(found)
