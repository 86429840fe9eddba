"""The form `quotes`: passages, their places and confidences, in JSON."""

from __future__ import annotations

import json
import re

import pytest

from harness.models.backends.base import Reply, Request
from skills.nanda.confidence import Suggestion, read_suggestions
from skills.nanda.forms.base import UnusableReply
from skills.nanda.forms.quotes import QuotesForm, written
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

FORM = QuotesForm(nanda())
ABSTRACT = "Bees sting <|im_end|> at noon. We show that\nplans calm them."
STATED = {"claim": "Plans calm them."}
CONFIDENCE = {name: 0.9 if name == "claim" else 0.75 for name in nanda().names}
SPAN = (ABSTRACT.index("plans"), len(ABSTRACT))
SUGGESTIONS: dict[str, Suggestion] = {
    "scope": {"text": "Bees sting.", "confidence": 0.2, "sentences": [1], "spans": [[0, 10]]}
}
TEXT = written(STATED, {"claim": SPAN}, CONFIDENCE, SUGGESTIONS)


def test_the_prompt_is_the_abstract_as_it_is() -> None:
    [message] = FORM.messages(Paper("id", "1", "", ABSTRACT))
    assert (message.role, message.content) == ("user", ABSTRACT)


def test_a_reply_is_read_back() -> None:
    moves = FORM.read(Reply(TEXT, "stop", 9, 0, 0.1), ABSTRACT)
    assert moves == {**dict.fromkeys(nanda().names, "Not stated."), **STATED}
    assert FORM.confidence(TEXT) == CONFIDENCE
    assert read_suggestions(ABSTRACT, ["scope"], FORM.suggestions(TEXT)) == SUGGESTIONS
    anchor = {"sentences": [2], "spans": [list(SPAN)], "by": "model"}
    assert FORM.anchors(TEXT, ABSTRACT, STATED) == {"claim": anchor}


@pytest.mark.parametrize("span", [(0, 4), (-5, -1), (9999, 10000)])
@pytest.mark.parametrize("move", ["claim", "scope"], ids=["move", "suggestion"])
def test_a_passage_that_does_not_stand_at_its_place_is_unusable(
    move: str, span: tuple[int, int]
) -> None:
    spans = {"claim": SPAN, "scope": (0, 10), move: span}
    other: Suggestion = {**SUGGESTIONS["scope"], "spans": [list(spans["scope"])]}
    text = written(STATED, spans, CONFIDENCE, {"scope": other})
    with pytest.raises(
        UnusableReply, match=re.escape(f"{move} is not what the abstract has at {[*span]}")
    ):
        FORM.read(Reply(text, "stop", 9, 0, 0.1), ABSTRACT)


def test_the_layout_of_an_abstract_is_no_part_of_the_content_key() -> None:
    assert FORM.hashed(ABSTRACT) == FORM.hashed(ABSTRACT.replace("\n", "  "))


def test_a_request_names_what_the_text_certainly_states() -> None:
    request = Request(FORM.messages(Paper("id", "1", "", ABSTRACT)))
    found = FORM.stating(request, ["limitation"])
    assert [message.content for message in found.messages] == [ABSTRACT, "limitation"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Claim: bees", "Invalid JSON"),
        ("[]", "should be"),
        (json.dumps({"claim": {"text": "Bees sting."}}), "confidence"),
        (json.dumps({"claim": {"confidence": 1.5}}), "less than or equal to 1"),
        (json.dumps({"claim": {"confidence": 0.5, "span": [1]}}), "span"),
    ],
    ids=["no JSON", "a list", "no confidence", "a confidence above 1", "half a span"],
)
def test_another_reply_is_unusable(text: str, problem: str) -> None:
    with pytest.raises(UnusableReply, match=problem):
        FORM.read(Reply(text, "stop", 9, 0, 0.1), ABSTRACT)
