"""What the selector decides about a move."""

from __future__ import annotations

import pytest

from skills.annotate.extractive.reading import balance


def test_a_right_quote_is_weighed_against_none() -> None:
    assert balance(0.5, 1.0) == pytest.approx(0.5)
    assert balance(0.8, 0.5) == pytest.approx(0.4 / 0.6), "0.4 that it is wrong counts for nothing"
    assert balance(0.8, 0.1) < 0.5 < balance(0.8, 0.3)
    assert balance(1.0, 0.2) == pytest.approx(1.0)
    assert balance(0.0, 1.0) == 0.0
