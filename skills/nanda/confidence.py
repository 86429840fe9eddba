"""Read confidences, suggestions and moves of sections, which annotations store beside moves.

The confidence of a move is the estimated probability that its sentence, or "not stated", is right.
If the confidence is below `SUGGESTED`, an annotator that selects passages does not state the move:
its text is "Not stated.", and the passage is stored under "suggestions": {move: {"text",
"confidence", "sentences", "spans"}}.

Moves that are stated in a section of the paper, but not in its abstract, are stored under
"sections": {move: {"section": the heading, "page": the page of the heading, "text": the move,
"source": the sentence that it comes from, "support": the share of its content words in the section,
"unsupported": numbers and names that the section lacks, if there are any}}. The moves of the
annotation, their anchors and their checks concern only the abstract.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from statistics import fmean
from typing import Any, TypedDict

from skills.nanda.text import flatten

UNCERTAIN = 0.5
"""Confidence below which a move is marked. In a sample of the reader's stated moves
(bench/readings), 58% of the moves below it are right, and 68% of the moves above.
"""
SUGGESTED = 0.3
"""Confidence below which a passage is only suggested, since it is more often wrong than right."""


class Suggestion(TypedDict):
    """A passage that may be a move, with its confidence and its anchor."""

    text: str
    confidence: float
    sentences: list[int]
    spans: list[list[int]]


def certainty_of(stored: object, moves: Iterable[str]) -> float | None:
    """Return the mean confidence of `moves`, or None if a move has no confidence.

    It is the expected share of right decisions about a paper, if the confidences are calibrated.

    Args:
        stored: the value of "confidence" or None.
    """
    names = list(moves)
    found = confidence_of(stored, names)
    return fmean(found.values()) if names and len(found) == len(names) else None


def confidence_of(stored: object, moves: Iterable[str]) -> dict[str, float]:
    """Return the confidences of `moves`, without moves that have no confidence from 0 to 1.

    Args:
        stored: the value of "confidence" or None.
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
    """Return the entries of a record that express doubt: confidence, uncertain, suggestions.

    Args:
        unstated: the moves that are not stated.
        suggestions: the stored suggestions (see `read_suggestions`).
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
    """Return the confidences below `UNCERTAIN` of the stated moves.

    Args:
        record: the stored annotation; its `confidence` is read, and the keys of its `anchors`,
            which are the stated moves.
    """
    known = confidence_of(record.get("confidence"), record.get("anchors") or ())
    return {move: share for move, share in known.items() if share < UNCERTAIN}


def uncertainty(record: Mapping[str, Any], move: str) -> str:
    """Return the mark of an uncertain move, such as " (uncertain, 0.35)", otherwise ""."""
    confidence = uncertain_moves(record).get(move)
    return "" if confidence is None else f" (uncertain, {confidence:.2f})"


def suggestions_of(record: Mapping[str, Any]) -> dict[str, Suggestion]:
    """Return the suggestions of a stored annotation, except for moves that a section states."""
    stated = from_sections(record)
    stored = record.get("suggestions") or {}
    return {move: one for move, one in stored.items() if move not in stated}


def suggested(record: Mapping[str, Any], move: str) -> list[str]:
    """Return the suggestion for a move as a list of one clause, or []."""
    one = suggestions_of(record).get(move)
    return [f"suggestion, confidence {one['confidence']:.2f}: {one['text']}"] if one else []


def labelled_suggestions(
    record: Mapping[str, Any], labels: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return label and text of each suggestion, for formats that omit unstated moves.

    Args:
        labels: the labels of moves by name.
    """
    return [
        (f"Suggestion for {labels[move]} ({one['confidence']:.2f})", one["text"])
        for move, one in suggestions_of(record).items()
    ]


def read_suggestions(
    abstract: str, unstated: Iterable[str], stored: object
) -> dict[str, Suggestion]:
    """Return the valid suggestions for moves that are not stated.

    Args:
        stored: the value of "suggestions" or None. If a span is not inside the abstract, the
            sentences are found by their words.
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


def from_sections(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the moves of a record that sections state, each followed by its section."""
    stored = record.get("sections")
    shown = {}
    for move, one in stored.items() if isinstance(stored, Mapping) else ():
        if isinstance(one, Mapping) and isinstance(one.get("text"), str):
            unknown = one.get("unsupported")
            listed = ", ".join(map(str, unknown)) if isinstance(unknown, list) else ""
            doubt = f"; not in it: {listed}" if isinstance(unknown, list) else ""
            place = f"section {one.get('section', '')}, p. {one.get('page', '')}"
            shown[move] = f"{one['text']} ({place}{doubt})"
    return shown
