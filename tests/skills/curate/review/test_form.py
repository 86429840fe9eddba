"""Passages that a reviewer selects in an abstract."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from skills.curate.review.form import of_selection, selected

ABSTRACT = (
    "Plans break.\nWe present Ledger,  which rehearses plans. It finds 12 faults. Plans hold."
)


def texts(spans: list[list[int]]) -> list[str]:
    return [ABSTRACT[start:end] for start, end in spans]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1", ["Plans break."]),
        (" 3, 1 ", ["Plans break.", "It finds 12 faults."]),
        ("12", ["12"]),  # words of the abstract, since it has no sentence 12
        ("Ledger, which rehearses", ["Ledger,  which rehearses"]),
        ("break. We", ["break.\nWe"]),
    ],
)
def test_sentences_and_words(given: str, expected: list[str]) -> None:
    assert texts(selected(ABSTRACT, given)) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("5", "has sentences 1 to 4"),
        ("0", "has sentences 1 to 4"),
        ("1,2,3,4", "3 sentences at most"),
        ("ledger", "not in the abstract"),
        ("", "not in the abstract"),
        ("Plans", "occur 2 times"),
    ],
)
def test_what_cannot_be_selected(given: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        selected(ABSTRACT, given)


def visible(text: str) -> int:
    return len("".join(text.split()))


def test_a_selection_is_placed_by_what_is_before_it() -> None:
    start = ABSTRACT.index("Plans hold")
    before = visible(ABSTRACT[:start])
    assert of_selection(ABSTRACT, " Plans ", before) == [[start, start + 5]]
    [span] = of_selection(ABSTRACT, "Ledger, which", visible(ABSTRACT[: ABSTRACT.index("Ledger")]))
    assert texts([span]) == ["Ledger,  which"]  # a page shows the two blanks as one
    assert texts(of_selection(ABSTRACT, "Ledger", 0)) == ["Ledger"]  # a page that is out of date
    with pytest.raises(UsageError, match="is selected"):
        of_selection(ABSTRACT, " ", 3)
    for before in (-5, 900):
        with pytest.raises(UsageError, match="occur 2 times"):
            of_selection(ABSTRACT, "Plans", before)
