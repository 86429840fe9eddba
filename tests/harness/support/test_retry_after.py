"""The header Retry-After, as a number and as a date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from harness.support.retry_after import retry_after


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("2", 2.0),
        ("0.01", 0.01),
        ("-3", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("", None),
        (None, None),
    ],
)
def test_a_header(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_a_date() -> None:
    until = datetime.now(UTC) + timedelta(seconds=50)
    assert 40 < (retry_after(format_datetime(until, usegmt=True)) or 0) <= 50
