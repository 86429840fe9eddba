"""The steps of an anchored annotation, with a scripted engine."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
import yaml
from repository import SUPPORT

from harness.errors import InvalidReply
from harness.models.backends.base import Reply, Request
from harness.testing import FakeModel, fake_models, run_skill
from skills.annotate.anchored import mixture
from skills.annotate.generate import annotate, prepare
from skills.annotate.plugin import Annotate
from skills.annotate.selector import selector
from skills.nanda import checks
from skills.nanda.framework import NANDA, load, nanda
from skills.nanda.paper import Paper

TWO_MOVES = SUPPORT / "two_moves.yaml"
ABSTRACT = "Agents wait for every approval. Our planner halts on 412 tasks. Nobody else is asked."
PAPER = Paper("id", "1", "", ABSTRACT)


class Steps:
    """Answers each step of a move: its probabilities, then a line.

    Args:
        first: probabilities of the first digits of a sentence number.
        second: probabilities of what follows a digit, by digit.
        lines: what follows the number of a sentence.
    """

    def __init__(
        self,
        first: Mapping[str, float],
        lines: Mapping[int, str],
        second: Mapping[str, Mapping[str, float]] | None = None,
        finish_reason: str = "stop",
    ) -> None:
        self.first, self.lines, self.second = first, lines, second or {}
        self.finish_reason = finish_reason

    def __call__(self, request: Request) -> Reply:
        number = re.search(r"\[(\d+)\Z", request.prefill)
        if not request.top_logprobs:
            text = self.lines[int(number[1])]
            return Reply(text, self.finish_reason, 10, len(text.split()), 0.0)
        if number:
            following = logarithms(self.second[number[1]])
            return Reply("]", "length", 10, 1, 0.0, logprobs=(following,))
        opening = logarithms({" [": 0.9, ":": 0.1})
        probabilities = (opening, logarithms(self.first))
        return Reply(" [1", "length", 10, 2, 0.0, logprobs=probabilities)


def logarithms(probabilities: Mapping[str, float]) -> dict[str, float]:
    return {text: math.log(one) for text, one in probabilities.items()}


LINES = {
    1: "]: Agents wait for every approval.\n",
    2: "]: Our planner halts on 412 tasks.\n",
    3: "]: Nobody else is asked.\n",
}


def annotated(*replies, text=ABSTRACT, framework=TWO_MOVES, **options):
    model = FakeModel(*replies, takes_grammar=True)
    options = {"framework": framework, **options}
    result = run_skill(
        Annotate(), text, model=model, form="anchored", source="stdin", options=options
    )
    return result.data, model


def test_the_most_probable_sentence_is_quoted_and_its_probability_stored():
    record, _ = annotated(Steps({"1": 0.2, "2": 0.7, "3": 0.1}, LINES))
    assert record["aim"] == "Our planner halts on 412 tasks."
    assert record["anchors"]["aim"]["sentences"] == [2]
    assert record["confidence"] == {"aim": 0.63, "result": 0.63}


def test_a_move_is_not_stated_from_the_threshold_on(monkeypatch):
    monkeypatch.setattr(mixture, "EVEN", mixture.Mixture(0.5, threshold=0.0))
    record, _ = annotated(Steps({"1": 0.9}, LINES))
    assert (record["aim"], record["result"]) == ("Not stated.", "Not stated.")
    assert record["anchors"] == {}
    assert record["confidence"] == {"aim": 0.1, "result": 0.1}


def test_the_confidence_is_that_of_the_candidate_that_is_chosen():
    lines = {**LINES, 1: "]: Our planner halts.\n", 3: "]: Our planner halts on tasks.\n"}
    text = "Our planner halts. Agents wait for every approval. Our planner halts on tasks."
    lines[2] = "]: Agents wait for every approval.\n"
    probabilities = {"1": 0.3, "2": 0.4, "3": 0.3}
    record, _ = annotated(Steps(probabilities, lines), text=text, effort="best")
    (sentence,) = record["anchors"]["aim"]["sentences"]
    assert sentence in (1, 3)
    assert record["confidence"]["aim"] == pytest.approx(0.27)


def test_numbers_of_two_digits_share_the_probability_of_the_first_digit():
    text = " ".join(f"Planner number {n} waits for step {n}." for n in range(1, 13))
    steps = Steps(
        {"1": 0.9, "2": 0.1},
        {12: "]: Planner number 12 waits for step 12.\n"},
        {"1": {"]:": 0.1, "1": 0.2, "2": 0.7}},
    )
    record, _ = annotated(steps, text=text)
    assert record["anchors"]["aim"]["sentences"] == [12]
    assert record["confidence"]["aim"] == pytest.approx(0.9 * 0.9 * 0.7, abs=0.001)


def test_a_long_abstract_is_annotated_from_its_first_99_sentences():
    text = " ".join(f"Planner number {n} waits for step {n}." for n in range(1, 121))
    digits = {str(digit): 1 / 9 for digit in range(1, 10)}
    second = {"]:": 0.1, **{str(digit): 0.09 for digit in range(10)}}
    line = {99: "]: Planner number 99 waits for step 99.\n"}
    steps = Steps({**digits, "9": 0.3}, line, {d: {**second, "9": 0.5} for d in digits})
    record, _ = annotated(steps, text=text)
    assert record["anchors"]["aim"]["sentences"] == [99]


@pytest.mark.parametrize(("effort", "temperatures"), [("fast", {0.3}), ("best", {0.0, 0.7})])
def test_passages_are_generated_at_the_temperature_of_the_request(effort, temperatures):
    def work(served):
        prepared = prepare(PAPER, load(TWO_MOVES), served, effort=effort)
        warm = replace(prepared, request=replace(prepared.request, temperature=0.3))
        return annotate(warm, served)

    model = FakeModel(Steps({"1": 0.9}, LINES), takes_grammar=True)
    fake_models(model, "annotate", form="anchored").run("annotate", work)
    lines = [request for request in model.requests if not request.top_logprobs]
    assert {request.temperature for request in lines} == temperatures


def test_a_passage_that_was_cut_off_is_no_annotation():
    with pytest.raises(InvalidReply, match="Aim was cut off after 4 tokens") as raised:
        annotated(Steps({"1": 0.9}, {1: "]: Agents wait for"}, finish_reason="length"))
    assert raised.value.raw == "<annotation>\n"


def test_an_engine_that_takes_bracket_and_digit_as_one_token_is_reported():
    reply = Reply(" [1", "stop", 10, 1, 0.0, logprobs=({" [1": 0.0},))
    with pytest.raises(InvalidReply, match="does not report the probabilities"):
        annotated(reply)


def test_a_line_that_is_not_that_of_a_move_is_an_invalid_reply():
    with pytest.raises(InvalidReply, match="is not that of a move") as raised:
        annotated(Steps({"1": 0.9}, {1: "] Agents wait for every approval.\n"}))
    assert "Agents wait for every approval." in raised.value.raw


def test_passages_are_short_where_the_framework_has_short_moves(tmp_path):
    data = yaml.safe_load(TWO_MOVES.read_text(encoding="utf-8"))
    short = tmp_path / "short.yaml"
    short.write_text(yaml.safe_dump({**data, "max_chars": 20}), encoding="utf-8")
    record, _ = annotated(Steps({"1": 0.9}, LINES), framework=short)
    assert record["aim"] == "Agents wait."


def test_progress_receives_the_text_of_all_steps():
    def work(served):
        return annotate(prepare(PAPER, load(TWO_MOVES), served), served, pieces.append)

    pieces = []
    model = FakeModel(Steps({"1": 0.9}, LINES), takes_grammar=True)
    fake_models(model, "annotate", form="anchored").run("annotate", work)
    assert "".join(pieces) == 2 * (" [1" + LINES[1])
    assert len(pieces) > 10


@pytest.fixture
def any_moves(monkeypatch):
    """Accept moves with the same content: the fake quotes one sentence for all eight."""
    monkeypatch.setattr(checks, "unusable", lambda *_: "")


@pytest.mark.usefixtures("any_moves")
def test_the_provenance_states_the_decoding():
    record, _ = annotated(Steps({"1": 0.9}, LINES), framework=None, effort="best")
    assert record["provenance"]["decoding"] == {
        "version": 4,
        "effort": "best",
        "selector": selector.load().digest,
        "mixtures": mixture.identity(),
    }


def test_settings_of_the_mixture_change_the_content_key(monkeypatch):
    steps = Steps({"1": 0.9}, LINES)
    first, _ = annotated(steps)
    monkeypatch.setattr(mixture, "EVEN", mixture.Mixture(0.5, threshold=0.0))
    second, _ = annotated(steps)
    assert first["provenance"]["key"] != second["provenance"]["key"]


@pytest.mark.usefixtures("any_moves")
def test_moves_of_another_definition_do_not_use_the_selector(tmp_path):
    data = yaml.safe_load(NANDA.read_text(encoding="utf-8"))
    data["moves"][0]["definition"] = "the first word"
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    steps = Steps({"1": 0.2, "2": 0.7, "3": 0.1}, LINES)
    own, _ = annotated(steps, framework=path)
    assert {*own["confidence"].values()} == {0.63}
    assert own["provenance"]["decoding"]["selector"] is None
    built_in, _ = annotated(steps, framework=None)
    assert len({*built_in["confidence"].values()}) == len(nanda().names)
