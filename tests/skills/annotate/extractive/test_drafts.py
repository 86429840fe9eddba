"""The drafts of a paper: one answer, decisions about moves, and samples."""

from __future__ import annotations

import pytest
from drafting_model import DraftingModel, completion

from harness.errors import LoopingReply
from harness.testing import FakeModel, fake_models
from skills.annotate.extractive.drafts import SAMPLES, TEMPERATURE, Drafts
from skills.nanda.forms.tagged import TaggedForm
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

ABSTRACT = "Agents wait for every approval. Our planner halts on 412 tasks."
MOVES = {"claim": "Our planner halts.", "method": "Planning."}
TEXT = completion(MOVES)


def drafted(model: FakeModel, *steps: str, moves: tuple[str, ...] = ("limitation",)) -> Drafts:
    """Return the drafts after `steps`, "decide" or "sample"."""
    form = TaggedForm(nanda())

    def work(served):  # type: ignore[no-untyped-def]
        request = form.request(Paper("id", "1", "", ABSTRACT), served)
        drafts = Drafts(
            form, served, request, [{**dict.fromkeys(nanda().names, "Not stated."), **MOVES}]
        )
        for step in steps:
            drafts.decide(TEXT, moves) if step == "decide" else drafts.sample(ABSTRACT)
        return drafts

    return fake_models(model, "annotate", form="tagged").run("annotate", work)  # type: ignore[no-any-return]


def test_a_decision_is_one_token_after_the_moves_before_it() -> None:
    model = DraftingModel(MOVES, stated={"Limitation": 0.3, "Claim": 0.9})
    found = drafted(model, "decide", moves=("limitation", "claim"))
    assert found.stated == pytest.approx({"claim": 0.9, "limitation": 0.3})
    assert model.decided == ["Claim", "Limitation"]
    request = model.requests[-1]
    assert request.prefill == TEXT[: TEXT.index("Limitation:")] + "Limitation:"
    assert (request.max_tokens, request.grammar, request.stop) == (1, None, ())


def test_the_tokens_that_begin_not_stated_count_together() -> None:
    class Parts(DraftingModel):
        def _answer(self, request):  # type: ignore[no-untyped-def]
            reply = super()._answer(request)
            return type(reply)(
                " N", "length", 1, 1, 0.0, logprobs=({" N": -1.6094, " Not": -1.6094, "Not": -1.0},)
            )

    assert drafted(Parts(MOVES), "decide").stated["limitation"] == pytest.approx(0.6, abs=0.001)


def test_an_engine_without_probabilities_decides_nothing() -> None:
    found = drafted(DraftingModel(MOVES, stated=None), "decide")
    assert found.stated == {}


def test_a_server_that_does_not_continue_answers_is_not_asked() -> None:
    model = DraftingModel(MOVES, stated={"Limitation": 0.3})
    model.continues_prefill = False  # type: ignore[attr-defined]
    assert drafted(model, "decide").stated == {}
    assert model.requests == []


def test_samples_have_seeds_of_their_own() -> None:
    model = DraftingModel(MOVES)
    found = drafted(model, "sample")
    assert len(found.answers) == 1 + SAMPLES
    assert len({request.seed for request in model.requests}) == SAMPLES
    assert {request.temperature for request in model.requests} == {TEMPERATURE}
    assert found.of("claim") == ["Our planner halts."] * (1 + SAMPLES)
    assert found.of("novelty") == []


def test_samples_that_are_invalid_or_loop_are_left_out() -> None:
    model = FakeModel("Claim only", LoopingReply("the model repeats itself"), TEXT)
    found = drafted(model, "sample")
    assert len(found.answers) == 1 + SAMPLES - 2
