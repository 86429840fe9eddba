"""Exit of the process, even if a plugin has left threads running."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time

from harness.terminal.console import Screen

GRACE = 2.0
"""Seconds for threads to end: those of libraries end by themselves at exit."""


def leave(code: int) -> int:
    """Return the exit code, and guarantee that the process exits with it."""
    if _left():
        threading.Thread(target=_end, args=(code,), name="shutdown", daemon=True).start()
    return code


def _left() -> list[str]:
    """Return the names of threads that Python waits for at exit."""
    main = threading.main_thread()
    return [t.name for t in threading.enumerate() if not t.daemon and t is not main]


def _end(code: int) -> None:
    """Exit after the grace period if threads are still running."""
    time.sleep(GRACE)
    if not (names := _left()):
        return
    screen = Screen()
    screen.notice(f"exiting although threads of a plugin are still running: {', '.join(names)}")
    for stream in (screen.out, sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]  # a closed one is None
    os._exit(code)
