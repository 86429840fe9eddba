"""Anchors as annotations store them: given by a model or aligned, validated when they are read.

A stored annotation has an anchor for each stated move under "anchors". Its spans refer to the
abstract as it is stored with the paper; annotations made before there were anchors have none.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

from skills.nanda.anchors.lexical import Anchor, anchor_of, lexical_anchors, sentences_of
from skills.nanda.framework import MOST_SENTENCES
from skills.nanda.text import flatten, visible_places

_BY = {
    "model": "given by the model",
    "lexical": "found by common words",
    "reviewer": "selected by a reviewer",
}


def anchors_of(
    abstract: str, moves: Mapping[str, str], given: Mapping[str, Sequence[int]]
) -> dict[str, Anchor]:
    """Return the anchors of the stated `moves`.

    Args:
        given: sentence numbers by move, as the model gave them. Where they are missing, more than
            `MOST_SENTENCES`, or not those of sentences, the anchor is the lexical one.
    """
    count = len(sentences_of(abstract))
    usable = {
        move: anchor_of(abstract, given[move], "model")
        for move in moves
        if move in given and _are_usable(given[move], count)
    }
    return _completed(abstract, moves, usable)


def read_anchors(abstract: str, moves: Mapping[str, str], stored: object) -> dict[str, Anchor]:
    """Return the anchors of the stated `moves` of an annotation that is read.

    A sentence number is the one in which the middle of its span lies now.

    Args:
        stored: the value of "anchors", None if there is none. Where an anchor is missing, or a span
            is not inside the abstract, it is the lexical one.
    """
    given = stored if isinstance(stored, Mapping) else {}
    found = {move: _valid(abstract, given.get(move)) for move in moves}
    return _completed(abstract, moves, {move: one for move, one in found.items() if one})


def numbers_of(sentences: Sequence[int]) -> str:
    """Return the numbers of sentences for people: "[2,5]", which is not wrapped; "" for none."""
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
        before, after: the abstract, with different line breaks and blanks; its digest is the same.
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
    """Return an anchor for each move, in their order; the lexical one where none was found."""
    others = {move: text for move, text in moves.items() if move not in found}
    all_anchors = {**lexical_anchors(abstract, others), **found}
    return {move: all_anchors[move] for move in moves}


def _are_usable(numbers: Sequence[int], count: int) -> bool:
    return 0 < len(set(numbers)) <= MOST_SENTENCES and all(
        1 <= number <= count for number in numbers
    )


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
