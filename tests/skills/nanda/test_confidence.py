"""The confidence of moves, the certainty of a paper, and what is marked as uncertain."""

from __future__ import annotations

import pytest

from skills.nanda.confidence import Suggestion, certainty_of, read_suggestions


def test_the_certainty_is_the_mean_confidence_of_all_moves() -> None:
    stored = {"claim": 0.9, "scope": 0.5, "another": 0.0}
    assert certainty_of(stored, ["claim", "scope"]) == pytest.approx(0.7)


@pytest.mark.parametrize("stored", [None, {}, {"claim": 0.9}, {"claim": 0.9, "scope": 1.2}, "0.9"])
def test_it_is_unknown_unless_each_move_has_a_confidence(stored: object) -> None:
    assert certainty_of(stored, ["claim", "scope"]) is None


def test_it_is_unknown_without_moves() -> None:
    assert certainty_of({"claim": 0.9}, []) is None


ONE: Suggestion = {"text": "Bees sting.", "confidence": 0.21, "sentences": [1], "spans": [[0, 11]]}


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
