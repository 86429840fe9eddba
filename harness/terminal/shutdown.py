"""Exit of the process, even if threads are still running."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time

from harness.errors import Interrupted
from harness.support.stopping import ctrl_c
from harness.terminal.console import Screen

GRACE = 2.0
"""Seconds for threads to end: those of libraries end by themselves at exit."""


def leave(code: int) -> int:
    """Return the exit code, and guarantee that the process exits with it.

    After Ctrl-C it exits here: Python would wait for threads, native libraries for their own.
    """
    if code == Interrupted.exit_code:
        _exit(code)
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
    Screen().notice(f"exiting although threads are still running: {', '.join(names)}")
    _exit(code)


def _exit(code: int) -> None:
    for stream in (Screen().out, sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]  # a closed one is None
    ctrl_c.kill_others()
    os._exit(code)
