"""bench/checks.py and bench/corruptions.py: one false move from one true move, by type."""

from __future__ import annotations

import csv
import re
from typing import Any

import pytest

from bench import checks, corruptions
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

ABSTRACT = (
    "Harbour pilots work without radar. Keel reaches a docking accuracy of 93.5%. In trials, Keel "
    "outperforms human pilots in 17 ports, and insurers can audit each of the many written plans."
)
MOVES = {
    "claim": "Keel outperforms human pilots in 17 ports, with plans that insurers can audit.",
    "evidence": "Keel reaches a docking accuracy of 93.5% in all of the trials.",
    "comparison": "Human pilots work without radar and are worse than Keel in the trials.",
}
GOLD = [(Paper("paper_id", "p1", "", ABSTRACT), MOVES)]


@pytest.mark.parametrize("kind", list(corruptions.MAKERS))
def test_each_kind_changes_one_move(kind: str) -> None:
    made = corruptions.make(kind, GOLD, nanda(), 20)
    assert made, kind
    for case in made:
        assert case.text == MOVES[case.move] != case.false
        assert case.changed
    assert made == corruptions.make(kind, GOLD, nanda(), 20), "the same for the same seed"


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("negation lost", "Human pilots work with radar"),
        ("unit changed", "93.5 points in all"),
        ("comparison turned", "underperforms human pilots"),
        ("number moved", "in 93.5 ports"),
        ("clause repeated", "and that insurers can audit|and plans|in all of the trials, and Keel"),
    ],
)
def test_what_a_kind_changes(kind: str, found: str) -> None:
    false = " ".join(case.false for case in corruptions.make(kind, GOLD, nanda(), 20))
    assert re.search(found, false), false


def test_alarms_and_the_margin_chosen_by_them() -> None:
    good = checks.alarms(checks.pairs(GOLD))
    bad = checks.alarms([(ABSTRACT, "Keel underperforms human pilots in 17 ports.")])
    assert (good[checks.ALL], good[checks.ANY], bad[checks.ANY]) == (3, 0, 1)
    [turned] = [check for check in checks.CHECKS if check.name == "turned_words"]
    assert bad["turned_words", *turned.shipped] == 1
    assert checks.chosen_margin(turned, good, bad) == (max(turned.margins),)


def test_labels_have_no_text() -> None:
    names = {"right", "thin", "wrong move", "false", "garbled", "missed"}
    with (checks.READINGS / "nanda-annotator.csv").open(encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    assert len(rows) * len(nanda().names) >= 150
    for row in rows:
        assert set(row) == {"paper_id", "moves_sha256", *nanda().names}
        assert {row[name] for name in nanda().names} <= names
        assert re.fullmatch(r"[0-9a-f]{64}", row["moves_sha256"])
