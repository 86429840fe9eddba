"""The confidence of moves, the certainty of a paper, and what is marked as uncertain."""

from __future__ import annotations

import pytest

from skills.nanda.checks import check, findings
from skills.nanda.confidence import (
    Suggestion,
    certainty_of,
    labelled_suggestions,
    read_suggestions,
    suggested,
    suggestions_of,
    uncertain_moves,
    uncertainty,
)
from skills.nanda.framework import nanda


def test_the_certainty_is_the_mean_confidence_of_all_moves() -> None:
    stored = {"claim": 0.9, "scope": 0.5, "another": 0.0}
    assert certainty_of(stored, ["claim", "scope"]) == pytest.approx(0.7)


@pytest.mark.parametrize("stored", [None, {}, {"claim": 0.9}, {"claim": 0.9, "scope": 1.2}, "0.9"])
def test_it_is_unknown_unless_each_move_has_a_confidence(stored: object) -> None:
    assert certainty_of(stored, ["claim", "scope"]) is None


def test_it_is_unknown_without_moves() -> None:
    assert certainty_of({"claim": 0.9}, []) is None


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


ONE: Suggestion = {"text": "Bees sting.", "confidence": 0.21, "sentences": [1], "spans": [[0, 11]]}


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
    ("stored", "expected"),
    [
        ({"scope": ONE}, {"scope": ONE}),
        ({"scope": {**ONE, "spans": [[0, 99]]}}, {"scope": {**ONE, "spans": [[0, 19]]}}),
        ({"claim": ONE}, {}),
        ({"scope": {**ONE, "confidence": 2}}, {}),
        ({"scope": {**ONE, "text": " "}}, {}),
        ({"scope": "Bees sting."}, {}),
        (["scope"], {}),
        (None, {}),
    ],
    ids=["valid", "outside", "stated move", "confidence", "no text", "text", "list", "nothing"],
)
def test_suggestions_are_read_where_they_are_valid(stored: object, expected: object) -> None:
    assert read_suggestions("Bees sting at noon. ", ["scope"], stored) == expected
