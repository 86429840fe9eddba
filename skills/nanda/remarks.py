"""Describe a stored annotation for people: findings, uncertain moves, suggestions and sections.

The argument `record` is an annotation in the stored form (`skills.corpus.records.record_of`).

A section of the paper may state a move that the abstract does not state. Such a move is stored
under "sections": {move: {"section": the heading, "page": the page of the heading, "text": the move,
"source": the sentence from which the move comes, "support": the share of the move's content words
that occur in the section, "unsupported": the move's numbers and names that the section lacks, if
any}}. Anchors and checks concern only the moves that the abstract states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skills.nanda.anchors import Anchor, By
from skills.nanda.checks import DOUBTS, UNSUPPORTED
from skills.nanda.confidence import Suggestion, uncertain_moves
from skills.nanda.framework import Framework

LOW_SUPPORT = 0.6
"""Support of a move (see `checks.support`) below which a finding is reported.

Of the 3,581 stated moves of gold_train.csv and gold_dev.csv, 12 have a lower support.
"""
FEW_WORDS = "few of its words are in the abstract"
_ORIGINS: Mapping[By, str] = {
    "model": "given by the model",
    "lexical": "found by common words",
    "reviewer": "selected by a reviewer",
}


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
    """Yield each finding about a move: its group, such as "Uncertain", and a clause."""
    checks = record["checks"]
    yield from doubts_about(move, checks, {**UNSUPPORTED, **DOUBTS})
    if checks["support"].get(move, 1.0) < LOW_SUPPORT:
        yield "Few words in the abstract", FEW_WORDS
    pairs = [(one, other) for one, other, _ in checks["duplicate_moves"] if move in (one, other)]
    if pairs:
        others = ", ".join(labels[other if move == one else one] for one, other in pairs)
        yield "Moves that repeat each other", f"has the same content as {others}"
    if (confidence := uncertain_moves(record).get(move)) is not None:
        yield "Uncertain", f"uncertain: confidence {confidence:.2f}"


def doubts_about(
    move: str, checks: Mapping[str, Any], among: Mapping[str, tuple[str, str]] = DOUBTS
) -> Iterator[tuple[str, str]]:
    """Yield the group and the clause of each doubt about a move.

    Args:
        checks: the value of "checks" in an annotation.
        among: the checks whose findings are yielded, in the form of `DOUBTS`.
    """
    for key, (group, clause) in among.items():
        if texts := checks.get(key, {}).get(move):
            yield group, f"{clause}: {', '.join(texts)}"


def uncertainty(record: Mapping[str, Any], move: str) -> str:
    """Return the mark of an uncertain move, such as " (uncertain, 0.35)"; "" for other moves."""
    confidence = uncertain_moves(record).get(move)
    return "" if confidence is None else f" (uncertain, {confidence:.2f})"


def suggestions_of(record: Mapping[str, Any]) -> dict[str, Suggestion]:
    """Return the suggestions of an annotation by move, except for moves that a section states."""
    stated = from_sections(record)
    stored = record.get("suggestions") or {}
    return {move: one for move, one in stored.items() if move not in stated}


def suggested(record: Mapping[str, Any], move: str) -> list[str]:
    """Return a list with a clause about the suggestion for a move; [] without a suggestion."""
    one = suggestions_of(record).get(move)
    return [f"suggestion, confidence {one['confidence']:.2f}: {one['text']}"] if one else []


def labelled_suggestions(
    record: Mapping[str, Any], labels: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return the label and the text of each suggestion, for formats that omit unstated moves.

    Args:
        labels: the label of each move by name.
    """
    return [
        (f"Suggestion for {labels[move]} ({one['confidence']:.2f})", one["text"])
        for move, one in suggestions_of(record).items()
    ]


def from_sections(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each move that a section states, with section, page and doubts."""
    stored = record.get("sections")
    shown = {}
    for move, one in stored.items() if isinstance(stored, Mapping) else ():
        if isinstance(one, Mapping) and isinstance(one.get("text"), str):
            unknown = one.get("unsupported")
            names = ", ".join(map(str, unknown)) if isinstance(unknown, list) else ""
            doubt = f"; not in the section: {names}" if names else ""
            place = f"section {one.get('section', '')}, p. {one.get('page', '')}"
            shown[move] = f"{one['text']} ({place}{doubt})"
    return shown


def stated_in_paper(record: Mapping[str, Any], framework: Framework) -> dict[str, str]:
    """Return the texts of moves that the abstract or a section states, in the framework's order."""
    found = {**from_sections(record), **framework.stated(record)}
    return {name: found[name] for name in framework.names if name in found}


def numbers_of(sentences: Sequence[int]) -> str:
    """Return sentence numbers as text without blanks, such as "[2,5]", or "" for no sentences."""
    return f"[{','.join(map(str, sentences))}]" if sentences else ""


def origin_of(anchor: Anchor) -> str:
    """Return a clause about the origin of an anchor, such as "from sentence 2 (...)".

    Without sentences, the clause states that no sentence of the abstract has words of the move.
    """
    if not anchor["sentences"]:
        return "no sentence of the abstract shares its words"
    numbers = " and ".join(map(str, anchor["sentences"]))
    plural = "s" * (len(anchor["sentences"]) > 1)
    return f"from sentence{plural} {numbers} ({_ORIGINS[anchor['by']]})"
