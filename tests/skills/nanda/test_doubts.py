"""Test the checks of reworded moves on an invented abstract."""

from __future__ import annotations

import csv

import pytest
from repository import SHARED

from skills.nanda import doubts
from skills.nanda.checks import DOUBTS, check
from skills.nanda.doubts import (
    changed_units,
    lost_negations,
    moved_numbers,
    repeated_words,
    turned_words,
)
from skills.nanda.framework import nanda
from skills.nanda.remarks import doubts_about, findings

ABSTRACT = (
    "Harbour pilots often work without radar. We present Keel, a planner that does not need tide "
    "tables. In 1,250 voyages, Keel reaches a docking accuracy of 93.5% and a fuel saving of 17%, "
    "and is faster than human pilots by 40 seconds. Keel cannot plan voyages under sail. "
    "Insurers can audit each plan, and damage is lower than in last year's voyages."
)


@pytest.mark.parametrize(
    "move",
    [
        "Keel has a docking accuracy of 93.50% and a fuel saving of 17%.",
        "Keel is tested in 1250 voyages.",
        "In 1,250 voyages, docking accuracy is 93.5 percent.",
        "Keel is faster than pilots by 40 seconds.",
        "Keel plans without tide tables.",
        "Voyages under sail cannot be planned.",
        "Insurers can audit plans, and damage is lower.",
        "A planner that needs no tide tables, audited by insurers.",
        "Ten pilots, GPT-4 and 17 other things.",
        "",
    ],
)
def test_reworded_moves_are_not_doubted(move: str) -> None:
    found = check(ABSTRACT, {"claim": move})
    assert {key: found[key] for key in DOUBTS} == {key: {} for key in DOUBTS}


@pytest.mark.parametrize(
    ("move", "found"),
    [
        ("Docking accuracy is 17%.", ["17"]),
        ("Keel reaches a docking accuracy of 17% and a fuel saving of 93.5%.", ["17"]),
        ("In 40 voyages it is faster than pilots.", ["40"]),
        ("Docking accuracy is 88%.", []),  # another check finds numbers that the abstract lacks
    ],
)
def test_a_number_beside_the_words_of_another(move: str, found: list[str]) -> None:
    assert moved_numbers(ABSTRACT, move) == found


@pytest.mark.parametrize(
    ("move", "found"),
    [
        ("It saves 17 points of fuel.", ["17 points"]),
        ("It is faster by 40 minutes.", ["40 minutes"]),
        ("It saves 40% of fuel.", ["40%"]),
        ("Accuracy is up 93.5 percentage points.", ["93.5 percentage points"]),
        ("Accuracy is 93.5 percent, and 40 s are saved.", []),
        ("It takes 1,250 hours.", []),  # the abstract's 1,250 has no unit, as the 5 of "5 to 10%"
        ("It takes 41 hours.", []),
    ],
)
def test_a_number_with_another_unit(move: str, found: list[str]) -> None:
    assert changed_units(ABSTRACT, move) == found


@pytest.mark.parametrize(
    ("move", "found"),
    [
        ("Keel, a planner that does need tide tables.", ["need"]),
        ("Keel can plan voyages under sail.", ["plan"]),
        ("Each plan can be audited by insurers.", []),
        ("Keel avoids the need for tide tables.", []),
    ],
)
def test_a_lost_negation(move: str, found: list[str]) -> None:
    assert lost_negations(ABSTRACT, move)[: len(found) or None] == found


def test_not_only_is_no_negation() -> None:
    abstract = "Keel not only plans voyages but also audits insurers."
    assert lost_negations(abstract, "Keel plans voyages and audits insurers.") == []


@pytest.mark.parametrize(
    ("move", "found"),
    [
        ("Keel is slower than human pilots.", ["slower"]),
        ("Insurers cannot audit each plan.", ["cannot"]),
        ("Slower than human pilots is Keel.", ["Slower"]),
        ("Damage is higher than in last year's voyages.", ["higher"]),
        ("Keel is faster, and damage is lower.", []),
        ("Keel cannot plan under sail.", []),
    ],
)
def test_a_word_in_place_of_its_opposite(move: str, found: list[str]) -> None:
    assert turned_words(ABSTRACT, move) == found


def test_a_quote_has_no_turned_words() -> None:
    text = "We compared models with and without a grammar, and without a schema."
    assert turned_words(text, "We compared models with a grammar.") == []
    assert turned_words(text, "Models with and without a grammar") == []


def test_repeated_words() -> None:
    move = "Keel plans Harbour voyages safely, and planned all Harbour voyages safely."
    assert repeated_words(ABSTRACT, move) == ["planned all Harbour voyages"]
    assert repeated_words(ABSTRACT, "Voyages are planned, and voyages are audited.") == []


def test_doubts_are_among_the_findings_of_their_move() -> None:
    moves = {"claim": "Keel is slower than human pilots.", "scope": "Harbour pilots."}
    checks = check(ABSTRACT, moves)
    assert checks["turned_words"] == {"claim": ["slower"]}
    doubt = "the abstract has the opposite beside these words: slower"
    assert findings("claim", {"checks": checks}, nanda().labels) == [doubt]
    assert findings("scope", {"checks": checks}, nanda().labels) == []


def test_annotations_stored_before_these_checks_have_no_doubts() -> None:
    checks = check(ABSTRACT, {"claim": "Keel is slower than human pilots."})
    for key in DOUBTS:
        del checks[key]
    assert list(doubts_about("claim", checks)) == []
    assert findings("claim", {"checks": checks}, nanda().labels) == []


def test_equal_values_are_equal_however_they_are_written() -> None:
    keys = [token.key for token in doubts.tokens("1,250 and 1250.0, twelve and 12; 1.2.3")]
    assert keys[0] == keys[2]
    assert keys[3] == keys[5]
    assert keys[-1] == "1.2.3"


@pytest.mark.skipif(not (SHARED / "gold_dev.csv").exists(), reason="../shared is missing")
def test_few_moves_of_the_gold_are_doubted() -> None:
    with (SHARED / "gold_dev.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    checked = [check(row["abstract"], nanda().stated(row)) for row in rows]
    moves = [(name, found) for found in checked for name in found["support"]]
    doubted = sum(any(doubts_about(name, found)) for name, found in moves)
    assert 0 < doubted <= 0.08 * len(moves)


@pytest.mark.parametrize(
    "number", ["10\u207b\u00b2\u00b9", "10\u00b2", "3\u00d710\u207b\u00b3", "\u2460"]
)
def test_superscripts_and_other_signs_of_numbers_are_no_numerals(number: str) -> None:
    move = f"The error falls to {number}."
    assert check(move, {"claim": move})["unsupported_numbers"] == {}
