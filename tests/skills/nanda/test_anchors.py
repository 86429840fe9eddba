"""Test the lexical alignment of moves with the sentences of their abstract."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from typing import Any

import pytest
from repository import ROOT

from skills.nanda.anchors import (
    Anchor,
    Marked,
    Segment,
    anchor_of,
    anchors_of,
    lexical_anchors,
    marked,
    placed,
    read_anchors,
)
from skills.nanda.checks import check
from skills.nanda.framework import nanda
from skills.nanda.sentences import split_sentences
from skills.nanda.text import flatten

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
        # Two words, which are a quarter of the content words, but fewer than three.
        ("A planner that rehearses each command breaks systems", [2]),
        # Three words, which are less than a quarter.
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


MARKED_ABSTRACT = (
    "We show that plans\n fail.  Ledgers, which rehearse each plan, double success (58%)."
)


def of(*passages: str, abstract: str = MARKED_ABSTRACT) -> Anchor:
    """Return an anchor given by the model, of pieces of the abstract."""
    spans = [[abstract.index(one), abstract.index(one) + len(one)] for one in passages]
    return {"sentences": [1], "spans": spans, "by": "model"}


def pieces(sentence: Marked) -> list[tuple[str, str]]:
    return [(one.text, " ".join(one.moves)) for one in sentence.segments]


def test_the_passages_of_a_move_are_segments_of_their_sentences() -> None:
    first, second = marked(MARKED_ABSTRACT, {"claim": of("plans\n fail", "double success")})
    assert pieces(first) == [("We show that ", ""), ("plans fail", "claim"), (".", "")]
    assert pieces(second) == [
        ("Ledgers, which rehearse each plan, ", ""), ("double success", "claim"), (" (58%).", ""),
    ]  # fmt: skip


def test_where_passages_overlap_each_segment_has_its_moves() -> None:
    anchors = {
        "claim": of("Ledgers, which rehearse each plan"),
        "method": of("rehearse each plan, double"),
        "scope": of("each", "plan, double"),
    }
    assert pieces(marked(MARKED_ABSTRACT, anchors)[1]) == [
        ("Ledgers, which", "claim"),
        (" rehearse", "claim method"),
        (" each", "claim method scope"),
        (" plan", "claim method scope"),
        (", double", "method scope"),
        (" success (58%).", ""),
    ]


def test_a_move_from_all_words_of_a_sentence_belongs_to_the_sentence() -> None:
    anchors = {
        "claim": anchor_of(MARKED_ABSTRACT, [2], "lexical"),
        "method": of("rehearse each plan"),
        "scope": of("Ledgers, which", "rehearse each plan, double success (58%"),
        "novelty": of("fail.  Ledgers, which rehearse each plan, double success (58%"),
    }
    first, second = marked(MARKED_ABSTRACT, anchors)
    assert (first.moves, second.moves) == ((), ("claim", "scope", "novelty"))
    assert pieces(first)[1] == ("fail.", "novelty"), "the part of a span in this sentence"
    assert [one for one in pieces(second) if one[1]] == [("rehearse each plan", "method")]


def test_without_anchors_a_sentence_is_one_segment() -> None:
    nothing: Anchor = {"sentences": [], "spans": [], "by": "lexical"}
    for anchors in ({}, {"claim": nothing}):
        assert marked("One \x00 plan. Two.", anchors) == [
            Marked((Segment("One plan."),)), Marked((Segment("Two."),)),
        ]  # fmt: skip
    assert marked("", {}) == []


@pytest.mark.parametrize(
    ("abstract", "spans", "expected"),
    [
        # The accent stays with its letter, at either end of a span.
        ("Cafe\u0301s fail.", [[0, 4]], ["Cafe\u0301"]),
        ("Cafe\u0301s fail.", [[4, 6]], ["s"]),
        # Characters that reorder or hide text are not displayed, and are no passage.
        ("A \u202eplan\u202c\u200b fails.", [[2, 9]], ["plan"]),
        ("A \u202eplan\u202c fails.", [[2, 3]], []),
        ("A\u200b \x07 plan fails.", [[1, 10]], ["plan"]),
        # Blanks at the ends of a span are not marked.
        ("A  plan  fails.", [[1, 9]], ["plan"]),
    ],
)
def test_marked_is_what_is_visible(
    abstract: str, spans: list[list[int]], expected: list[str]
) -> None:
    anchors: dict[str, Anchor] = {"claim": {"sentences": [1], "spans": spans, "by": "model"}}
    [sentence] = marked(abstract, anchors)
    assert [one.text for one in sentence.segments if one.moves] == expected


def drawn(random_of: random.Random, length: int) -> Sequence[list[int]]:
    ends = (sorted(random_of.sample(range(length + 1), 2)) for _ in range(random_of.randrange(4)))
    return [[start, end] for start, end in ends]


def test_the_segments_of_any_spans_are_the_sentences_on_one_line() -> None:
    random_of = random.Random(18)
    for _ in range(500):
        text = "".join(random_of.choices("ab. \n,é\u0301\u200b\u202e\x00A*", k=40))
        spans = {move: list(drawn(random_of, len(text))) for move in ("claim", "scope")}
        anchors: dict[str, Anchor] = {
            move: {"sentences": [], "spans": of_move, "by": "model"}
            for move, of_move in spans.items()
        }
        found = marked(text, anchors)
        texts = ["".join(one.text for one in sentence.segments) for sentence in found]
        assert texts == [flatten(sentence) for sentence in split_sentences(text)]
        assert all(one.text for sentence in found for one in sentence.segments)
