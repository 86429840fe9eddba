"""Limit the time of calls, cache recent results, and parse Retry-After.

Python cannot stop a thread, but a caller need not wait for it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from harness.errors import ModelUnavailable

T = TypeVar("T")


class Overdue(Exception):
    """Raised if a deadline passed; the call continues in a daemon thread."""


class Raised(Exception):
    """Raised if a call raised an exception, which is `__cause__` and may be SystemExit."""


def within(seconds: float, work: Callable[[], T], name: str) -> T:
    """Call `work` in a daemon thread, wait at most `seconds`, and return its result.

    `work` cannot install signal handlers, since it does not run in the main thread.

    Args:
        name: the name of the thread.

    Raises:
        Overdue: the call has not finished in time.
        Raised: the call raised an exception.
        KeyboardInterrupt: Ctrl-C was pressed while waiting.
    """
    thread = _Call(work, name, daemon=True)
    thread.join(seconds)
    if thread.is_alive():
        raise Overdue(f"not finished within {seconds:g} s")
    if thread.error is not None:
        raise Raised from thread.error
    return thread.result


def in_thread(work: Callable[[], T], name: str) -> T:
    """Call `work` in a thread, so that Ctrl-C does not interrupt native code; return its result.

    After Ctrl-C the thread completes the work and frees its result. At exit Python waits for the
    thread, since a native library must not be unloaded while its code runs.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed while waiting.
        BaseException: whatever `work` raises.
    """
    thread = _Call(work, name, daemon=False)
    thread.join()
    if thread.error is not None:
        raise thread.error
    return thread.result


class _Call(threading.Thread, Generic[T]):
    """A started thread that stores the result of `work`, or its error."""

    result: T

    def __init__(self, work: Callable[[], T], name: str, *, daemon: bool) -> None:
        super().__init__(name=name, daemon=daemon)
        self._work = work
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as exc:  # noqa: BLE001 plugin code may raise any exception
            self.error = exc


class TTLCache(Generic[T]):
    """A cache of the results of recent calls, including ModelUnavailable errors.

    Probing ten models of a server sends one request; probes of several servers run concurrently.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        self._seconds = seconds
        self._results: dict[Hashable, tuple[float, T | ModelUnavailable]] = {}
        self._locks: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, call: Callable[[], T]) -> T:
        """Return the recent result for `key`, or else call `call` and cache its result.

        Raises:
            ModelUnavailable: `call` raised it, now or recently.
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


def retry_after(header: str | None) -> float | None:
    """Parse a Retry-After header; return the seconds to wait, or None.

    The header is a number of seconds or a date. The result is None if the header is missing or
    malformed, and 0 for a date in the past.
    """
    try:
        seconds = float(header or "")
    except ValueError:
        from datetime import UTC, datetime
        from email.utils import parsedate_to_datetime

        try:
            date = parsedate_to_datetime(header or "")
        except ValueError:
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
