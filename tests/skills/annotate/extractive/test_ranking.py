"""The log-linear model, minimum Bayes risk, and the decision whether a move is stated."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from skills.annotate.extractive import ranking
from skills.annotate.extractive.features import FEATURES
from skills.annotate.extractive.ranking import (
    Weights,
    choice,
    logit,
    sigmoid,
)
from skills.annotate.selector.candidates import Kind

FLAT = Weights({"statement": (1.0, -2.0), "noun phrase": (0.0, 0.0)}, {}, (2.0, 0.5))


def test_probabilities_are_those_of_the_weighted_features() -> None:
    found = FLAT.probabilities("statement", np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))
    powers = np.exp([0.0, 1.0, -1.0])
    assert found == pytest.approx(powers / powers.sum())
    huge = FLAT.probabilities("statement", np.array([[1e4, 0.0], [0.0, 0.0]]))
    assert huge == pytest.approx([1.0, 0.0])
    assert FLAT.probabilities("noun phrase", np.eye(2)) == pytest.approx([0.5, 0.5])


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


def test_the_shipped_weights_have_every_feature() -> None:
    stored = json.loads(ranking.WEIGHTS.read_text(encoding="utf-8"))
    found = ranking.load()
    assert {*found.weights} == {*get_args(Kind)}
    for kind, weights in found.weights.items():
        assert dict(zip(FEATURES, weights, strict=True)) == stored["weights"][kind]
    assert {*found.least} == {*stored["least"]}
    assert found.digest == hashlib.sha256(ranking.WEIGHTS.read_bytes()).hexdigest()


def test_weights_of_other_features_are_refused(tmp_path: Path) -> None:
    stored = json.loads(ranking.WEIGHTS.read_text(encoding="utf-8"))
    del stored["weights"]["statement"][FEATURES[0]]
    path = tmp_path / "weights.json"
    path.write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(KeyError):
        ranking.load(path)
