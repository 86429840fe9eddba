"""A cache of recent results, for calls that are repeated within a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from harness.errors import ModelUnavailable

T = TypeVar("T")


class TTLCache(Generic[T]):
    """Results of recent calls, including ModelUnavailable errors.

    Probing ten models of a server sends one request; those of several servers run concurrently.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        self._seconds = seconds
        self._results: dict[Hashable, tuple[float, T | ModelUnavailable]] = {}
        self._locks: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, call: Callable[[], T]) -> T:
        """Return `call()`, or its recent result for `key`.

        Raises:
            ModelUnavailable: `call` raised it.
        """
        with self._locks.setdefault(key, threading.Lock()):
            known = self._results.get(key)
            if known is None or time.monotonic() - known[0] > self._seconds:
                result: T | ModelUnavailable
                try:
                    result = call()
                except ModelUnavailable as exc:
                    result = exc
                known = self._results[key] = (time.monotonic(), result)
        if isinstance(known[1], ModelUnavailable):
            raise known[1]
        return known[1]
