"""The features of the candidates of a move."""

from __future__ import annotations

import numpy as np
import pytest

from skills.annotate.extractive.features import FEATURES, features
from skills.annotate.selector.candidates import Candidates, candidates_of, statements_of
from skills.annotate.selector.selector import Likely
from skills.nanda.quoting.numbered import numbered

TEXT = (
    "Agents wait for every approval. We show that our planner halts on 412 tasks, and it is fast."
)


@pytest.fixture
def found() -> Candidates:
    return statements_of(numbered(TEXT), 300)


def rows(found: Candidates, *drafts: str) -> np.ndarray:
    return features(Likely(found, 0.2, -np.arange(len(found.passages), dtype=float)), drafts)


def column(found: Candidates, name: str, *drafts: str) -> list[float]:
    return [float(one) for one in rows(found, *drafts)[:, FEATURES.index(name)]]


def test_there_is_a_row_for_each_passage(found: Candidates) -> None:
    made = rows(found, "Agents wait.")
    assert made.shape == (len(found.passages), len(FEATURES))
    assert np.isfinite(made).all()
    assert column(found, "passage: log probability by the selector") == [0, -1, -2, -3, -4]
    assert column(found, "passage: begins the sentence") == found.shape[:, 3 + 1].tolist()


def test_the_draft_describes_the_passage_that_it_repeats_best(found: Candidates) -> None:
    draft = "Our planner halts on 412 tasks."
    f1 = column(found, "passage: F1 with the draft", draft)
    best = f1.index(max(f1))
    assert found.text(best) == draft
    assert f1[best] == pytest.approx(1.0)
    margins = column(
        found, "sentence: recall of the draft, less that of the best other sentence", draft
    )
    assert margins == pytest.approx([1.0 if place else -1.0 for place in found.place])


def test_features_of_several_drafts_are_means(found: Candidates) -> None:
    name, one, other = "passage: F1 with the draft", "Our planner halts.", "Agents wait."
    means = [
        sum(pair) / 2
        for pair in zip(column(found, name, one), column(found, name, other), strict=True)
    ]
    assert column(found, name, one, other) == pytest.approx(means)


def test_without_a_draft_its_features_are_zero(found: Candidates) -> None:
    for name in FEATURES:
        if "draft" in name:
            assert not any(column(found, name)), name


def test_noun_phrases_are_compared_with_the_draft() -> None:
    sentences = numbered("We study the training of nurses in rural hospitals. It halts.")
    scope = candidates_of(["scope"], sentences, 300)["scope"]
    recall = column(scope, "passage: recall of the draft", "Nurses in rural hospitals.")
    assert recall == pytest.approx([0.25, 1.0, 1.0])
    assert column(scope, "passage: is a noun phrase") == [1.0, 1.0, 1.0]
