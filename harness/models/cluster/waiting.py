"""Waiting for what a cluster computes, while Ctrl-C, a deadline or a cancellation is noticed."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
TICK = 0.05
"""The interval, in seconds, at which `check` is called."""
MAX_SHOWN = 300
"""Maximum characters of a message of Ray."""


def result(future: Future[T], check: Callable[[], None], seconds: float) -> T:
    """Return the result of `future`, calling `check` while waiting, which may raise.

    Raises:
        TimeoutError: it has no result within `seconds`.
        Exception: that of the future.
    """
    end = time.monotonic() + seconds
    while True:
        check()
        try:
            return future.result(TICK)
        except TimeoutError:
            if future.done():  # an exception of the work itself, of the same type
                return future.result()
            if time.monotonic() > end:
                raise


def last_line(exc: Exception) -> str:
    """Return the message of an error that Ray precedes with a traceback of the node."""
    lines = str(exc).strip().splitlines()
    return lines[-1][:MAX_SHOWN] if lines else type(exc).__name__
