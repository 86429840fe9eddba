"""Limit the time of calls, and cache recent results.

Python cannot stop a thread. If a call exceeds its time limit, its thread continues, and the caller
does not wait for the thread any longer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from harness.errors import ModelUnavailable

T = TypeVar("T")


class Overdue(Exception):
    """Raised if a call exceeds its time limit; the call continues in a daemon thread."""


class Raised(Exception):
    """Raised if a call raised an exception that is not an `Exception`, such as SystemExit.

    `__cause__` is the exception of the call. `within` raises `Raised` instead of this exception, so
    that a KeyboardInterrupt of `within` always comes from Ctrl-C.
    """


def within(seconds: float, work: Callable[[], T], name: str) -> T:
    """Call `work` in a daemon thread, wait at most `seconds`, and return its result.

    `work` cannot install signal handlers, since it does not run in the main thread.

    Args:
        name: the name of the thread.

    Raises:
        Overdue: the call has not finished in time.
        Exception: raised by `work`.
        Raised: `work` raised another exception, such as SystemExit.
        KeyboardInterrupt: Ctrl-C was pressed while waiting.
    """
    thread = _Call(work, name, daemon=True)
    thread.join(seconds)
    if thread.is_alive():
        raise Overdue(f"not finished within {seconds:g} s")
    if isinstance(thread.error, Exception):
        raise thread.error
    if thread.error is not None:
        raise Raised from thread.error
    return thread.result


def in_thread(work: Callable[[], T], name: str) -> T:
    """Call `work` in a thread, so that Ctrl-C cannot interrupt native code; return the result.

    After Ctrl-C the thread completes the work, and the result is dropped. At exit Python waits for
    the thread, since a native library must not be unloaded while its code runs.

    Args:
        name: the name of the thread.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed while waiting.
        BaseException: raised by `work`.
    """
    thread = _Call(work, name, daemon=False)
    thread.join()
    if thread.error is not None:
        raise thread.error
    return thread.result


class _Call(threading.Thread, Generic[T]):
    """A thread that calls `work`, and stores the result or the raised exception.

    The thread is started when the object is created.

    Attributes:
        result: the result; it is set only if `work` has returned.
        error: the raised exception, or None.
    """

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

    For example, ten models of a server are probed with one request. Calls for different keys run
    concurrently.

    Args:
        seconds: how long a result is kept.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        self._seconds = seconds
        self._results: dict[Hashable, tuple[float, T | ModelUnavailable]] = {}
        self._locks: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, call: Callable[[], T]) -> T:
        """Return the cached result for `key`; if there is no recent result, call `call` first.

        Raises:
            ModelUnavailable: raised by this call or by the cached call.
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
