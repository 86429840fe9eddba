"""A stranger's code under a deadline: Python cannot stop it, but nobody has to wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Overdue(Exception):
    """The time is over, and the work goes on in a thread of its own until the process ends."""


class Raised(Exception):
    """What the work raised is the cause, be it `SystemExit` or `KeyboardInterrupt`."""


def within(seconds: float, work: Callable[[], T], name: str) -> T:
    """Do the work in a thread, and wait for it no longer than told.

    The thread is a daemon, as are those that it starts, so that the process ends without them. It
    is no main thread either: code that installs a handler of signals fails in it.

    Args:
        name: the thread's.

    Raises:
        Overdue: it is not done in time.
        Raised: it raised something.
        KeyboardInterrupt: Ctrl-C while waiting; what the work itself raises by that name does not
            count as one.
    """
    attempt = _Attempt(work)
    thread = threading.Thread(target=attempt.run, name=name, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise Overdue(f"not done within {seconds:g} s")
    if attempt.error is not None:
        raise Raised from attempt.error
    return attempt.results[0]


class _Attempt(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.results: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.results.append(self._work())
        except BaseException as exc:  # noqa: BLE001  a stranger's code may raise anything
            self.error = exc
