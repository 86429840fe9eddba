"""The confidence of moves, the certainty of a paper, and what is marked as uncertain."""

from __future__ import annotations

import pytest

from skills.nanda.checks import check, findings
from skills.nanda.confidence import certainty_of
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
    record = {"checks": check("Pilots sail at night.", moves), "confidence": {"claim": 0.31}}
    marked = "uncertain: confidence 0.31"
    assert findings("claim", record, nanda().labels) == [marked]
    assert findings("scope", record, nanda().labels) == [], "without a confidence"
    record["confidence"] = {"claim": 0.5, "scope": 0.9}
    assert findings("claim", record, nanda().labels) == []
