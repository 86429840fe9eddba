"""Normalized text."""

from __future__ import annotations

import pytest

from skills.nanda import text as text_module
from skills.nanda.paper import find_arxiv_id
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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://arxiv.org/abs/2405.12345v2", "2405.12345"),
        ("see [this](http://export.arxiv.org/pdf/cs.AI/0112017v1.pdf).", "cs.AI/0112017"),
        ("arXiv: 0704.0001", "0704.0001"),
        ("arXiv:2405.123456", None),
        ("2405.12345", None),
        ("https://arxiv.org/list/cs.MA", None),
        ("https://doi.org/10.1/2405.12345", None),
    ],
)
def test_arxiv_ids_in_text(text: str, found: str | None) -> None:
    assert find_arxiv_id(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2405.12345v3", "2405.12345"),
        ("[2405.12345]", "2405.12345"),
        ("math.GT/0309136", "math.GT/0309136"),
        ("12405.12345", None),
        ("2413.12345", None),
        ("https://doi.org/10.1/2405.12345", None),
    ],
)
def test_bare_arxiv_ids(text: str, found: str | None) -> None:
    assert find_arxiv_id(text, allow_bare=True) == found


def test_few_results_of_long_texts_are_kept() -> None:
    called: list[str] = []

    def length(text: str) -> int:
        called.append(text)
        return len(text)

    counted = text_module.kept(8, long=3)(length)
    short, long = list("abcdefgh"), [letter * 4 for letter in "abcdefgh"]
    assert [counted(text) for text in (*short, *long)] == [1] * 8 + [4] * 8
    assert [counted(text) for text in (*long[4:], *short)] == [4] * 4 + [1] * 8
    assert called == [*short, *long]
    counted(long[0])
    assert called[-1] == long[0], "only the last four long texts are kept"
