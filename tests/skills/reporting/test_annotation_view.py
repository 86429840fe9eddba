"""An annotation on terminals of several widths."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from pseudo_terminal import pseudo_terminal

from harness.terminal.console import Screen
from skills.annotate import render
from skills.nanda.checks import check
from skills.nanda.framework import nanda
from skills.reporting.annotation_view import MOST, word_diff

ABSTRACT = "We test ledgers on 300 deliveries with the TreeBench. They find faults in plans."
MOVES = {
    "claim": "Ledgers find faults in plans. " * 8,
    "evidence": "On 412 deliveries with the RockBench, ledgers find faults in plans.",
    "method": "[red]We[/red] test ledgers on 300 deliveries. They find faults in plans\x1b].",
    "scope": "Plans and deliveries.",
    "limitation": "Not stated.",
    "comparison": "Plans and deliveries.",
    "implication": "Snow melts quietly everywhere tonight.",
    "novelty": "They test ledgers.",
}


def record() -> dict[str, Any]:
    return {
        "arxiv_id": "2405.00001",
        "title": "Ledgers that find faults in the plans of deliveries",
        **MOVES,
        "checks": check(ABSTRACT, nanda().stated(MOVES)),
        "provenance": {
            "requested": "preferred",
            "resolved": "annotator",
            "backend": "fake",
            "where": "there",
            "digests": {"gguf": "0123456789abcdef"},
            "seconds": 6.24,
        },
    }


def shown(width: int) -> list[str]:
    with pseudo_terminal(width) as terminal:
        Screen(terminal.stream).show(render.for_terminal(record(), nanda()))
    return terminal.lines


@pytest.mark.parametrize("width", [50, 80, 200])
def test_no_word_is_broken_and_no_line_is_wider(width: int) -> None:
    lines = shown(width)
    assert max(map(len, lines)) <= min(width, 113)
    words = " ".join(lines).split()
    for move in nanda().moves:
        assert move.label in words
        if move.name != "method":
            assert " ".join(MOVES[move.name].split()) in " ".join(words)
    assert "2405.00001" in words


def test_doubts_stand_beside_the_move_they_concern() -> None:
    lines = shown(80)
    labels = ("Evidence", "Method", "Scope", "Limitation", "Comparison", "Implication", "Novelty")
    start = {name: next(i for i, x in enumerate(lines) if x.startswith(name)) for name in labels}
    doubts = {
        name: [line.strip() for line in lines[start[name] : start[after]] if " ! " in line]
        for name, after in itertools.pairwise(labels)
    }
    assert doubts == {
        "Evidence": [
            "! numbers that are not in the abstract: 412",
            "! names that are not in the abstract: RockBench",
        ],
        "Method": [],
        "Scope": ["! has the same content as Comparison"],
        "Limitation": [],
        "Comparison": ["! has the same content as Scope"],
        "Implication": ["! few of its words are in the abstract"],
    }


def test_passages_are_underlined_in_the_abstract() -> None:
    passage = "300 deliveries"
    start = ABSTRACT.index(passage)
    anchor = {"sentences": [1], "spans": [[start, start + len(passage)]], "by": "model"}
    with pseudo_terminal(80) as terminal:
        whole = record() | {"anchors": {"method": anchor}}
        Screen(terminal.stream).show(render.for_terminal(whole, nanda(), ABSTRACT))
    assert f"We test ledgers on \x1b[4m{passage}\x1b[0m with" in terminal.raw
    assert terminal.raw.count("\x1b[4m") == 1, "no whole sentence"
    assert "[1] We test ledgers on 300 deliveries with the TreeBench. [2] They find" in (
        " ".join(terminal.lines)
    )


def test_data_is_not_interpreted_and_the_model_comes_last() -> None:
    lines = shown(80)
    assert "Method       [red]We[/red] test ledgers on 300 deliveries. They find faults in" in lines
    assert "             plans␛]." in lines
    assert lines[-1] == "annotator · 6.2 s · instead of preferred"


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("", "", []),
        ("same words", "same words", [("same", "same words")]),
        ("", "new", [("added", "new")]),
        ("old", "", [("removed", "old")]),
        (
            "It saves 4 cm of rope.",
            "It saves 12 m of rope!",
            [
                ("same", "It saves "),
                ("removed", "4 cm "),
                ("added", "12 m "),
                ("same", "of rope"),
                ("removed", "."),
                ("added", "!"),
            ],
        ),
        (
            "The crane stops at noon.",
            "A tent in the rain leaks.",
            [("removed", "The crane stops at noon."), ("added", "A tent in the rain leaks.")],
        ),
        ("a b", "a\nb  c", [("same", "a\nb  "), ("added", "c")]),
    ],
)
def test_words_that_differ(old: str, new: str, shown: list[tuple[str, str]]) -> None:
    assert list(word_diff(old, new)) == shown


def test_long_texts_are_replaced_as_wholes() -> None:
    long = "word " * (MOST + 1)
    assert [kind for kind, _ in word_diff(long, f"{long}more")] == ["removed", "added"]
