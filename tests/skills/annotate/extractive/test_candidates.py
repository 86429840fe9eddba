"""The candidates of an abstract and their features."""

from __future__ import annotations

import numpy as np
import pytest

from skills.annotate.extractive.candidates import (
    FEATURES,
    Candidates,
    candidates_of,
    noun_phrases_of,
    statements_of,
)
from skills.nanda.quoting.numbered import numbered

TEXT = (
    "Agents wait for every approval. We show that our planner halts on 412 tasks, and it is fast."
)
LIKELY = [0.2, 0.2, 0.6]
"""Probabilities of "not stated" and of each sentence."""


@pytest.fixture
def found() -> Candidates:
    return statements_of(numbered(TEXT), 300)


def column(found: Candidates, name: str, *drafts: str) -> list[float]:
    return [float(one) for one in found.features(drafts, LIKELY)[:, FEATURES.index(name)]]


def test_there_is_a_row_for_each_passage_of_each_sentence(found: Candidates) -> None:
    rows = found.features(["Agents wait."], LIKELY)
    assert rows.shape == (len(found.passages), len(FEATURES))
    assert np.isfinite(rows).all()
    assert {*found.place.tolist()} == {0, 1}
    sentences = column(found, "sentence: log probability by the selector")
    assert sentences == pytest.approx([np.log([0.25, 0.75][place]) for place in found.place])


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


def test_a_sentence_that_is_impossible_has_a_finite_probability(found: Candidates) -> None:
    assert np.isfinite(found.features([], [0.0, 0.0, 1.0])).all()
    assert np.isfinite(found.features([], [1.0, 0.0, 0.0])).all()


def test_passages_fit_into_a_move() -> None:
    found = statements_of(numbered("The planner rehearses every command, " * 30, 60), 60)
    assert all(len(found.text(number)) <= 61 for number in range(len(found.passages)))


def test_a_move_that_names_a_thing_has_noun_phrases() -> None:
    sentences = numbered("We study the training of nurses in rural hospitals. It halts.")
    found = candidates_of(["claim", "scope"], sentences, 300)
    assert found["claim"].kind == "statement"
    assert found["scope"].kind == "noun phrase"
    texts = [found["scope"].text(number) for number in range(len(found["scope"].passages))]
    assert texts == [
        "The training of nurses.",
        "The training of nurses in rural hospitals.",
        "Nurses in rural hospitals.",
    ]
    rows = found["scope"].features(["Nurses in rural hospitals."], [0.0, 0.9, 0.1])
    assert np.isfinite(rows).all()
    recall = rows[:, FEATURES.index("passage: recall of the draft")].tolist()
    assert recall == pytest.approx([0.25, 1.0, 1.0])


def test_a_novelty_has_statements_and_what_is_presented_as_new() -> None:
    text = "We study the training of nurses. They say that we design the first roster of wards."
    found = candidates_of(["claim", "novelty"], numbered(text, 300), 300)
    texts = {
        move: [one.text(number) for number in range(len(one.passages))]
        for move, one in found.items()
    }
    assert texts["novelty"] == [*texts["claim"], "The first roster of wards."]
    rows = found["novelty"].features(["The first roster of wards."], [0.0, 0.5, 0.5])
    assert rows[:, FEATURES.index("passage: is a noun phrase")].tolist() == [
        *[0.0] * len(texts["claim"]),
        1.0,
    ]
    assert rows[-1, FEATURES.index("passage: F1 with the draft")] == pytest.approx(1.0)
    assert found["novelty"].place.tolist()[-1] == 1
    assert found["novelty"].kind == "statement"


def test_the_best_sentence_has_the_probability_of_its_passages() -> None:
    found = statements_of(numbered(TEXT), 300)
    assert found.place.tolist() == [0, 1, 1, 1, 1]
    likely = np.array([0.4, 0.3, 0.1, 0.1, 0.1])
    assert found.of_best_sentence(likely) == pytest.approx(0.6)


def test_an_abstract_without_noun_phrases_has_statements_for_each_move() -> None:
    sentences = numbered("It halts.")
    assert not noun_phrases_of(sentences, 300).passages
    assert candidates_of(["scope"], sentences, 300)["scope"].text(0) == "It halts."
