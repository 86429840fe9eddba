"""Test which titles are the same."""

from __future__ import annotations

import pytest

from skills.corpus.identity.matching import compare_titles
from skills.corpus.identity.titles import title

LONG = "Self-Supervised Planning for Agents in Noisy Warehouses"


@pytest.mark.parametrize(
    ("one", "other", "match"),
    [
        (LONG, LONG.upper() + ".", "same"),
        (LONG, "{Self-Supervised} \\emph{Planning} for {\\em Agents} in Noisy Warehouses", "same"),
        (LONG, LONG.replace("-", ""), "same"),
        ('The G\\"odel Machine & Its Limits', "Gödel machine and its limits", "same"),
        ("$\\alpha$-Planning", "\N{GREEK SMALL LETTER ALPHA}-planning", "same"),
        ("<i>Ledgers</i> &amp; Plans", "Ledgers and Plans", "same"),
        ("Planning with GPT-4", "Planning with GPT4", "same"),
        (f"{LONG}: A Survey", LONG, "subtitle"),
        (f"{LONG} \N{EM DASH} A Survey", LONG, "subtitle"),
        (LONG, "Self-Supervised Planning for Agents in Noisy", "subtitle"),
        (LONG, LONG.replace("Warehouses", "Warehuoses"), "typo"),
        (LONG, LONG.replace("Warehouses", "Warehousses"), "typo"),
        (LONG, f"{LONG} II", None),
        (f"{LONG}, Part I", f"{LONG}, Part II", None),
        (f"{LONG} (Part One)", f"{LONG} (Part Two)", None),
        ("Planning with GPT-3", "Planning with GPT-4", None),
        (LONG, f"Erratum: {LONG}", None),
        (LONG, f"Comment on {LONG}", None),
        (LONG, f"Non-{LONG}", None),
        (f"{LONG}: A Survey", f"{LONG}: A Benchmark", None),
        ("Learning with Supervised Agents", "Learning with Unsupervised Agents", None),
        ("Intrinsic Planning of Agents", "Extrinsic Planning of Agents", None),
        ("Debugging by a Planner", "Debugging by Planners", None),
    ],
)
def test_titles(one: str, other: str, match: str | None) -> None:
    assert compare_titles(title(one), title(other)) == match
    assert compare_titles(title(other), title(one)) == match
    if match:
        assert set(title(one).keys) & set(title(other).keys)


@pytest.mark.parametrize("text", ["Introduction", "Editorial.", "Book Reviews", "", "..."])
def test_titles_that_name_no_paper(text: str) -> None:
    assert title(text).is_generic
    assert title(text).keys == ()
