"""Test anchors given by a model, read from a record, and moved to another layout."""

from __future__ import annotations

from typing import Any

import pytest

from skills.nanda.anchors.lexical import lexical_anchors
from skills.nanda.anchors.stored import anchors_of, placed, read_anchors
from skills.nanda.checks import check

ABSTRACT = "Plans fail. We rehearse each plan. It doubles the success rate. It is slow."
MOVES = {"claim": "Each plan is rehearsed.", "evidence": "The success rate doubles."}
LEXICAL = lexical_anchors(ABSTRACT, MOVES)


def test_numbers_of_a_model_are_kept_with_their_spans() -> None:
    found = anchors_of(ABSTRACT, MOVES, {"evidence": [4, 3, 4], "claim": [1]})
    assert list(found) == ["claim", "evidence"]
    assert found["claim"] == {"sentences": [1], "spans": [[0, 11]], "by": "model"}
    assert found["evidence"]["sentences"] == [3, 4]
    assert [ABSTRACT[s:e] for s, e in found["evidence"]["spans"]] == [
        "It doubles the success rate.", "It is slow.",
    ]  # fmt: skip
    source = check(ABSTRACT, MOVES, found)["source"]
    assert source["claim"] == {"index": 0, "score": 0.25, "text": "Plans fail."}
    assert source["evidence"]["index"] == 2, "the sentence of the anchor with most words"


def test_an_alignment_may_find_no_sentence() -> None:
    moves = {"claim": "Zebras graze."}
    none = {"claim": {"sentences": [], "spans": [], "by": "lexical"}}
    assert read_anchors(ABSTRACT, moves, none) == none == lexical_anchors(ABSTRACT, moves)


@pytest.mark.parametrize("numbers", [[], [0], [5], [-1], [3, 99], [1, 2, 3, 4]])
def test_impossible_numbers_are_replaced_for_that_move_alone(numbers: list[int]) -> None:
    found = anchors_of(ABSTRACT, MOVES, {"claim": numbers, "evidence": [4], "scope": [1]})
    assert found["claim"] == LEXICAL["claim"]
    assert found["evidence"]["by"] == "model"
    assert list(found) == ["claim", "evidence"], "only stated moves have an anchor"


def test_stored_anchors_are_read_as_they_are() -> None:
    given = anchors_of(ABSTRACT, MOVES, {"claim": [1]})
    assert read_anchors(ABSTRACT, MOVES, given) == given
    run = {"sentences": [2], "spans": [[15, 24]], "by": "model"}
    assert read_anchors(ABSTRACT, MOVES, {"claim": run})["claim"] == run, "a part of a sentence"
    assert read_anchors(ABSTRACT, MOVES, None) == LEXICAL, "made before there were anchors"


@pytest.mark.parametrize(
    "stored",
    [
        None, [], "x", {}, {"by": "model"}, {"spans": [[0, 5]], "by": "oracle"},
        {"spans": "x", "by": "model"}, {"spans": [[0, 5, 9]], "by": "model"},
        {"spans": [5], "by": "model"}, {"spans": [["0", 5]], "by": "model"},
        {"spans": [[False, True]], "by": "model"}, {"spans": [[5, 5]], "by": "model"},
        {"spans": [], "by": "model"}, {"spans": [[-3, 5]], "by": "model"},
        {"spans": [[0, 5], [70, 999]], "by": "model"},
    ],
)  # fmt: skip
def test_an_anchor_that_is_not_valid_is_replaced(stored: Any) -> None:
    for given in (stored, {"claim": stored}):
        assert read_anchors(ABSTRACT, MOVES, given) == LEXICAL


def test_a_number_is_that_of_the_sentence_in_which_the_span_lies() -> None:
    stored = {"claim": {"sentences": [7], "spans": [[12, 33]], "by": "model"}}
    assert read_anchors(ABSTRACT, MOVES, stored)["claim"]["sentences"] == [2]


@pytest.mark.parametrize(
    "after", [ABSTRACT.replace(" ", "\n  "), "Plans\u200b fail.\n\n" + ABSTRACT[12:]]
)
def test_spans_are_moved_to_another_layout(after: str) -> None:
    given = anchors_of(ABSTRACT, MOVES, {"claim": [2, 4]})
    record = {"claim": MOVES["claim"], "anchors": given}
    moved = placed(record, ABSTRACT, after)
    assert moved["anchors"] == anchors_of(after, MOVES, {"claim": [2, 4]})
    assert placed(moved, after, ABSTRACT) == record
    assert placed(record, ABSTRACT, "Another abstract.") == record
    assert placed({"claim": "x"}, ABSTRACT, after) == {"claim": "x"}
    odd = {"anchors": {**given, "claim": 5}}
    assert list(placed(odd, ABSTRACT, after)["anchors"]) == ["evidence"], "others are left out"
