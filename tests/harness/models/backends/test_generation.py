"""The parts that backends share: requests, collected replies, prefills and addresses."""

from __future__ import annotations

import json
import math

import pytest
from backend_requests import judge

from harness.errors import GenerationFailed
from harness.models.backend import Token, ToolCall
from harness.models.backends.generation import (
    Emit,
    GenerationState,
    PrefillStripper,
    relay,
    token_text,
    well_formed_json,
)
from harness.redaction import remember
from harness.testing import FakeModel


@pytest.mark.parametrize("fields", [{"slot": -1}, {"top_logprobs": -1}])
def test_negative_numbers_are_value_errors(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        judge(**fields)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ud83d\ude00", "\N{GRINNING FACE}"),
        ("a\ud83d b\udc00", "a\ufffd b\ufffd"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
    ],
)
def test_surrogates_of_different_pieces_are_joined_or_replaced(text: str, expected: str) -> None:
    shown: list[str] = []
    state = GenerationState(judge(), on_text=shown.append)
    for piece in text:
        state.add(piece)
    assert state.reply("stop", 1, 1).text == "".join(shown) == expected


def test_escapes_in_json() -> None:
    assert json.loads(well_formed_json(r'{"text": "\ud83d", "\udc00": 1}')) == {
        "text": "\ufffd",
        "\ufffd": 1,
    }
    whole = r'{ "text":"\ud83d\ude00" }'
    assert well_formed_json(whole) == whole
    assert well_formed_json("no JSON \ud83d") == "no JSON \ufffd"
    assert well_formed_json("[" * 100_000 + "\ud83d").endswith("[\ufffd")


def test_alternatives_of_the_same_text_are_added() -> None:
    state = GenerationState(judge())
    four = Token("4", math.log(0.3))
    state.add_token(four, [("4", math.log(0.3)), ("5", math.log(0.4)), ("4", math.log(0.2))])
    state.add_token(Token(" of", -1.0), [])
    (told,) = state.reply("stop", 1, 1).logprobs
    assert state.reply("stop", 1, 1).tokens == (four, Token(" of", -1.0))
    assert list(told) == ["4", "5"]
    assert told == pytest.approx({"4": math.log(0.5), "5": math.log(0.4)})
    state.add_token(Token("a", -9999.0), [("a", -9999.0), ("a", -9999.0)])
    assert state.logprobs[-1]["a"] == pytest.approx(-9999.0 + math.log(2))


def test_a_reply_can_be_encoded_whatever_was_sent() -> None:
    pieces: list[str] = []
    state = GenerationState(judge(), on_text=pieces.append)
    for piece in ("a \ud83d", "\ude00 \udc00", " b\ud83d"):
        state.add(piece)
    state.add_token(Token("\ud83d", -1.0), [("\ud83d", -1.0), ("\ude00", -1.0)])
    call = ToolCall("x\ud83d", r'{"text": "\ud83d"}', "1\udc00")
    reply = state.reply("stop", 1, 1, tool_calls=(call,))
    assert reply.text == "".join(pieces) == "a \N{GRINNING FACE} \ufffd b\ufffd"
    assert reply.tokens == (Token("\ufffd", -1.0),)
    assert list(reply.logprobs[0]) == ["\ufffd"]
    assert reply.tool_calls == (ToolCall("x\ufffd", '{"text": "\ufffd"}', "1\ufffd"),)


def test_text_of_a_token_from_its_bytes() -> None:
    assert token_text(" ", [32]) == " "
    assert token_text(" ", [32, 226]) == " \ufffd"
    assert token_text("é", None) == "é"
    assert token_text("", []) == ""


@pytest.mark.parametrize(
    ("prefill", "pieces", "passed_on"),
    [
        ("Rating: ", ["Rating: 4", " of 5"], ["4", " of 5"]),
        ("Rating: ", ["Ra", "", "ting: ", "4", "Rating: "], ["", "", "", "4", "Rating: "]),
        ("Rating: ", ["Rat", "her 4"], ["", "Rather 4"]),
        ("Rating: ", ["Rating:", "4"], ["", "4"]),
        ("Rating: ", ["4", "Rating: "], ["4", "Rating: "]),
        ("", ["", "4"], ["", "4"]),
    ],
)
def test_repeated_prefill_is_removed_from_any_pieces(
    prefill: str, pieces: list[str], passed_on: list[str]
) -> None:
    answer = PrefillStripper(prefill)
    assert [answer.feed(piece) for piece in pieces] == passed_on
    assert answer.flush() == ""


def test_answer_within_its_prefill_is_kept() -> None:
    answer = PrefillStripper("Rating: ")
    assert answer.feed("Rat") == ""
    assert answer.flush() == "Rat"


def test_prefill_counts_as_prompt() -> None:
    assert FakeModel().count_tokens(judge(prefill="one two")) == (
        FakeModel().count_tokens(judge(prefill="")) + 2
    )


def test_the_last_letter_of_a_broken_answer_is_shown_even_if_a_secret_begins_with_it() -> None:
    remember("s3cret-of-a-test")
    shown: list[str] = []
    state = GenerationState(judge(), on_text=shown.append)

    def broken(emit: Emit[str]) -> None:
        emit("Two notes")
        raise GenerationFailed("the connection was closed")

    with pytest.raises(GenerationFailed) as failure:
        relay(broken, state.add, state)
    assert "".join(shown) == failure.value.partial == failure.value.reply == "Two notes"
