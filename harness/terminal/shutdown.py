"""The end of the process: it comes although a plugin has left threads behind that do not end."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time

from harness.terminal.console import Screen

GRACE = 2.0
"""Seconds that threads are given: those of a library end by themselves once Python asks them to."""


def leave(code: int) -> int:
    """Return the exit code, and see to it that the process ends with it."""
    if _left():
        threading.Thread(target=_end, args=(code,), name="leaving", daemon=True).start()
    return code


def _left() -> list[str]:
    """The threads that Python waits for before it ends."""
    main = threading.main_thread()
    return [t.name for t in threading.enumerate() if not t.daemon and t is not main]


def _end(code: int) -> None:
    """End the process after a while, unless it has ended by then."""
    time.sleep(GRACE)
    if not (names := _left()):
        return
    screen = Screen()
    screen.notice(f"ends without the threads that a plugin has left behind: {', '.join(names)}")
    for stream in (screen.out, sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]  # a closed one is None
    os._exit(code)
