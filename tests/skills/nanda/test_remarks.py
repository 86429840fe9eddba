"""Findings, uncertain moves and suggestions of a stored annotation, as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from skills.nanda.checks import check
from skills.nanda.confidence import Suggestion, uncertain_moves
from skills.nanda.framework import nanda
from skills.nanda.remarks import (
    findings,
    findings_by_kind,
    from_sections,
    labelled_suggestions,
    suggested,
    suggestions_of,
    uncertainty,
)

ONE: Suggestion = {"text": "Bees sting.", "confidence": 0.21, "sentences": [1], "spans": [[0, 11]]}


def test_a_move_below_one_half_is_marked() -> None:
    moves = {"claim": "Pilots sail.", "scope": "Pilots."}
    record = {
        "checks": check("Pilots sail at night.", moves),
        "confidence": {"claim": 0.31},
        "anchors": {"claim": {}, "scope": {}},
    }
    marked = "uncertain: confidence 0.31"
    assert findings("claim", record, nanda().labels) == [marked]
    assert findings("scope", record, nanda().labels) == [], "without a confidence"
    record["confidence"] = {"claim": 0.5, "scope": 0.9}
    assert findings("claim", record, nanda().labels) == []


def test_only_stated_moves_are_uncertain() -> None:
    record = {
        "confidence": {"claim": 0.9, "method": 0.354, "scope": 0.1, "novelty": 0.4},
        "anchors": {"claim": {}, "method": {}},
        "suggestions": {"scope": ONE},
    }
    assert uncertain_moves(record) == {"method": 0.354}
    assert [uncertainty(record, move) for move in ("claim", "method", "scope")] == [
        "",
        " (uncertain, 0.35)",
        "",
    ]
    assert suggested(record, "scope") == ["suggestion, confidence 0.21: Bees sting."]
    assert suggested(record, "method") == []
    [line] = labelled_suggestions(record, nanda().labels)
    assert line == ("Suggestion for Scope (0.21)", "Bees sting.")


def test_a_move_that_a_section_states_needs_no_suggestion() -> None:
    stated = {"scope": {"text": "Bees.", "section": "Limits", "page": 2}}
    assert suggestions_of({"suggestions": {"scope": ONE}, "sections": stated}) == {}


@pytest.mark.parametrize(
    ("sections", "shown"),
    [
        ("abc", {}),
        ({"scope": "Bees."}, {}),
        ({"scope": {"text": 3}}, {}),
        ({"scope": {"text": "Bees."}}, {"scope": "Bees. (section , p. )"}),
        (
            {"scope": {"text": "Bees.", "section": "Limits", "page": 2, "unsupported": None}},
            {"scope": "Bees. (section Limits, p. 2)"},
        ),
        (
            {"scope": {"text": "Bees.", "section": "Limits", "page": 2, "unsupported": [3, "n"]}},
            {"scope": "Bees. (section Limits, p. 2; not in the section: 3, n)"},
        ),
    ],
)
def test_sections_of_an_imported_row_may_have_any_form(
    sections: Any, shown: dict[str, str]
) -> None:
    assert from_sections({"sections": sections}) == shown


def test_a_move_with_the_words_of_several_others_has_one_finding() -> None:
    same = "The planner rehearses each command in a copy of the file system."
    moves = {"claim": same, "method": same, "novelty": same, "scope": "Planners of shells."}
    record = {"checks": check(same, moves)}
    found = [dict(findings_by_kind(name, record, nanda().labels)) for name in ("claim", "method")]
    kind = "Moves that repeat each other"
    assert [one[kind] for one in found] == [
        "has the same content as Method, Novelty",
        "has the same content as Claim, Novelty",
    ]
