"""Normalized text."""

from __future__ import annotations

import pytest

from skills.nanda.text import flatten


@pytest.mark.parametrize(
    ("text", "flat"),
    [
        ("", ""),
        (" plain words ", "plain words"),
        ("two  blanks", "two blanks"),
        ("tab\tand\r\nline", "tab and line"),
        ("\x00nul\x1bescape\x7f", "nul escape"),
        ("caf\u00e9\u00a0au  lait", "caf\u00e9 au lait"),
        ("zero\u200bwidth", "zerowidth"),
    ],
)
def test_flatten(text: str, flat: str) -> None:
    assert flatten(text) == flat
