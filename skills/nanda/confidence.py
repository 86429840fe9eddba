"""Read "confidence" and "suggestions" of a stored annotation.

The confidence of a move is the estimated probability that its sentence, or "not stated", is right.

If the passages that an annotator selects for a move are probably wrong (`SUGGESTED`), the text of
the move is "Not stated.", and the passages are stored under "suggestions":
{move: {"text", "confidence", "sentences", "spans"}}.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from statistics import fmean
from typing import Any, TypedDict

from skills.nanda.text import flatten

UNCERTAIN = 0.5
"""Confidence below which a stated move is marked as uncertain.

In a sample of moves stated by the reader (bench/readings), 54% of the moves with a lower confidence
and 88% of the other moves are right.
"""
SUGGESTED = 0.3
"""Minimum confidence with which the passages selected for a move become the text of the move.

Here, the confidence is the estimated probability that a passage is right if the abstract states
the move. Passages with a lower confidence are only a suggestion, since most of them are wrong.
"""


class Suggestion(TypedDict):
    """A passage that may state a move, with its confidence and its place in the abstract."""

    text: str
    confidence: float
    sentences: list[int]
    spans: list[list[int]]


def certainty_of(stored: object, moves: Iterable[str]) -> float | None:
    """Return the mean confidence of `moves`; None without moves or if a confidence is missing.

    If the confidences are calibrated, the mean is the expected share of right moves.

    Args:
        stored: the value of "confidence" in an annotation, or None.
    """
    names = list(moves)
    found = confidence_of(stored, names)
    return fmean(found.values()) if names and len(found) == len(names) else None


def confidence_of(stored: object, moves: Iterable[str]) -> dict[str, float]:
    """Return the confidence of each of `moves` that has a valid confidence, 0 to 1.

    Args:
        stored: the value of "confidence" in an annotation, or None.
    """
    given = stored if isinstance(stored, Mapping) else {}
    return {
        move: float(given[move])
        for move in moves
        if type(given.get(move)) in (int, float) and 0 <= given[move] <= 1
    }


def doubt_of(
    abstract: str, unstated: Collection[str], confidence: Mapping[str, float], suggestions: object
) -> dict[str, Any]:
    """Return the keys of a new record that express doubt: confidence, uncertain, suggestions.

    The result lacks "suggestions" if no suggestion is valid, and the other two keys if `confidence`
    is empty.

    Args:
        unstated: the moves that are not stated.
        confidence: the confidence of each move; {} if unknown.
        suggestions: the suggestions of the annotator (see `read_suggestions`).
    """
    found = read_suggestions(abstract, unstated, suggestions)
    doubt: dict[str, Any] = {"suggestions": found} if found else {}
    if confidence:
        stated: dict[str, Any] = {move: {} for move in confidence if move not in unstated}
        known = {"confidence": dict(confidence)}
        uncertain = uncertain_moves({**known, "anchors": stated})
        doubt = {**known, "uncertain": list(uncertain), **doubt}
    return doubt


def uncertain_moves(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the confidence of each stated move whose confidence is below `UNCERTAIN`.

    Args:
        record: the stored annotation. The keys of "anchors" are the stated moves.
    """
    known = confidence_of(record.get("confidence"), record.get("anchors") or ())
    return {move: share for move, share in known.items() if share < UNCERTAIN}


def read_suggestions(
    abstract: str, unstated: Iterable[str], stored: object
) -> dict[str, Suggestion]:
    """Return the valid suggestions for the moves that are not stated, by move.

    Args:
        stored: suggestions by move, or None. A suggestion is valid if it has a text and a
            confidence. If its spans are missing, or one of them is not inside the abstract, lexical
            alignment finds its sentences and spans.
    """
    from skills.nanda.anchors import read_anchors

    given = stored if isinstance(stored, Mapping) else {}
    found: dict[str, Suggestion] = {}
    for move in unstated:
        one = given.get(move)
        if not isinstance(one, Mapping) or not isinstance(one.get("text"), str):
            continue
        text, known = flatten(one["text"]), confidence_of(one, ["confidence"])
        if text and known:
            place = {move: {"spans": one.get("spans"), "by": "model"}}
            anchor = read_anchors(abstract, {move: text}, place)[move]
            found[move] = {
                "text": text,
                "confidence": known["confidence"],
                "sentences": anchor["sentences"],
                "spans": anchor["spans"],
            }
    return found
