"""Annotations of the form `anchored`, with the embedded model.

The base is not tuned to quote: its choices mean nothing, but what it writes must be passages.
"""

import re

import pytest
from repository import ROOT, SUPPORT

from harness.errors import InvalidReply, ModelUnavailable, UsageError
from harness.testing import FakeModel, run_skill
from skills.annotate.anchored import mixture
from skills.annotate.plugin import Annotate

EXAMPLE = (ROOT / "examples" / "abstract.txt").read_text(encoding="utf-8").partition("\n\n")[2]
TWELVE = " ".join(f"Planner number {n} waits for the approval of step {n}." for n in range(1, 13))
TWO = "Agents wait for approval. Our planner halts on 412 tasks."
TWO_MOVES = {"framework": SUPPORT / "two_moves.yaml"}


def annotated(text, model, **options):
    return run_skill(
        Annotate(), text, model=model, form="anchored", source="stdin", options=options
    ).data


def plain(text):
    return re.sub(r"\W+", " ", text).casefold().strip()


@pytest.mark.model
@pytest.mark.parametrize(
    ("text", "effort"),
    [(TWELVE, "fast"), (TWO, "best")],
    ids=["twelve sentences", "best"],
)
def test_every_stated_move_is_made_of_passages(embedded, text, effort, monkeypatch):
    # States every move, whatever the untuned model holds probable.
    monkeypatch.setattr(mixture, "EVEN", mixture.Mixture(0.5, threshold=1.1))
    record = annotated(text, embedded, effort=effort, **TWO_MOVES)
    for name in ("aim", "result"):
        anchor = record["anchors"][name]
        quoted = [text[start:end] for start, end in anchor["spans"]]
        assert plain(record[name]) == plain(" ".join(quoted))
        assert anchor["by"] == "model"
        assert 0 < record["confidence"][name] <= 1
    assert record["provenance"]["attempts"] == 1
    tokens = record["provenance"]["tokens"]
    assert tokens["cached"] > 0.7 * tokens["prompt"]  # of four steps, the first one evaluates it


def test_a_server_without_grammars_cannot_choose_among_candidates():
    model = FakeModel(ANSWER)
    with pytest.raises(UsageError, match="needs an engine that takes grammars"):
        annotated(EXAMPLE, model, effort="best")
    assert model.requests == []


def test_a_model_that_quotes_has_no_words_of_its_own():
    with pytest.raises(ModelUnavailable, match="it only quotes"):
        annotated(EXAMPLE, FakeModel(ANSWER), wording="abstractive")
    record = annotated(EXAMPLE, FakeModel(ANSWER), wording="extractive")
    assert record["provenance"]["decoding"] is None, "its own passages are not replaced"


ANSWER = """<annotation>
Claim [2]: DryRun is a planning layer that lets an agent rehearse every command
Evidence: Not stated.
Method: Not stated.
Scope: Not stated.
Limitation [7]: The approach does not cover commands that act over the network,
Comparison: Not stated.
Implication: Not stated.
Novelty: Not stated.
</annotation>"""


def test_a_server_without_grammars_writes_the_whole_answer():
    model = FakeModel(ANSWER)
    record = annotated(EXAMPLE, model)
    assert len(model.requests) == 1
    assert record["claim"] == "DryRun, a planning layer that lets an agent rehearse each command."
    assert record["limitation"] == "The approach does not cover commands that act over the network."
    assert record["anchors"]["limitation"]["sentences"] == [7]
    assert "confidence" not in record


WRONG = ANSWER.replace("[2]", "[22]")


def test_an_unusable_answer_is_repaired_once():
    with pytest.raises(InvalidReply, match="names a sentence that is missing"):
        annotated(EXAMPLE, FakeModel(WRONG, WRONG))
    assert annotated(EXAMPLE, FakeModel(WRONG, ANSWER))["provenance"]["attempts"] == 2
