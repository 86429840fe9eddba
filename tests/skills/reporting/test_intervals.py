"""Shares with Wilson's interval."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from skills.reporting.intervals import Share


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [  # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_a_share_has_wilsons_interval(count: int, of: int, low: float, high: float) -> None:
    assert Share(count, of).interval == pytest.approx((low, high), abs=5e-5)
    shown = TypeAdapter(Share).dump_python(Share(0, 0), mode="json")
    assert shown == {"count": 0, "of": 0, "share": None, "low": 0.0, "high": 1.0}
