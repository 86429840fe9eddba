"""Test arXiv ids in text."""

from __future__ import annotations

import pytest

from skills.nanda.arxiv_id import find_arxiv_id


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
