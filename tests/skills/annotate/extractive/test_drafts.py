"""The drafts of a paper: one answer and samples."""

from __future__ import annotations

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


def sampled(model: FakeModel) -> Drafts:
    """Return the drafts after samples are added."""
    form = TaggedForm(nanda())

    def work(served):  # type: ignore[no-untyped-def]
        request = form.request(Paper("id", "1", "", ABSTRACT), served)
        drafts = Drafts(
            form, served, request, [{**dict.fromkeys(nanda().names, "Not stated."), **MOVES}]
        )
        drafts.sample(ABSTRACT)
        return drafts

    return fake_models(model, "annotate", form="tagged").run("annotate", work)  # type: ignore[no-any-return]


def test_samples_have_seeds_of_their_own() -> None:
    model = DraftingModel(MOVES)
    found = sampled(model)
    assert len(found.answers) == 1 + SAMPLES
    assert len({request.seed for request in model.requests}) == SAMPLES
    assert {request.temperature for request in model.requests} == {TEMPERATURE}
    assert [one["claim"] for one in found.answers] == ["Our planner halts."] * (1 + SAMPLES)


def test_samples_that_are_invalid_or_loop_are_left_out() -> None:
    model = FakeModel("Claim only", LoopingReply("the model repeats itself"), TEXT)
    found = sampled(model)
    assert len(found.answers) == 1 + SAMPLES - 2
