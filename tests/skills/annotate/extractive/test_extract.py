"""Annotations in the extractive wording: drafts replaced by passages of the abstract."""

import json
import re

import numpy as np
import pytest
from drafting_model import (
    DRAFTS,
    EXAMPLE,
    DraftingModel,
    annotated,
    assert_quotes,
    letters,
    use_weights,
)
from repository import ROOT, SUPPORT

from harness.models.backends.llamacpp import LlamaCppBackend
from harness.models.schema import ServeEntry
from harness.testing import FakeModel, run_skill
from skills.annotate.extractive import extract
from skills.annotate.extractive.backend import SelectorBackend
from skills.annotate.extractive.ranking import Weights
from skills.annotate.extractive.reading import Reading
from skills.annotate.plugin import Annotate
from skills.annotate.selector import selector
from skills.annotate.selector.candidates import candidates_of, limit_of, statements_of
from skills.annotate.selector.selector import Likely
from skills.nanda.framework import load, nanda
from skills.nanda.quoting.numbered import numbered

TWO_MOVES = SUPPORT / "two_moves.yaml"
ECONOMICS = (
    "Whether minimum wages reduce employment is debated. We study 412 counties along state "
    "borders from 1990 to 2019. Compared with their neighbours, counties that raise it by 10% lose "
    "no jobs in restaurants (0.2%, s.e. 0.4), although hours fall by 1.3%. The estimates exclude "
    "counties without a border. They suggest that moderate minimum wages raise incomes."
)
MEDICINE = (
    "BACKGROUND: Delirium is common after hip surgery. METHODS: In a randomised trial, 240 people "
    "older than 70 received either melatonin or placebo for five nights. RESULTS: It occurred "
    "in 17.5% and 28.3% of patients (p = 0.04). CONCLUSIONS: Melatonin may prevent delirium; a "
    "larger trial is needed, since one hospital took part."
)
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
def annotator(model_files):
    """nanda-annotator as it ships."""
    entry = ServeEntry(
        backend="llamacpp", gguf="smollm2-135m-instruct", adapter="nanda-annotator-lora", merge=True
    )
    model = LlamaCppBackend(model_files).load(entry)
    yield model
    model.close()


@pytest.mark.model
@pytest.mark.parametrize("text", [EXAMPLE, ECONOMICS, MEDICINE], ids=["shell", "wages", "trial"])
def test_the_moves_of_the_shipped_model_are_the_abstracts_own_words(annotator, text):
    record = annotated(text, annotator)
    assert len(assert_quotes(record, text)) >= 3
    made = record["provenance"]
    assert made["attempts"] == 1
    assert {*made["drafts"]} <= {*nanda().names}
    assert not record["checks"]["unsupported_numbers"]


@pytest.mark.model
@pytest.mark.parametrize("drafting", [True, False], ids=["nanda-annotator", "nanda-selector"])
def test_headings_of_a_structured_abstract_are_in_no_move(annotator, model_files, drafting):
    model, form = annotator, "tagged"
    if not drafting:
        entry = ServeEntry(backend="selector", model="nanda-selector")
        model, form = SelectorBackend(model_files).load(entry), "quotes"
    given = {"source": "stdin", "options": {"wording": "extractive"}}
    record = run_skill(Annotate(), STRUCTURED, model=model, form=form, **given).data
    quotes = assert_quotes(record, STRUCTURED)
    assert len(quotes) >= 6
    headings = re.compile(
        r"background|aims|methods|setting\b|results|conclusions|limitations", re.I
    )
    assert not [quote for quote in quotes.values() if headings.search(quote)]


def test_a_sentence_that_is_a_heading_is_no_candidate():
    sentences = numbered(f"Results. Here, {SENTENCE}.")
    assert {passage.sentence for passage in statements_of(sentences, 300).passages} == {2}


@pytest.mark.model
def test_the_limitation_that_the_example_states_is_found(annotator):
    record = annotated(EXAMPLE, annotator)
    assert record["limitation"].startswith("The approach does not cover commands")
    assert record["anchors"]["limitation"]["sentences"] == [7]


@pytest.mark.model
def test_the_abstractive_wording_is_that_of_the_model(annotator):
    record = annotated(EXAMPLE, annotator, wording="abstractive")
    drafts = annotated(EXAMPLE, annotator)["provenance"]["drafts"]
    assert nanda().stated({name: record[name] for name in nanda().names}) == drafts
    assert "confidence" not in record
    assert record["provenance"]["decoding"] is None
    assert "drafts" not in record["provenance"]


@pytest.mark.parametrize("drafts", [DRAFTS, {}], ids=["drafts", "nothing drafted"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_odd_abstracts_are_quoted(text, drafts):
    record = annotated(text, DraftingModel(drafts))
    assert_quotes(record, text)
    assert all(len(record[name]) <= nanda().max_chars for name in nanda().names)


def test_a_framework_without_a_selector_follows_the_drafts(tmp_path):
    framework = load(TWO_MOVES)
    drafts = {"aim": "Our planner halts on 412 tasks."}
    model = DraftingModel(drafts, framework=framework)
    text = "Agents wait for every approval. Our planner halts on 412 tasks. Nobody is asked."
    record = annotated(text, model, framework=TWO_MOVES)
    assert assert_quotes(record, text, ("aim", "result")) == drafts
    assert record["provenance"]["decoding"]["selector"] is None


def test_moves_of_another_definition_are_not_decided_by_the_selector(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text((ROOT / "skills/nanda/nanda.yaml").read_text().replace("paper", "text"))
    record = annotated(EXAMPLE, DraftingModel(DRAFTS), framework=own)
    assert {*assert_quotes(record, EXAMPLE)} == {*DRAFTS}


def select_evenly(monkeypatch, stated):
    """Replace the selector's probabilities: each move is stated, by any passage."""
    read = []

    def likely(sentences):
        read.append(sentences)
        found = candidates_of(nanda().names, sentences, limit_of(nanda()))
        evenly = {
            move: Likely(own, 1 - stated, np.full(len(own.passages), -np.log(len(own.passages))))
            for move, own in found.items()
        }
        return evenly, 100

    monkeypatch.setattr(selector, "likely", likely)
    return read


@pytest.mark.parametrize("drafts", [DRAFTS, {"claim": DRAFTS["claim"]}], ids=["drafted", "not"])
@pytest.mark.parametrize(("stated", "expected"), [(0.9, True), (0.1, False)])
def test_the_selector_decides_whether_a_move_is_stated(monkeypatch, drafts, stated, expected):
    use_weights(monkeypatch, ["limitation"])
    select_evenly(monkeypatch, stated)
    record = annotated(EXAMPLE, DraftingModel(drafts))
    assert (record["limitation"] != "Not stated.") == expected
    assert (record["method"] != "Not stated.") == ("method" in drafts), "the draft decides"
    if not expected:
        assert record["confidence"]["limitation"] == pytest.approx(1 - stated)


@pytest.mark.parametrize(
    ("draft", "expected"),
    [("The first agent planner that grounds approval in effects.", True), ("Not stated.", False)],
)
def test_a_move_whose_sentence_is_too_uncertain_is_not_stated(monkeypatch, draft, expected):
    use_weights(monkeypatch, ["novelty"])
    select_evenly(monkeypatch, 0.3)
    record = annotated(EXAMPLE, DraftingModel({**DRAFTS, "novelty": draft}))
    assert (record["novelty"] != "Not stated.") == expected, "the draft tells the sentences apart"


def chosen_with(monkeypatch, **confidence):
    """Let each move choose the first passage, with these confidences, or else none."""
    chosen = lambda *_: {name: (0, confidence.get(name, 0.0)) for name in nanda().names}  # noqa: E731
    monkeypatch.setattr(extract, "choose", chosen)


def test_a_passage_with_a_confidence_below_the_limit_is_a_suggestion(monkeypatch):
    select_evenly(monkeypatch, 0.9)
    chosen_with(monkeypatch, claim=0.6, method=0.1)
    reading = Reading.of(EXAMPLE, nanda())
    found = extract.extract(EXAMPLE, nanda(), reading)
    assert found.moves["method"] == "Not stated."
    assert found.confidence["method"] == pytest.approx(0.1), "that it is not stated"
    one = found.suggestions["method"]
    start, end = one["spans"][0]
    assert (one["confidence"], one["sentences"]) == (0.1, [1])
    assert letters(one["text"]) == letters(EXAMPLE[start:end])

    certain = extract.extract(EXAMPLE, nanda(), reading, known=["method"])
    assert certain.moves["method"] == one["text"]
    assert "method" not in certain.suggestions


def test_of_three_moves_with_one_passage_the_least_certain_is_a_suggestion(monkeypatch):
    select_evenly(monkeypatch, 0.9)
    chosen_with(monkeypatch, claim=0.6, evidence=0.9, method=0.8)
    found = extract.extract(EXAMPLE, nanda(), Reading.of(EXAMPLE, nanda()))
    assert found.moves["evidence"] == found.moves["method"] != "Not stated."
    assert {"claim", "evidence", "method"} & {*found.suggestions} == {"claim"}


def test_the_selector_reads_an_abstract_once(monkeypatch):
    read = select_evenly(monkeypatch, 0.8)
    annotated(EXAMPLE, DraftingModel(DRAFTS))
    assert len(read) == 1


def test_a_novelty_may_be_the_noun_phrase_that_is_presented():
    draft = {"novelty": "A snapshot shell that rehearses commands for agents"}
    text = "In towns of all sizes, shells were studied, and here we propose a snapshot shell that "
    text += "rehearses commands for agents."
    record = annotated(text, DraftingModel({**DRAFTS, **draft}))
    assert record["novelty"] == "A snapshot shell that rehearses commands for agents."


def test_the_most_similar_passage_replaces_a_draft(monkeypatch):
    use_weights(monkeypatch)
    record = annotated(EXAMPLE, DraftingModel(DRAFTS))
    assert record["limitation"].startswith("The approach does not cover commands that act over")
    assert record["anchors"]["limitation"]["sentences"] == [7]
    assert record["anchors"]["evidence"]["sentences"] == [4]


def test_two_moves_quote_different_passages_where_there_are_others(monkeypatch):
    same = dict.fromkeys(("claim", "method", "novelty"), "The planner halts on all 412 tasks.")
    text = (
        "The planner halts on all 412 tasks. It stops on all 412 tasks of the bench. A planner "
        "halts on some tasks of it."
    )

    def quoted():
        use_weights(monkeypatch, **{"passage: F1 with the draft": 3.0})
        stated = assert_quotes(annotated(text, DraftingModel(same)), text)
        return {*stated.values()}

    assert len(quoted()) == 3
    monkeypatch.setattr(extract, "REPEATED", 0.0)
    monkeypatch.setattr(extract, "VERSION", 0)  # another content key
    assert len(quoted()) == 1


def test_a_taken_passage_is_quoted_again_rather_than_a_wrong_one():
    text = "The planner halts on 412 tasks. Bees sting at noon."
    found = dict.fromkeys(("claim", "method"), statements_of(numbered(text, 300), 300))
    weights, likely = Weights({}, {}, (1.0, 0.0)), np.array([1 - 1e-17, 1e-17])
    chosen = extract.choose(found, {"claim": likely, "method": likely}, weights)
    assert [number for number, _ in chosen.values()] == [0, 0]


def test_one_move_shares_the_passage_of_another_rather_than_be_a_suggestion():
    text = "The planner halts on 412 tasks. Bees sting at noon."
    names = ("claim", "method", "novelty")
    found = dict.fromkeys(names, statements_of(numbered(text, 300), 300))
    likely = np.array([0.8, 0.2])
    chosen = extract.choose(found, dict.fromkeys(names, likely), Weights({}, {}, (1.0, 0.0)))
    assert sorted(number for number, _ in chosen.values()) == [0, 0, 1]
    assert sorted(right for _, right in chosen.values()) == pytest.approx([0.2, 0.8, 0.8])


def test_the_move_that_would_lose_most_chooses_first():
    text = "The planner halts on 412 tasks. Bees sting at noon. Nobody waits for rain."
    found = dict.fromkeys(("method", "claim"), statements_of(numbered(text, 300), 300))
    ranked = {"method": np.array([0.6, 0.39, 0.01]), "claim": np.array([0.58, 0.21, 0.21])}
    chosen = extract.choose(found, ranked, Weights({}, {}, (1.0, 0.0)))
    assert (chosen["claim"][0], chosen["method"][0]) == (0, 1)


def test_the_moves_choose_again_after_the_others():
    """The method is the first; the claim has no other passage."""
    text = "The planner halts on 412 tasks. Bees sting at noon. Nobody waits for rain."
    found = dict.fromkeys(("method", "claim"), statements_of(numbered(text, 300), 300))
    certain = np.array([1 - 1e-9, 5e-10, 5e-10])
    ranked = {"method": np.array([0.6, 0.39, 0.01]), "claim": certain}
    weights = Weights({}, {}, (1.0, 0.0))
    chosen = extract.choose(found, ranked, weights, first=["method"])
    assert (chosen["claim"][0], chosen["method"][0]) == (0, 1)


def test_an_answer_that_was_repaired_is_replaced_too():
    record = annotated(EXAMPLE, DraftingModel("Claim only", DRAFTS))
    assert record["provenance"]["attempts"] == 2
    assert_quotes(record, EXAMPLE)


def test_a_model_with_json_answers_is_quoted_as_well():
    reply = json.dumps({**dict.fromkeys(nanda().names, "Not stated."), **DRAFTS})
    options = {"wording": "extractive"}
    model = FakeModel(reply)
    record = run_skill(Annotate(), EXAMPLE, model=model, source="stdin", options=options).data
    assert {*assert_quotes(record, EXAMPLE)} >= {"method", "scope"}
    assert len(model.requests) == 1
