"""Test how sentences are divided where the passages of moves begin and end."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from skills.nanda.anchors import Anchor, anchor_of
from skills.nanda.marked_sentences import Marked, Segment, marked
from skills.nanda.sentences import split_sentences
from skills.nanda.text import flatten

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
        # Characters that reorder or hide text are not displayed, and are not part of a passage.
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
