"""Test the lexical alignment of moves with the sentences of their abstract."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from repository import ROOT

from skills.nanda.anchors import (
    anchors_of,
    lexical_anchors,
    placed,
    read_anchors,
)
from skills.nanda.checks import check
from skills.nanda.framework import nanda
from skills.nanda.sentences import split_sentences

ABSTRACT = """\
Shell agents often break the systems that they work on.
  We present DryRun, a planner that rehearses each command in a snapshot of the file system.

On 200 tasks of administrators, DryRun raises the success rate from 41% to 58%. \
Rehearsals take 3 seconds on average. It does not cover commands that act over the network."""
SHARED = ROOT.parent / "shared" / "data" / "gold_train.csv"


def aligned(text: str, abstract: str = ABSTRACT) -> list[int]:
    """Return the sentence numbers of a move."""
    return lexical_anchors(abstract, {"claim": text})["claim"]["sentences"]


def test_an_anchor_is_the_sentence_in_the_abstract_as_it_is_stored() -> None:
    found = lexical_anchors(ABSTRACT, {"limitation": "Commands over the network are not covered."})
    assert found["limitation"]["by"] == "lexical"
    assert found["limitation"]["sentences"] == [5]
    ((start, end),) = found["limitation"]["spans"]
    assert ABSTRACT[start:end] == "It does not cover commands that act over the network."
    (span,) = lexical_anchors(ABSTRACT, {"claim": "DryRun is a planner."})["claim"]["spans"]
    assert ABSTRACT[slice(*span)].startswith("We present DryRun"), "without the blanks before it"


def test_inflections_count_as_the_same_word_and_order_counts() -> None:
    assert aligned("Rehearsing took 3 seconds on average") == [4]
    assert aligned("One two six ten", "Ten six two one. One two six eight.") == [2]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("DryRun rehearses each command in a snapshot and raises the success rate to 58%", [2, 3]),
        # Two common words, which are a quarter of the content words, but fewer than three.
        ("A planner that rehearses each command breaks systems", [2]),
        # Three common words, which are less than a quarter of the content words.
        (
            "DryRun, a planner that rehearses each command in a snapshot of the file system, takes"
            " seconds on average, which many careful people like well",
            [2],
        ),
    ],
)
def test_a_second_sentence_adds_a_substantial_share(text: str, numbers: list[int]) -> None:
    assert aligned(text) == numbers


def test_a_sentence_without_a_common_content_word_does_not_count() -> None:
    assert aligned("The claim of it", "The rest of it. It has a claim.") == [2]


def test_the_first_of_equal_sentences_is_taken() -> None:
    assert aligned("Cats sleep", "Cats sleep. Cats sleep. Dogs run.") == [1]


@pytest.mark.parametrize("text", ["zebra", "", "that they on the"])
def test_without_a_common_content_word_there_is_no_sentence(text: str) -> None:
    assert lexical_anchors(ABSTRACT, {"claim": text})["claim"] == {
        "sentences": [], "spans": [], "by": "lexical",
    }  # fmt: skip
    assert lexical_anchors("", {"claim": text})["claim"]["sentences"] == []


def test_long_texts_take_linear_time() -> None:
    abstract = "We test the ledger of agents. " * 3000
    assert lexical_anchors(abstract, {"claim": "agents have a ledger " * 10})["claim"]["spans"]


@pytest.mark.skipif(not SHARED.exists(), reason="../shared with the gold data is missing")
def test_spans_are_sentences_of_real_abstracts() -> None:
    with SHARED.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:60]
    for row in rows:
        abstract, sentences = row["abstract"], split_sentences(row["abstract"])
        for anchor in lexical_anchors(abstract, nanda().stated(row)).values():
            shown = [abstract[start:end] for start, end in anchor["spans"]]
            assert shown == [sentences[number - 1] for number in anchor["sentences"]]
            assert 1 <= len(shown) <= 2


STORED_ABSTRACT = "Plans fail. We rehearse each plan. It doubles the success rate. It is slow."
MOVES = {"claim": "Each plan is rehearsed.", "evidence": "The success rate doubles."}
LEXICAL = lexical_anchors(STORED_ABSTRACT, MOVES)


def test_numbers_of_a_model_are_kept_with_their_spans() -> None:
    found = anchors_of(STORED_ABSTRACT, MOVES, {"evidence": [4, 3, 4], "claim": [1]})
    assert list(found) == ["claim", "evidence"]
    assert found["claim"] == {"sentences": [1], "spans": [[0, 11]], "by": "model"}
    assert found["evidence"]["sentences"] == [3, 4]
    assert [STORED_ABSTRACT[s:e] for s, e in found["evidence"]["spans"]] == [
        "It doubles the success rate.", "It is slow.",
    ]  # fmt: skip
    source = check(STORED_ABSTRACT, MOVES, found)["source"]
    assert source["claim"] == {"index": 0, "score": 0.25, "text": "Plans fail."}
    assert source["evidence"]["index"] == 2, "the sentence of the anchor with most words"


def test_an_alignment_may_find_no_sentence() -> None:
    moves = {"claim": "Zebras graze."}
    none = {"claim": {"sentences": [], "spans": [], "by": "lexical"}}
    assert (
        read_anchors(STORED_ABSTRACT, moves, none)
        == none
        == lexical_anchors(STORED_ABSTRACT, moves)
    )


@pytest.mark.parametrize("numbers", [[], [0], [5], [-1], [3, 99], [1, 2, 3, 4]])
def test_impossible_numbers_are_replaced_for_that_move_alone(numbers: list[int]) -> None:
    found = anchors_of(STORED_ABSTRACT, MOVES, {"claim": numbers, "evidence": [4], "scope": [1]})
    assert found["claim"] == LEXICAL["claim"]
    assert found["evidence"]["by"] == "model"
    assert list(found) == ["claim", "evidence"], "only stated moves have an anchor"


def test_stored_anchors_are_read_as_they_are() -> None:
    given = anchors_of(STORED_ABSTRACT, MOVES, {"claim": [1]})
    assert read_anchors(STORED_ABSTRACT, MOVES, given) == given
    run = {"sentences": [2], "spans": [[15, 24]], "by": "model"}
    assert read_anchors(STORED_ABSTRACT, MOVES, {"claim": run})["claim"] == run, (
        "a part of a sentence"
    )
    assert read_anchors(STORED_ABSTRACT, MOVES, None) == LEXICAL, "made before there were anchors"


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
        assert read_anchors(STORED_ABSTRACT, MOVES, given) == LEXICAL


def test_a_number_is_that_of_the_sentence_in_which_the_span_lies() -> None:
    stored = {"claim": {"sentences": [7], "spans": [[12, 33]], "by": "model"}}
    assert read_anchors(STORED_ABSTRACT, MOVES, stored)["claim"]["sentences"] == [2]


@pytest.mark.parametrize(
    "after", [STORED_ABSTRACT.replace(" ", "\n  "), "Plans\u200b fail.\n\n" + STORED_ABSTRACT[12:]]
)
def test_spans_are_moved_to_another_layout(after: str) -> None:
    given = anchors_of(STORED_ABSTRACT, MOVES, {"claim": [2, 4]})
    record = {"claim": MOVES["claim"], "anchors": given}
    moved = placed(record, STORED_ABSTRACT, after)
    assert moved["anchors"] == anchors_of(after, MOVES, {"claim": [2, 4]})
    assert placed(moved, after, STORED_ABSTRACT) == record
    assert placed(record, STORED_ABSTRACT, "Another abstract.") == record
    assert placed({"claim": "x"}, STORED_ABSTRACT, after) == {"claim": "x"}
    odd = {"anchors": {**given, "claim": 5}}
    assert list(placed(odd, STORED_ABSTRACT, after)["anchors"]) == ["evidence"], (
        "others are left out"
    )
