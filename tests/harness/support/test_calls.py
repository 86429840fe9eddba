"""The cache of recent results."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from harness.support.calls import TTLCache, retry_after


def test_calls_for_one_key_are_made_once_and_those_for_others_meanwhile() -> None:
    cache: TTLCache[str] = TTLCache(60)
    both, calls = threading.Barrier(2, timeout=20), []

    def call(key: str) -> str:
        calls.append(key)
        both.wait()
        return key.upper()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda key: cache.get(key, lambda: call(key)), "abab"))
    assert found == ["A", "B", "A", "B"]
    assert sorted(calls) == ["a", "b"]


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
