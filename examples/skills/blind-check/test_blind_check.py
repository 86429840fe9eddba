"""What /blind-check finds and what it ignores."""

import csv
from pathlib import Path

import pytest

from harness import UsageError
from harness.testing import folder_skill, run_skill

SKILL = folder_skill(Path(__file__).parent)


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("address", "jane.doe@example.org"),
        ("address", "0000-0002-1825-0097"),
        ("link", "https://github.com/jdoe/dryrun"),
        ("link", "github.com/jdoe/dryrun"),
        ("own-work", "our previous work"),
        ("own-work", "our earlier DryRun paper"),
        ("own-work", "we previously showed"),
        ("funding", "funded by"),
        ("funding", "We thank"),
        ("affiliation", "University of Oslo"),
        ("affiliation", "Delft Technical University"),
        ("affiliation", "at our hospital"),
    ],
)
def test_what_gives_authors_away(rule: str, found: str) -> None:
    result = run_skill(SKILL, f"One line.\nHere is {found}, and so on.")
    [finding] = result.data["findings"]
    assert (finding["line"], finding["rule"], finding["text"]) == (2, rule, found)
    allowed = run_skill(SKILL, f"Here is {found}.", options={"allow": [rule]})
    assert allowed.data["findings"] == []


@pytest.mark.parametrize(
    "text",
    [
        "Unlike prior work, which asks a second model, ours needs none.",
        "We present a layer that is supported by a new benchmark of 412 tasks.",
        "University students took part; recent work at universities agrees.",
    ],
)
def test_what_gives_nobody_away(text: str) -> None:
    result = run_skill(SKILL, text)
    assert result.data["findings"] == []
    assert result.text.startswith("Nothing found")


def test_findings_are_in_order_and_can_be_saved_as_a_table() -> None:
    result = run_skill(SKILL, 'Funded by "A, B".\nCode: www.example.org/x, and our last study.')
    rows = list(csv.DictReader(result.renderers[".csv"]().splitlines()))
    assert [(row["line"], row["rule"]) for row in rows] == [
        ("1", "funding"),
        ("2", "link"),
        ("2", "own-work"),
    ]


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(UsageError, match="--allow"):
        run_skill(SKILL, "A text.", options={"allow": ["names"]})
