"""Minimum Bayes risk, and the calibration of confidences."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from skills.annotate.extractive import ranking
from skills.annotate.extractive.ranking import (
    Weights,
    choice,
    logit,
    sigmoid,
)

FLAT = Weights({}, (2.0, 0.5))


def test_the_choice_is_similar_to_what_is_probable_together() -> None:
    stems = (["bee", "sting"], ["planner", "halt"], ["planner", "halt", "fast"])
    assert choice(stems, np.array([0.4, 0.3, 0.3])) != 0
    assert choice(stems, np.array([0.9, 0.05, 0.05])) == 0


def test_only_the_most_probable_candidates_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "COMPARED", 1)
    stems = (["bee", "sting"], ["planner", "halt"], ["planner", "halt", "fast"])
    assert choice(stems, np.array([0.4, 0.3, 0.3])) == 0


def test_log_odds_and_probability_are_inverse() -> None:
    assert sigmoid(logit(0.3)) == pytest.approx(0.3)
    assert FLAT.calibrated(0.5) == pytest.approx(sigmoid(0.5))
    assert FLAT.calibrated(0.9) > FLAT.calibrated(0.6)


def test_the_shipped_weights_are_read() -> None:
    stored = json.loads(ranking.ALONE.read_text(encoding="utf-8"))
    found = ranking.load()
    assert found.least == stored["least"]
    assert found.digest == hashlib.sha256(ranking.ALONE.read_bytes()).hexdigest()
