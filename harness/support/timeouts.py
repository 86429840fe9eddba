"""Calling plugin code with a deadline.

Python cannot stop a thread, but the caller need not wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

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
    results: list[T] = []
    errors: list[BaseException] = []

    def attempt() -> None:
        try:
            results.append(work())
        except BaseException as exc:  # noqa: BLE001  plugin code may raise anything
            errors.append(exc)

    thread = threading.Thread(target=attempt, name=name, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise Overdue(f"not finished within {seconds:g} s")
    if errors:
        raise Raised from errors[0]
    return results[0]
