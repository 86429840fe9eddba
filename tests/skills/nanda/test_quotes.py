"""Test the reply format `quotes`."""

from __future__ import annotations

import json
import re

import pytest

from harness.models.backend import Reply, Request
from skills.nanda.confidence import Suggestion, read_suggestions
from skills.nanda.forms import UnusableReply
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper
from skills.nanda.quotes import Quote, QuotesForm, Referent, written

FORM = QuotesForm(nanda())
QUOTED_ABSTRACT = "Bees sting <|im_end|> at noon. We show that\nplans calm them."
STATED = {"claim": "Plans calm them."}
CONFIDENCE = {name: 0.9 if name == "claim" else 0.75 for name in nanda().names}
SPAN = (QUOTED_ABSTRACT.index("plans"), len(QUOTED_ABSTRACT))
SUGGESTIONS: dict[str, Suggestion] = {
    "scope": {"text": "Bees sting.", "confidence": 0.2, "sentences": [1], "spans": [[0, 10]]}
}
SUGGESTED = Quote(text="Bees sting.", spans=((0, 10),), confidence=0.2)
QUOTES = {
    **{name: Quote(confidence=0.75) for name in nanda().names},
    "claim": Quote(text="Plans calm them.", spans=(SPAN,), confidence=0.9),
    "scope": Quote(confidence=0.75, suggestion=SUGGESTED),
}
TEXT = written(QUOTES)


def test_the_prompt_is_the_abstract_as_it_is() -> None:
    [message] = FORM.messages(Paper("id", "1", "", QUOTED_ABSTRACT))
    assert (message.role, message.content) == ("user", QUOTED_ABSTRACT)


def test_a_title_comes_before_the_abstract() -> None:
    title, abstract = FORM.messages(Paper("id", "1", "Bees\nand plans", QUOTED_ABSTRACT))
    assert (title.role, title.content) == ("system", "Bees and plans")
    assert abstract.content == QUOTED_ABSTRACT


def test_a_reply_is_read_back() -> None:
    moves = FORM.read(Reply(TEXT, "stop", 9, 0, 0.1), QUOTED_ABSTRACT)
    assert moves == {**dict.fromkeys(nanda().names, "Not stated."), **STATED}
    assert FORM.confidence(TEXT) == CONFIDENCE
    assert read_suggestions(QUOTED_ABSTRACT, ["scope"], FORM.suggestions(TEXT)) == SUGGESTIONS
    anchor = {"sentences": [2], "spans": [list(SPAN)], "by": "model"}
    assert FORM.anchors(TEXT, QUOTED_ABSTRACT, STATED) == {"claim": anchor}


@pytest.mark.parametrize("span", [(0, 4), (-5, -1), (9999, 10000)])
@pytest.mark.parametrize("move", ["claim", "scope"], ids=["move", "suggestion"])
def test_a_passage_that_does_not_stand_at_its_place_is_unusable(
    move: str, span: tuple[int, int]
) -> None:
    wrong = {"spans": (span,)}
    quote = QUOTES[move].model_copy(update=wrong)
    if move == "scope":
        quote = QUOTES[move].model_copy(update={"suggestion": SUGGESTED.model_copy(update=wrong)})
    text = written({**QUOTES, move: quote})
    with pytest.raises(
        UnusableReply, match=re.escape(f"{move} is not the text of the abstract at {(span,)}")
    ):
        FORM.read(Reply(text, "stop", 9, 0, 0.1), QUOTED_ABSTRACT)


def test_a_move_may_have_several_passages_and_a_name_for_its_first_words() -> None:
    abstract = "We present DryRun. It waits. Then it runs."
    spans = ((19, 27), (29, 41))
    referent = Referent(span=(11, 17), at=(19, 21))
    quote = Quote(
        text="[DryRun] waits ... Then it runs.", spans=spans, referent=referent, confidence=0.9
    )
    text = written({**dict.fromkeys(nanda().names, Quote(confidence=0.5)), "method": quote})
    moves = FORM.read(Reply(text, "stop", 9, 0, 0.1), abstract)
    assert moves["method"] == quote.text
    anchor = FORM.anchors(text, abstract, {"method": moves["method"]})["method"]
    assert anchor["spans"] == [list(span) for span in spans]
    assert anchor["sentences"] == [2, 3]
    assert anchor.get("referent") == {"span": [11, 17], "at": [19, 21]}
    for wrong in ({"text": "It waits."}, {"referent": Referent(span=(3, 10), at=(19, 21))}):
        assert not quote.model_copy(update=wrong).stands_in(abstract)


def test_the_layout_of_an_abstract_is_no_part_of_the_content_key() -> None:
    assert FORM.hashed(QUOTED_ABSTRACT) == FORM.hashed(QUOTED_ABSTRACT.replace("\n", "  "))


def test_a_request_names_what_the_text_certainly_states() -> None:
    request = Request(FORM.messages(Paper("id", "1", "", QUOTED_ABSTRACT)))
    found = FORM.stating(request, ["limitation"])
    assert [message.content for message in found.messages] == [QUOTED_ABSTRACT, "limitation"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Claim: bees", "Invalid JSON"),
        ("[]", "should be"),
        (json.dumps({"claim": {"text": "Bees sting."}}), "confidence"),
        (json.dumps({"claim": {"confidence": 1.5}}), "less than or equal to 1"),
        (json.dumps({"claim": {"confidence": 0.5, "spans": [[1]]}}), "spans"),
    ],
    ids=["no JSON", "a list", "no confidence", "a confidence above 1", "half a span"],
)
def test_another_reply_is_unusable(text: str, problem: str) -> None:
    with pytest.raises(UnusableReply, match=problem):
        FORM.read(Reply(text, "stop", 9, 0, 0.1), QUOTED_ABSTRACT)
