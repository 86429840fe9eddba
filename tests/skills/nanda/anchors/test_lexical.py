"""Test the lexical alignment of moves with the sentences of their abstract."""

from __future__ import annotations

import csv

import pytest
from repository import ROOT

from skills.nanda.anchors.lexical import lexical_anchors
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
