"""The certainty of a paper, from the stored confidences of its moves."""

from __future__ import annotations

import pytest

from skills.corpus.records import certainty_of


def test_the_certainty_is_the_mean_confidence_of_all_moves() -> None:
    stored = {"claim": 0.9, "scope": 0.5, "another": 0.0}
    assert certainty_of(stored, ["claim", "scope"]) == pytest.approx(0.7)


@pytest.mark.parametrize("stored", [None, {}, {"claim": 0.9}, {"claim": 0.9, "scope": 1.2}, "0.9"])
def test_it_is_unknown_unless_each_move_has_a_confidence(stored: object) -> None:
    assert certainty_of(stored, ["claim", "scope"]) is None


def test_it_is_unknown_without_moves() -> None:
    assert certainty_of({"claim": 0.9}, []) is None
