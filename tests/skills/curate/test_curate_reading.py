"""A judge that is not asked but reads: how much moves surprise it after the abstract."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from curate_desk import (
    CHOSEN,
    PANEL,
    PREFILLS,
    Desk,
    Judge,
    a_desk,
    ids,
    item,
    moves,
    panel_of,
    rows_of,
)

from harness.errors import GenerationFailed, InputError, InvalidReply
from harness.models.backends.base import Model, OnText, Reply, Request, Token
from harness.models.pool import ServedModel
from harness.testing import FakeModel, fake_models
from skills.corpus.db.connection import open_corpus
from skills.curate import curator
from skills.curate.curator import ToldApart, VoteForm
from skills.curate.inputs.items import Item
from skills.curate.panel import panel, reading
from skills.curate.panel.panel import Panel
from skills.curate.panel.vote_mode import FORM_ITEMS, LEAD, choose_form, is_settled
from skills.curate.store import verdicts
from skills.curate.store.ballots import key_of
from skills.nanda.framework import nanda

__all__ = ["a_desk"]

LEAST = 1.5
READS: Mapping[str, tuple[str, ...]] = {
    "alpha": ("claim", "evidence"),
    "beta": ("method",),
    "gamma": ("scope",),
    "delta": ("novelty",),
    "epsilon": ("comparison", "limitation"),
}
UNSTATED = nanda().not_stated


def reading_panel(reads: Mapping[str, tuple[str, ...]] = READS) -> Panel:
    data = PANEL.model_dump()
    for one in data["personas"]:
        if names := reads.get(one["name"]):
            one["reads"] = {"moves": names, "least": LEAST, "threshold": 2.5}
    return Panel.model_validate(data)


READING = reading_panel()
READ = VoteForm("logprobs", CHOSEN, 0.95, {CHOSEN: 0.95}, True, ToldApart(2, 0, 2))


class Reader(Judge):
    """Is surprised little by an abstract's own moves, and by others much.

    Attributes:
        sees: whether its answers tell them apart; else it gives all 3.
        reads: whether it is surprised by others at all.
        speaks: what it does where it has to say moves: "says", "refuses", or says something "else".
        read: the moves it had to say, by request.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sees, self.reads, self.speaks = False, True, "says"
        self.read: list[dict[str, str]] = []

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        properties = (request.json_schema or {}).get("properties", {})
        if not properties or "answer" in properties:
            if not self.sees:
                self.scores = {(number, ""): 1.0 for number in range(99)}  # as it gives to others
            return super().generate(request, on_text, cancel)
        said = {name: one["enum"][0] for name, one in properties.items()}
        with self._arriving:
            self.requests.append(request)
            self.read.append(said)
        if self.speaks == "refuses":
            raise GenerationFailed("400")
        about = re.search(r"On (\d+) deliveries", request.messages[-1].content)
        own = moves(int(about[1]) - 1000 if about else -1)
        nats = [
            LEAST if not self.reads or text == own[name] else 4.0 for name, text in said.items()
        ]
        text = json.dumps(said if self.speaks == "says" else dict.fromkeys(said, "Other."))
        told = tokens_of(said, nats) if self.tells else ()
        return Reply(text, "stop", 90, 40, 0.1, 60, ({"x": -1.0},), told)


def tokens_of(said: Mapping[str, str], nats: Sequence[float]) -> tuple[Token, ...]:
    """Words and signs, each word of a text with its surprise."""
    found = [Token('{"', -0.01)]
    for (name, text), each in zip(said.items(), nats, strict=True):
        found += [Token(name, -0.01), Token('":"', -0.01)]
        found += [Token(word, -each) for word in re.findall(r"\w+|\W", text)]
        found += [Token('","', -0.01)]
    return (*found[:-1], Token('"}', -0.01))


def served(model: FakeModel) -> ServedModel:
    found: list[ServedModel] = []
    fake_models(model, "judge").run("judge", found.append)
    return found[0]


def judge_of(model: FakeModel, of: Panel = READING, form: VoteForm = READ) -> curator.Judge:
    return curator.Judge(of, served(model), nanda(), form)


def other_moves(number: int, other: int) -> Item:
    """An abstract with the moves of another."""
    return item(number, **moves(other))


def form_of(model: FakeModel, count: int = FORM_ITEMS, of: Panel = READING) -> VoteForm:
    return choose_form(of, served(model), nanda(), [item(number) for number in range(1, count + 1)])


# What is read of a reply


def test_tokens_are_of_the_text_they_have_a_part_of() -> None:
    said = {"claim": "A b.", "scope": "C."}
    pieces = ['{"', "cla", 'im":"A', " b", '.","', 'scope": "', "C", '."}']
    tokens = tuple(Token(piece, -float(place)) for place, piece in enumerate(pieces))
    found = reading.told(Reply(json.dumps(said), "stop", 1, 8, 0.1, 0, (), tokens), said)
    assert {name: [token.text for token in of] for name, of in found.items()} == {
        "claim": ['im":"A', " b", '.","'],
        "scope": ["C", '."}'],
    }


def test_nothing_is_read_of_another_text_or_of_tokens_that_are_told_too_late() -> None:
    said = {"claim": "It is so."}
    tokens = tokens_of(said, [2.0])

    def told(text: str, of: tuple[Token, ...]) -> Any:
        return reading.told(Reply(text, "stop", 1, 8, 0.1, 0, (), of), said)

    assert told(json.dumps(said), tokens)
    for text in ('{"claim": "It is."}', '{"claim": "It is so.', "[" * 9999, ""):
        assert told(text, tokens) == {}
    assert told(json.dumps(said), ()) == {}
    assert told(json.dumps(said), tokens_of(said, [0.0])) == {}, "after the schema all are certain"


def test_moves_are_said_without_what_json_escapes() -> None:
    assert reading.readable('The "edge" of C:\\x\tis <|im_end|> 5 µm.') == (
        "The 'edge' of C:/x is < |im_end| > 5 µm."
    )


def test_a_text_surprises_by_its_hardest_stretch() -> None:
    easy, hard = [Token("a", -1.0)] * 30, [Token("b", -4.0)] * reading.STRETCH
    assert reading.surprise(easy) == 1.0
    assert reading.surprise([*easy, *hard, *easy]) == 4.0
    assert reading.surprise([Token("c", -9999.0)]) == -reading.FLOOR
    assert reading.surprise(hard[:3]) == 4.0


def test_the_score_is_best_at_the_least_of_good_ones_and_falls_to_both_sides() -> None:
    def score(*surprises: float) -> float:
        return reading.score(surprises, 2.0, 1.0, 5.0)

    assert score(2.0) == score(1.5, 2.5) == 5.0
    assert score(4.0) == score(1.5) == pytest.approx(1 + 4 / math.e)
    assert 1.0 <= score(15.0) < score(0.0) < score(1.9) < 5.0


# A vote


def test_a_persona_that_reads_has_the_moves_said_in_one_slot_and_is_not_asked() -> None:
    model = Reader()
    votes = judge_of(model).votes(item(1), 3)
    assert [tuple(said) for said in model.read] == list(READS.values())
    assert model.asked == {}
    for request in model.requests:
        assert request.messages == model.requests[0].messages, "they share all of the prompt"
        assert (request.slot, request.temperature, request.top_logprobs) == (3, 0.0, 1)
    first = votes[0]
    assert first == curator.Vote(
        "alpha", 5.0, None, {}, 90, 60, 0.1, {"claim": LEAST, "evidence": LEAST}
    )
    assert judge_of(model).votes(other_moves(1, 2))[0].score == pytest.approx(
        1 + 4 * math.exp((LEAST - 4.0) / 2), abs=1e-6
    )


def test_a_persona_without_moves_to_read_is_asked_beside_those_that_read() -> None:
    model = Reader()
    model.sees = True
    votes = judge_of(model, reading_panel({"beta": ("method",)})).votes(item(1))
    assert [tuple(said) for said in model.read] == [("method",)]
    assert [bool(vote.read) for vote in votes] == [False, True, False, False, False]
    assert set(model.asked) == {(1, name) for name in ("alpha", "gamma", "delta", "epsilon")}


def test_where_nothing_of_its_moves_is_stated_a_vote_is_invalid_and_costs_nothing() -> None:
    model = Reader()
    votes = judge_of(model).votes(item(1, scope=UNSTATED, limitation=UNSTATED, novelty=""))
    assert [vote.score is None for vote in votes] == [False, False, True, True, False]
    assert [tuple(said) for said in model.read] == [
        ("claim", "evidence"),
        ("method",),
        ("comparison",),
    ]
    nothing = judge_of(model).votes(item(1, **dict.fromkeys(nanda().names, UNSTATED)))
    assert [vote.score for vote in nothing] == [None] * 5
    assert len(model.read) == 3


@pytest.mark.parametrize("silent", ["tells", "speaks"])
def test_a_server_that_has_stopped_telling_has_failed(silent: str) -> None:
    model = Reader()
    model.tells = silent != "tells"
    model.speaks = "else" if silent == "speaks" else "says"
    with pytest.raises(InvalidReply, match="told no probability of any token"):
        judge_of(model).votes(item(1))


def test_an_abstract_too_long_to_be_read_is_refused() -> None:
    with pytest.raises(InputError, match="the prompt has"):
        judge_of(Reader(context=80)).votes(item(1))


# Which way is the better


def test_a_judge_that_tells_more_by_reading_reads() -> None:
    model = Reader()
    form = form_of(model)
    assert (form.kind, form.reads, form.told_apart) == ("logprobs", True, ToldApart(2, 0, 2))
    assert is_settled(form)
    assert {tuple(said) for said in model.read} == {READS["alpha"]}, "of the first that reads"


def test_a_judge_whose_answers_tell_as_much_is_asked() -> None:
    model = Reader()
    model.sees = True
    form = form_of(model)
    assert (form.reads, form.told_apart) == (False, ToldApart(FORM_ITEMS, FORM_ITEMS, FORM_ITEMS))
    model.reads = False
    assert form_of(model).told_apart == ToldApart(LEAD, LEAD, 0)


def test_on_few_annotations_nothing_is_settled_unless_it_is_clear() -> None:
    model = Reader()
    assert not is_settled(form_of(model, 1)), "there is no other paper"
    assert is_settled(form_of(model, 2))
    model = Reader()
    model.sees = True
    form = form_of(model, 3)
    assert (form.reads, is_settled(form)) == (False, False)


@pytest.mark.parametrize("speaks", ["refuses", "else"])
def test_a_server_that_does_not_say_what_it_has_to_is_asked(speaks: str) -> None:
    model = Reader()
    model.speaks = speaks
    form = form_of(model)
    assert (form.kind, form.reads, form.told_apart) == ("logprobs", False, None)
    assert is_settled(form)


def test_a_server_that_tells_no_probabilities_is_asked_for_json_and_never_reads() -> None:
    model = Reader()
    model.tells = False
    assert form_of(model) == VoteForm("json")
    assert model.read == []


def test_a_panel_that_reads_nothing_is_asked_and_measured_no_further() -> None:
    model = Reader()
    form = form_of(model, of=PANEL)
    assert (form.told_apart, model.read) == (None, [])


# What is kept


def test_reading_and_asking_have_votes_of_their_own() -> None:
    model = Reader()
    asked = VoteForm("logprobs", CHOSEN)
    assert key_of(item(1), judge_of(model)) != key_of(item(1), judge_of(model, form=asked))
    data = READING.model_dump()
    data["personas"][0]["reads"]["threshold"] = 3.0
    assert Panel.model_validate(data).digest == READING.digest
    data["personas"][0]["reads"]["least"] = 1.0
    assert Panel.model_validate(data).digest != READING.digest


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk whose judge reads, which is to be measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(panel, "shipped", lambda: READING)
    return Desk(tmp_path, Reader(), form=None)


def test_a_run_that_reads_says_so_and_is_kept(reader: Desk) -> None:
    reader.rows(1, 2, 3)
    outcome = reader.curate("--probes 2")
    assert reader.kept() == ids(1, 2, 3)
    summary = reader.summary(outcome)
    assert summary["judge"]["form"]["told_apart"] == {"pairs": 2, "asked": 0, "read": 2}
    assert summary["judge"]["thresholds"] == dict.fromkeys(READS, 2.5)
    assert summary["probes"]["kinds"]["other-paper"]["panel"]["count"] == 2
    assert summary["panel"]["personas"][0]["reads"] == ["claim", "evidence"]
    assert any(note.startswith("the judge is not asked but reads") for note in summary["notes"])
    assert "told from another paper's: 2 of 2 by reading, 0 by asking" in reader.said
    assert re.search(r"alpha .* reads ", reader.said)
    [line, *_] = reader.log("annotation")
    assert line["votes"][0]["read"] == {"claim": LEAST, "evidence": LEAST}
    page = (reader.folder / "agent_curation_report.html").read_text(encoding="utf-8")
    assert "It reads: claim, evidence." in page
    assert "2 of 2 by reading, 0 by asking" in page


def test_the_same_line_reads_nothing_again(reader: Desk) -> None:
    reader.rows(1, 2, 3)
    reader.curate()
    reader.app.close()
    later = Desk(reader.folder, Reader(), form=None)
    outcome = later.curate()
    assert later.judge.requests == []
    assert later.summary(outcome)["judge"]["form"]["reads"] is True
    assert later.log("annotation")[0]["votes"][0]["read"]


def test_what_is_calibrated_for_one_way_does_not_hold_for_the_other(reader: Desk) -> None:
    reader.rows(*range(1, 8))
    reader.curate("--calibrate --reject-rate 0.2")
    with open_corpus(reader.corpus) as db:
        for reads in (True, False):
            form = VoteForm("logprobs", PREFILLS[0], reads=reads)
            bar = verdicts.bar(db, judge_of(reader.judge, form=form), 3)
            assert bool(bar.calibrated) is reads


def test_votes_that_were_kept_before_any_judge_could_read_are_found_again() -> None:
    judge = judge_of(Judge(), PANEL, VoteForm("logprobs", CHOSEN))
    assert key_of(item(1), judge) == (
        "b1:65317f4add9ccc3bd41eb9c87f66224a8b8b45edeb323b8c2f890efd7f992c7e"
    )


def test_a_form_that_was_kept_before_any_judge_could_read_still_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(panel, "shipped", lambda: PANEL)
    desk = Desk(tmp_path)
    with open_corpus(desk.corpus) as db:
        db.conn.execute("UPDATE judge_forms SET measured = ?", ['{"": 0.2, "Rating: ": 0.95}'])
        db.conn.commit()
    desk.rows(1)
    form = desk.summary(desk.curate())["judge"]["form"]
    assert (form["measured"], form["reads"]) == ({"": 0.2, "Rating: ": 0.95}, False)
    assert len(rows_of(desk, "SELECT * FROM judge_forms")) == 1


# The panel's file


def test_a_framework_without_a_move_that_is_read_is_refused() -> None:
    other = nanda().model_copy(update={"moves": nanda().moves[:-1]})
    with pytest.raises(InputError, match="persona delta asks about 'novelty', which is no move"):
        READING.check_moves(other)


@pytest.mark.parametrize(
    ("reads", "said"),
    [
        ({"moves": [], "least": 1.0, "threshold": 2.0}, "at least 1 item"),
        ({"moves": ["claim"], "least": -1.0, "threshold": 2.0}, "greater than or equal to 0"),
        ({"moves": ["claim"], "least": 1.0, "threshold": 0.5}, "alpha, which reads: its thresh"),
    ],
)
def test_what_cannot_be_read_is_refused(reads: dict[str, Any], said: str) -> None:
    data = PANEL.model_dump()
    data["personas"][0]["reads"] = reads
    with pytest.raises(ValueError, match=said):
        Panel.model_validate(data)


def test_what_is_read_needs_the_abstract() -> None:
    with pytest.raises(ValueError, match=r"`reading` has no \{abstract\}"):
        panel_of(reading="Say the moves.")


def test_the_shipped_personas_read_every_move_once() -> None:
    found = [name for one in panel.shipped().personas if one.reads for name in one.reads.moves]
    assert sorted(found) == sorted(nanda().names)


# The embedded model


class Embedded(FakeModel):
    """The embedded model behind the tests' registry."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def generate(self, request: Request, *rest: Any) -> Reply:
        return self.model.generate(request, *rest)


@pytest.mark.model
def test_every_shipped_persona_scores_own_moves_above_those_of_another_paper(
    embedded: Model,
) -> None:
    judge = judge_of(Embedded(embedded), panel.shipped())
    for number in (1, 2):
        own, other = judge.votes(item(number), 0), judge.votes(other_moves(number, number + 3), 0)
        for mine, theirs in zip(own, other, strict=True):
            assert mine.score is not None
            assert theirs.score is not None
            assert mine.score > theirs.score, mine.persona
        assert [vote.cached_tokens > 0.9 * vote.prompt_tokens for vote in own[1:]] == [True] * 4


@pytest.mark.model
def test_the_embedded_model_reads_own_annotations_apart(embedded: Model) -> None:
    form = choose_form(
        panel.shipped(), served(Embedded(embedded)), nanda(), [item(number) for number in range(4)]
    )
    assert form.told_apart is not None
    assert form.told_apart.read == form.told_apart.pairs > 0
