"""The cache of recent results."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from harness.support.calls import TTLCache


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
