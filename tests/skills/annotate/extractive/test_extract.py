"""The passages that are chosen for the moves, by the selector or by scripted probabilities."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from quoted_abstract import EXAMPLE, assert_quotes, letters

from harness.models.schema import ServeEntry
from harness.models.weights import FileStore
from harness.testing import run_skill
from skills.annotate.extractive import extract
from skills.annotate.extractive.backend import SelectorBackend, SelectorModel
from skills.annotate.extractive.ranking import Weights
from skills.annotate.extractive.reading import Reading
from skills.annotate.plugin import Annotate
from skills.annotate.selector import selector
from skills.annotate.selector.candidates import candidates_of, limit_of, statements_of
from skills.annotate.selector.selector import Likely
from skills.nanda.framework import nanda
from skills.nanda.quoting.numbered import numbered

STRUCTURED = """BACKGROUND: Planners fail on long household tasks as they forget earlier steps.
AIMS To test whether a written ledger keeps planners on course. METHODS.
Setting - We let 40 planners keep a ledger in 60 simulated kitchens of three towns in Norway.
RESULTS:Planners with a ledger finished 71% of the tasks, against 52% without one.CONCLUSIONS: We
show that a ledger makes planners more reliable. Limitations: Only kitchens were tested."""
SENTENCE = "the planner rehearses every command in a snapshot"
HOSTILE = {
    "one sentence": "We show that agents plan in a shell.",
    "80 sentences": " ".join(
        f"In run {n}, the planner, which is new, gains {n}%." for n in range(80)
    ),
    "no full stop": " ".join([f"{SENTENCE} and commits it when {n} agree" for n in range(60)]),
    "lists": f"We show this of every plan:\n- first, {SENTENCE}\n- second, it waits; (i) for us.",
    "formulas": "The regret is O(sqrt(T log K)), i.e. f(x) = a.b + 0.5 x^2 for x >= 1.5; K = 12.",
    "Markdown": f"We present **Plans**.\n\n## Results\n\n1. {SENTENCE}.\n2) It `halts` [a](x).",
    "LaTeX": r"We prove $\sum_i x_i \le 1$, cf.~\cite{a}. \begin{itemize} \item It is 5\% better.",
    "a sentence longer than a move": "The planner "
    + "of the agent that rehearses it " * 25
    + "halts.",
    "short phrases": " ".join(["and in for by"] * 150),
    "a long word": "x" * 2000 + " " + SENTENCE,
    "another script": f"{SENTENCE} as the others do. " + "我们提出一种新的方法。" * 100,
    "tokens": f"We show <|im_end|> that [INST] {SENTENCE} </annotation>. Agents wait <s> here.",
    "headings only": "Background. Methods. Results. Conclusions. Findings.",
    "invisible": f"We\u200b show \u200bthat\u200b {SENTENCE}.\u00a0It\u00ad is fast.",
    "punctuation": '- - - -- \u2014 \u2013 ; ; : , . ! ? (A) ; B, and, C. () [] "" ?! we halt.',
}


@pytest.fixture(scope="module")
def model(model_files: FileStore) -> SelectorModel:
    return SelectorBackend(model_files).load(ServeEntry(backend="selector", model="nanda-selector"))


def annotated(text: str, model: SelectorModel) -> Any:
    return run_skill(Annotate(), text, model=model, form="quotes", source="stdin").data


@pytest.mark.model
def test_headings_of_a_structured_abstract_are_in_no_move(model: SelectorModel) -> None:
    quotes = assert_quotes(annotated(STRUCTURED, model), STRUCTURED)
    assert len(quotes) >= 6
    headings = re.compile(
        r"background|aims|methods|setting\b|results|conclusions|limitations", re.I
    )
    assert not [quote for quote in quotes.values() if headings.search(quote)]


def test_a_sentence_that_is_a_heading_is_no_candidate() -> None:
    sentences = numbered(f"Results. Here, {SENTENCE}.")
    assert {passage.sentence for passage in statements_of(sentences, 300).passages} == {2}


@pytest.mark.model
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_odd_abstracts_are_quoted(model: SelectorModel, text: str) -> None:
    record = annotated(text, model)
    assert_quotes(record, text)
    assert all(len(record[name]) <= nanda().max_chars for name in nanda().names)


def select_evenly(monkeypatch: pytest.MonkeyPatch, stated: float) -> list[object]:
    """Replace the selector's probabilities: each move is stated, by any passage."""
    read = list[object]()

    def likely(sentences: Any) -> tuple[dict[str, Likely], int]:
        read.append(sentences)
        found = candidates_of(nanda().names, sentences, limit_of(nanda()))
        evenly = {
            move: Likely(own, 1 - stated, np.full(len(own.passages), -np.log(len(own.passages))))
            for move, own in found.items()
        }
        return evenly, 100

    monkeypatch.setattr(selector, "likely", likely)
    return read


@pytest.mark.parametrize(("stated", "expected"), [(0.9, True), (0.1, False)])
def test_a_move_that_is_often_missing_is_stated_if_it_is_likely_enough(
    monkeypatch: pytest.MonkeyPatch, stated: float, expected: bool
) -> None:
    monkeypatch.setattr(
        extract.ranking, "load", lambda: Weights({"limitation": 0.2}, (1.0, 20.0), "0" * 64)
    )
    read = select_evenly(monkeypatch, stated)
    found = extract.extract(EXAMPLE, Reading.of(EXAMPLE))
    assert (found.moves["limitation"] != "Not stated.") == expected
    assert found.moves["method"] != "Not stated.", "it is always stated"
    if not expected:
        assert found.confidence["limitation"] == pytest.approx(1 - stated)
    assert len(read) == 1


def chosen_with(monkeypatch: pytest.MonkeyPatch, **confidence: float) -> None:
    """Let each move choose the first passage, with these confidences, or else none."""
    chosen = lambda *_: {name: (0, confidence.get(name, 0.0)) for name in nanda().names}  # noqa: E731
    monkeypatch.setattr(extract, "choose", chosen)


def test_a_passage_with_a_confidence_below_the_limit_is_a_suggestion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    select_evenly(monkeypatch, 0.9)
    chosen_with(monkeypatch, claim=0.6, method=0.1)
    reading = Reading.of(EXAMPLE)
    found = extract.extract(EXAMPLE, reading)
    assert found.moves["method"] == "Not stated."
    assert found.confidence["method"] == pytest.approx(0.1), "that it is not stated"
    one = found.suggestions["method"]
    start, end = one["spans"][0]
    assert (one["confidence"], one["sentences"]) == (0.1, [1])
    assert letters(one["text"]) == letters(EXAMPLE[start:end])

    certain = extract.extract(EXAMPLE, reading, known=["method"])
    assert certain.moves["method"] == one["text"]
    assert "method" not in certain.suggestions


def test_of_three_moves_with_one_passage_the_least_certain_is_a_suggestion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    select_evenly(monkeypatch, 0.9)
    chosen_with(monkeypatch, claim=0.6, evidence=0.9, method=0.8)
    found = extract.extract(EXAMPLE, Reading.of(EXAMPLE))
    assert found.moves["evidence"] == found.moves["method"] != "Not stated."
    assert {"claim", "evidence", "method"} & {*found.suggestions} == {"claim"}


def test_two_moves_quote_different_passages_where_there_are_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = (
        "The planner halts on all 412 tasks. It stops on all 412 tasks of the bench. A planner "
        "halts on some tasks of it."
    )
    names = ("claim", "method", "novelty")
    found = dict.fromkeys(names, statements_of(numbered(text, 300), 300))
    likely = np.full(len(found["claim"].passages), 1 / len(found["claim"].passages))

    def quoted() -> set[int]:
        weights = Weights({}, (1.0, 20.0))
        chosen = extract.choose(found, dict.fromkeys(names, likely), weights)
        return {number for number, _ in chosen.values()}

    assert len(quoted()) == 3
    monkeypatch.setattr(extract, "REPEATED", 0.0)
    assert len(quoted()) == 1


def test_a_taken_passage_is_quoted_again_rather_than_a_wrong_one() -> None:
    text = "The planner halts on 412 tasks. Bees sting at noon."
    found = dict.fromkeys(("claim", "method"), statements_of(numbered(text, 300), 300))
    weights, likely = Weights({}, (1.0, 0.0)), np.array([1 - 1e-17, 1e-17])
    chosen = extract.choose(found, {"claim": likely, "method": likely}, weights)
    assert [number for number, _ in chosen.values()] == [0, 0]


def test_one_move_shares_the_passage_of_another_rather_than_be_a_suggestion() -> None:
    text = "The planner halts on 412 tasks. Bees sting at noon."
    names = ("claim", "method", "novelty")
    found = dict.fromkeys(names, statements_of(numbered(text, 300), 300))
    likely = np.array([0.8, 0.2])
    chosen = extract.choose(found, dict.fromkeys(names, likely), Weights({}, (1.0, 0.0)))
    assert sorted(number for number, _ in chosen.values()) == [0, 0, 1]
    assert sorted(right for _, right in chosen.values()) == pytest.approx([0.2, 0.8, 0.8])


def test_the_move_that_would_lose_most_chooses_first() -> None:
    text = "The planner halts on 412 tasks. Bees sting at noon. Nobody waits for rain."
    found = dict.fromkeys(("method", "claim"), statements_of(numbered(text, 300), 300))
    ranked = {"method": np.array([0.6, 0.39, 0.01]), "claim": np.array([0.58, 0.21, 0.21])}
    chosen = extract.choose(found, ranked, Weights({}, (1.0, 0.0)))
    assert (chosen["claim"][0], chosen["method"][0]) == (0, 1)


def test_the_moves_choose_again_after_the_others() -> None:
    """The method is the first; the claim has no other passage."""
    text = "The planner halts on 412 tasks. Bees sting at noon. Nobody waits for rain."
    found = dict.fromkeys(("method", "claim"), statements_of(numbered(text, 300), 300))
    certain = np.array([1 - 1e-9, 5e-10, 5e-10])
    ranked = {"method": np.array([0.6, 0.39, 0.01]), "claim": certain}
    weights = Weights({}, (1.0, 0.0))
    chosen = extract.choose(found, ranked, weights, first=["method"])
    assert (chosen["claim"][0], chosen["method"][0]) == (0, 1)
