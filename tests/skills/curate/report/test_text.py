"""The report of a run for a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from skills.curate.report.text import text

HINT = "... `save to FILE` writes all of them"
GATES = "rejected by the gates for"


@pytest.mark.parametrize(
    ("lost", "gates", "is_saved", "expected"),
    [
        (1, {}, False, (False, False, False)),
        (2, {}, False, (True, True, False)),
        (2, {}, True, (True, False, False)),
        (1, {"number": 1}, False, (False, False, True)),
    ],
    ids=["all shown", "by the panel", "saved", "by the gates"],
)
def test_what_is_not_shown_is_mentioned(
    lost: int, gates: dict[str, int], is_saved: bool, expected: tuple[bool, bool, bool]
) -> None:
    one = {"id": "1", "title": "A title", "decision": "undecided", "details": ["a tie"]}
    summary: dict[str, Any] = {
        "verdict": ("5 annotations", "The panel."),
        "judge": {"model": None},
        "notes": [],
        "not_kept": [one],
        "annotations": 5,
        "kept": 4 - lost,
        "pending": 1,
        "gates": gates,
    }
    shown = text(summary, is_saved=is_saved)
    assert ("\n..." in shown, HINT in shown, GATES in shown) == expected
