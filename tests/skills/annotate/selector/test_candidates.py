"""The candidates of an abstract."""

from __future__ import annotations

import numpy as np
import pytest

from skills.annotate.selector.candidates import (
    SHAPE,
    candidates_of,
    noun_phrases_of,
    statements_of,
)
from skills.nanda.quoting.numbered import numbered

TEXT = (
    "Agents wait for every approval. We show that our planner halts on 412 tasks, and it is fast."
)


def test_each_passage_has_its_sentence_and_shape() -> None:
    found = statements_of(numbered(TEXT), 300)
    assert {*found.place.tolist()} == {0, 1}
    assert found.shape.shape == (len(found.passages), len(SHAPE))
    begins = found.shape[:, SHAPE.index("passage: begins the sentence")]
    assert found.text(int(np.flatnonzero(begins)[0])) == TEXT.partition(" We")[0]


@pytest.mark.parametrize(
    "text", [TEXT, "Für Bäume: 我们提出一种新的方法 halts. Bees, and wasps, sting."]
)
def test_the_bounds_of_a_passage_are_its_place_in_the_text_without_blanks(text: str) -> None:
    sentences = numbered(text)
    visible = "".join(text.split()).encode()
    for found in candidates_of(["claim", "scope", "novelty"], sentences, 300).values():
        for number, (start, end) in enumerate(found.bounds):
            passage, sentence = found.passages[number], found.sentences[number]
            quoted = sentence.quoted(passage)
            assert visible[start:end].decode() == "".join(quoted.split())


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


def test_a_novelty_has_statements_and_what_is_presented_as_new() -> None:
    text = "We study the training of nurses. They say that we design the first roster of wards."
    found = candidates_of(["claim", "novelty"], numbered(text, 300), 300)
    texts = {
        move: [one.text(number) for number in range(len(one.passages))]
        for move, one in found.items()
    }
    assert texts["novelty"] == [*texts["claim"], "The first roster of wards."]
    is_noun_phrase = found["novelty"].shape[:, SHAPE.index("passage: is a noun phrase")]
    assert is_noun_phrase.tolist() == [*[0.0] * len(texts["claim"]), 1.0]
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
