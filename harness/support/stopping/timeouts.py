"""Calling code in a thread, and not waiting for it any longer.

Python cannot stop a thread, but the caller need not wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Overdue(Exception):
    """The deadline passed; the call continues in a daemon thread until the process ends."""


class Raised(Exception):
    """The call raised its `__cause__`, which may be `SystemExit` or `KeyboardInterrupt`."""


def within(seconds: float, work: Callable[[], T], name: str) -> T:
    """Call `work` in a daemon thread and wait at most `seconds` for its result.

    Signal handlers cannot be installed by `work`, since it does not run in the main thread.

    Args:
        name: the name of the thread.

    Raises:
        Overdue: it has not finished in time.
        Raised: it raised an exception.
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
    """Call `work` in a thread, where Ctrl-C does not interrupt its native code.

    After Ctrl-C the thread completes the work and frees its result. Python waits for it at exit,
    since native code must not run while its libraries are unloaded.

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
    """A started thread that keeps the result of `work`, or its error."""

    result: T

    def __init__(self, work: Callable[[], T], name: str, *, daemon: bool) -> None:
        super().__init__(name=name, daemon=daemon)
        self._work = work
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as exc:  # noqa: BLE001  plugin code may raise anything
            self.error = exc
