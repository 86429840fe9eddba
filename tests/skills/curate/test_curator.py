"""Votes from token probabilities, and the choice of how a judge votes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from curate_workspace import CHOSEN, NAMES, PANEL, PREFILLS, Judge, alternatives, item, panel_of
from protocol_server import ProtocolServer

from harness.errors import GenerationFailed, InputError, InvalidReply, ModelUnavailable
from harness.models.backend import Model, Reply, Request
from harness.models.backends.ollama import OllamaBackend
from harness.models.pool import ModelPool, Models
from harness.models.registry import ModelEntry, Registry, ServeEntry
from harness.models.served import ServedModel
from harness.testing import FakeModel, fake_models
from skills.corpus.db.connection import open_corpus
from skills.curate import ballots, curator, panel
from skills.curate.ballots import key_of
from skills.curate.curator import Vote
from skills.curate.items import Item
from skills.curate.outputs import VoteForm
from skills.curate.panel import Panel, choose_form, form_sample
from skills.nanda.framework import nanda

LOGPROBS, JSON = VoteForm("logprobs", CHOSEN), VoteForm("json")


def served(model: FakeModel) -> ServedModel:
    found: list[ServedModel] = []
    fake_models(model, "judge").run("judge", found.append)
    return found[0]


def judge_of(model: FakeModel, form: VoteForm = LOGPROBS, panel: Panel = PANEL) -> curator.Judge:
    return curator.Judge(panel, served(model), nanda(), form)


def vote(told: dict[str, float]) -> Vote:
    """Return the vote of these probabilities."""
    logprobs = {token: math.log(p) for token, p in told.items()}
    model = FakeModel(Reply("x", "stop", 100, 1, 0.25, 60, (logprobs,)))
    return judge_of(model).votes(item(1))[0]


def json_vote(text: str) -> Vote:
    """Return the vote of this JSON answer."""
    return judge_of(FakeModel(text), JSON).votes(item(1))[0]


def form_of(model: FakeModel, *items: Item, panel: Panel = PANEL) -> VoteForm:
    return choose_form(panel, served(model), nanda(), items)


def test_a_score_is_the_weighted_mean_of_the_answers() -> None:
    assert vote({"4": 0.5, "5": 0.25, "1": 0.25}).score == pytest.approx(3.5)
    assert vote({"4": 0.4, "5": 0.2, "The": 0.4}).score == pytest.approx(4 + 1 / 3, abs=1e-6)
    assert vote({"2": 1.0}).score == 2.0


def test_a_vote_has_token_counts_and_all_probabilities() -> None:
    found = vote({"4": 0.5, "5": 0.25, "The": 0.25})
    assert found == Vote(
        "alpha", found.score, 0.75, {"1": 0, "2": 0, "3": 0, "4": 0.5, "5": 0.25}, 100, 60, 0.25
    )


def test_blanks_and_case_of_a_token_do_not_matter() -> None:
    found = vote({"4": 0.25, " 4": 0.25, "4\n": 0.25, "44": 0.25})
    assert (found.answers["4"], found.mass) == (0.75, 0.75)
    yes = panel_of(
        answers={"Yes": 5.0, "No": 1.0}, prefills=["The answer is"], system="Say Yes or No."
    )
    told = {" yes": math.log(0.5), "YES": math.log(0.25), "no": math.log(0.25)}
    model = FakeModel(Reply("x", "stop", 1, 1, 0.1, 0, (told,)))
    assert judge_of(model, panel=yes).votes(item(1))[0].score == pytest.approx(4.0)


@pytest.mark.parametrize(("mass", "is_valid"), [(0.49, False), (0.5, True)])
def test_a_vote_with_too_little_mass_is_invalid(mass: float, is_valid: bool) -> None:
    found = vote({"4": mass, "The": 1 - mass})
    assert found.mass == mass
    assert found.score == (4.0 if is_valid else None)


def test_an_end_at_once_is_an_invalid_vote() -> None:
    assert vote({"": 0.999, "3": 0.001}).score is None


def test_a_token_without_probabilities_is_an_invalid_vote() -> None:
    told = Reply("4", "stop", 1, 1, 0.1, 0, ({"4": math.log(0.9)},))
    votes = judge_of(FakeModel("4", told)).votes(item(1))
    assert [vote.score is None for vote in votes] == [True, False, False, False, False]


def test_a_judge_without_any_probability_has_failed() -> None:
    with pytest.raises(InvalidReply, match="returned no probability of an answer"):
        judge_of(FakeModel("4")).votes(item(1))


def test_personas_vote_in_order_in_one_slot_by_one_token() -> None:
    model = Judge()
    votes = judge_of(model).votes(item(1), 3)
    assert tuple(found.persona for found in votes) == NAMES
    for name, request in zip(NAMES, model.requests, strict=True):
        assert f"As {name}:" in request.messages[-1].content
        assert (request.slot, request.max_tokens, request.temperature) == (3, 1, 0.0)
        assert (request.prefill, request.top_logprobs) == (CHOSEN, panel.TOP)
        assert request.json_schema is None


def test_json_is_requested_under_a_schema() -> None:
    model = Judge()
    model.scores[1, "beta"] = 2.0
    votes = judge_of(model, JSON).votes(item(1))
    assert [found.score for found in votes] == [5, 2, 5, 5, 5]
    assert votes[1].mass is None
    assert votes[1].answers == {"1": 0, "2": 1, "3": 0, "4": 0, "5": 0}
    schema = model.requests[0].json_schema
    assert schema is not None
    assert schema["properties"]["answer"]["enum"] == ["1", "2", "3", "4", "5"]
    assert (model.requests[0].prefill, model.requests[0].top_logprobs) == ("", 0)


@pytest.mark.parametrize(
    "text",
    ['{"answer": "6"}', '{"answer": 4}', '{"answer": "4', "4", "[]", "null", "", "[" * 1999],
)
def test_other_json_is_an_invalid_vote(text: str) -> None:
    assert json_vote(text).score is None


def test_a_reason_is_one_line() -> None:
    model = Judge()
    model.reason = " It is\n not  so. "
    judge = judge_of(model)
    assert judge.explain(item(1), PANEL.personas[0]) == "It is not so."
    assert "what alpha looks at is right" in model.requests[0].messages[-1].content


def test_the_prefill_with_most_probable_answers_is_used() -> None:
    model = Judge()
    model.masses = {"": 0.25, "Rating:": 0.75, "Rating: ": 0.5}
    form = form_of(model, item(1), item(2))
    assert form == VoteForm("logprobs", "Rating:", 0.75, model.masses, 2)
    assert [request.prefill for request in model.requests] == [*PREFILLS, *PREFILLS]
    assert set(model.asked) == {(1, "alpha"), (2, "beta")}


def test_of_equal_prefills_the_first_is_used() -> None:
    assert form_of(Judge(), item(1)).prefill == PREFILLS[0]


def test_at_most_half_of_the_annotations_are_measured_and_few() -> None:
    items = [item(number) for number in range(30)]
    assert list(form_sample(items)) == items[: panel.FORM_ITEMS]
    assert [len(form_sample(items[:count])) for count in (0, 1, 2, 6, 7)] == [0, 1, 1, 3, 4]


def test_a_server_without_probabilities_votes_as_json() -> None:
    model = Judge()
    model.has_logprobs = False
    assert form_of(model, item(1), item(2)) == VoteForm("json")
    assert len(model.requests) == len(PREFILLS)


@pytest.mark.parametrize(
    ("kind", "prefills"),
    [("continued", {*PREFILLS}), ("repeated", {*PREFILLS}), ("ignored", {""})],
)
def test_a_judge_at_ollama_votes_however_it_treats_a_prefill(kind: str, prefills: set[str]) -> None:
    with ProtocolServer(Judge()) as server:
        server.prefill = kind
        served = ollama_judge(server)
        form = choose_form(PANEL, served, nanda(), [item(1)])
        assert set(form.measured) == prefills
        assert form.can_answer
        found = curator.Judge(PANEL, served, nanda(), form).votes(item(1))
        asked = [body["messages"] for body in server.bodies("/api/chat")[2:]]
    assert [vote.score for vote in found] == [5.0] * len(NAMES)
    begun = {messages[-1]["content"] for messages in asked if messages[-1]["role"] == "assistant"}
    assert begun == prefills - {""}


def test_an_ollama_judge_that_answers_in_prose_cannot_vote() -> None:
    judge = Judge()
    judge.masses[""] = 0.1
    with ProtocolServer(judge) as server:
        server.prefill = "ignored"
        form = choose_form(PANEL, ollama_judge(server), nanda(), [item(1)])
    assert not form.can_answer


def test_a_form_whose_prefill_is_ignored_is_measured_again(tmp_path: Path) -> None:
    with open_corpus(tmp_path / "corpus.db") as db, ProtocolServer(Judge()) as server:
        server.prefill = "ignored"
        served = ollama_judge(server)
        ballots.save_form(db, served, PANEL, LOGPROBS)
        assert ballots.load_form(db, served, PANEL) is None
        ballots.save_form(db, served, PANEL, VoteForm("logprobs", "", 0.9))
        assert ballots.load_form(db, served, PANEL) == VoteForm("logprobs", "", 0.9)


def ollama_judge(server: ProtocolServer) -> ServedModel:
    entry = ServeEntry(backend="ollama", model="smollm2", url=server.url)
    registry = Registry(models={"judge": ModelEntry(tasks=("judge",), serve=(entry,))})
    found: list[ServedModel] = []
    Models(ModelPool(registry, {"ollama": OllamaBackend()})).run("judge", found.append)
    return found[0]


def test_what_is_too_long_is_not_measured() -> None:
    model = Judge(context=300)
    long = item(1, method="A method groups these " + "very heavy " * 150)
    assert form_of(model, long, item(2)).mass == pytest.approx(0.95)
    assert model.numbers() == {2}
    nothing = form_of(Judge(context=300), long)
    assert (nothing.kind, nothing.prefill, nothing.mass) == ("logprobs", PREFILLS[0], None)


def fails(error: Exception, *, at: int = 1) -> Any:
    """Return a fault that raises from the `at`-th request on."""
    calls: list[int] = []

    def fault() -> None:
        calls.append(1)
        if len(calls) >= at:
            raise error

    return fault


@pytest.mark.parametrize("error", [GenerationFailed("500"), InvalidReply("no"), InputError("long")])
def test_a_failed_item_is_skipped_when_measuring(error: Exception) -> None:
    model = Judge()
    model.masses = {"": 0.9, "Rating:": 0.6, "Rating: ": 0.7}
    model.faults[1] = fails(error, at=2)
    model.scores[1, ""] = None  # the failed item must not lower the first mean
    form = form_of(model, item(1), item(2))
    assert (form.prefill, dict(form.measured)) == ("", model.masses)


def test_a_judge_that_fails_at_all_items_has_no_form() -> None:
    model = Judge()
    model.faults = dict.fromkeys((1, 2), fails(GenerationFailed("500")))
    with pytest.raises(GenerationFailed):
        form_of(model, item(1), item(2))
    assert model.numbers() == {1, 2}


def test_an_unavailable_judge_is_not_measured() -> None:
    model = Judge()
    model.faults[1] = fails(ModelUnavailable("gone"))
    with pytest.raises(ModelUnavailable):
        form_of(model, item(1), item(2))


def test_a_ballot_is_found_by_its_content() -> None:
    judge = judge_of(Judge())
    key = key_of(item(1), judge)
    other = Judge()
    other.digests = {"fake": "1" * 64}
    same = Item(item(1).paper, item(1).moves, "elsewhere", probe="copied")
    assert key_of(same, judge) == key
    labels = [m.model_copy(update={"label": f"The {m.label}"}) for m in nanda().moves]
    renamed = nanda().model_copy(update={"moves": tuple(labels)})
    for changed in (
        key_of(item(2), judge),
        key_of(item(1, scope="Other words."), judge),
        key_of(item(1), judge_of(other)),
        key_of(item(1), judge_of(Judge(), VoteForm("logprobs", ""))),
        key_of(item(1), judge_of(Judge(), JSON)),
        key_of(item(1), judge_of(Judge(), panel=panel_of(system="Judge."))),
        key_of(item(1), curator.Judge(PANEL, served(Judge()), renamed, LOGPROBS)),
    ):
        assert changed != key
    moved = panel_of(explain="Why? {criterion}")
    assert key_of(item(1), judge_of(Judge(), panel=moved)) == key


def test_without_digests_the_place_identifies_a_judge() -> None:
    one, other = Judge(), Judge()
    one.digests = other.digests = {}
    assert key_of(item(1), judge_of(one)) == key_of(item(1), judge_of(other))
    assert key_of(item(1), judge_of(one)) != key_of(item(1), judge_of(Judge()))


def test_the_fake_judge_returns_its_scores() -> None:
    for score in (1.0, 3.0, 3.25, 5.0):
        told = {token: math.exp(p) for token, p in alternatives(score).items()}
        assert vote(told).score == pytest.approx(score, abs=1e-5)


class Embedded(FakeModel):
    """The embedded model behind the registry of the tests."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def generate(self, request: Request, *rest: Any) -> Reply:
        return self.model.generate(request, *rest)


@pytest.mark.model
def test_the_embedded_model_can_vote_in_the_shipped_panel(embedded: Model) -> None:
    found, shipped = served(Embedded(embedded)), panel.shipped()
    form = choose_form(shipped, found, nanda(), [item(1)])
    assert (form.kind, form.prefill, form.can_answer) == ("logprobs", "Rating: ", True)
    votes = curator.Judge(shipped, found, nanda(), form).votes(item(1), 0)
    assert all(vote.score is not None and 1 < vote.score < 5 for vote in votes)
    assert [vote.cached_tokens > 0.8 * vote.prompt_tokens for vote in votes[1:]] == [True] * 4
