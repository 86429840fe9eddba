"""Refused rows: the first ones are kept whole, and all are counted."""

from __future__ import annotations

import io

import pytest

from harness.errors import InputError
from harness.terminal.console import Screen
from skills.corpus.tables.refusals import KEPT, SHOWN, Refusals


def test_memory_is_bounded() -> None:
    refusals = Refusals()
    for number in range(KEPT + 5):
        refusals.add(InputError("is not JSON", where=f"papers.jsonl, line {number}"))
    assert len(refusals) == KEPT + 5
    assert len(refusals.as_json()) == len(refusals.errors) == KEPT
    screen = Screen(io.StringIO(), io.StringIO())
    refusals.report(screen)
    lines = screen.err.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == SHOWN + 1
    assert f"{KEPT + 5 - SHOWN:,} more rows" in lines[-1]
    with pytest.raises(InputError, match=r"^papers\.jsonl, line 0: is not JSON\. ") as raised:
        refusals.raise_first()
    assert str(raised.value).splitlines()[1:] == lines[1:]
