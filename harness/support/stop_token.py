"""The token that requests the stop of a run; it is passed to all layers of the run."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.errors import DeadlineExceeded, Interrupted
from harness.support import ctrl_c

TICK = 0.1
"""Interval in seconds at which a waiting token checks for a stop of its parent."""


class StopToken(threading.Event):
    """An event that is set when work must end; `Call.cancel` is the token of a run.

    The runner creates the token of a run, and passes it to jobs, models, backends and generations.
    Code calls `check` between steps of the work, or passes the token on.

    Args:
        parent: another event; this token also counts as set if the parent is set.
        seconds: the time limit, counted from the creation of the token. `remaining` and `check` use
            the limit; `is_set` and `wait` do not.
    """

    def __init__(self, parent: threading.Event | None = None, seconds: float = math.inf) -> None:
        super().__init__()
        self._parent, self._limit, self._started = parent, seconds, time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the token was created."""
        return time.monotonic() - self._started

    @property
    def remaining(self) -> float:
        """Seconds until the time limit, or 0 if the limit has passed."""
        return max(0.0, self._limit - self.elapsed)

    def is_set(self) -> bool:
        """Return True if a stop of this token or its parent was requested."""
        return super().is_set() or (self._parent is not None and self._parent.is_set())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a stop of this token or its parent; return True if a stop was requested."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        if self._parent is None:
            return super().wait(timeout)
        while not self.is_set() and (left := end - time.monotonic()) > 0:
            super().wait(min(left, TICK))
        return self.is_set()

    def request_stop(self) -> None:
        """Request that the work ends, as Ctrl-C does."""
        self.set()

    def check(self) -> None:
        """Raise an error if the work must end.

        Raises:
            Interrupted: a stop was requested.
            DeadlineExceeded: the time limit has passed.
        """
        if self.is_set():
            raise Interrupted("interrupted")
        if not self.remaining:
            raise DeadlineExceeded(f"not finished within {self._limit:g} s")

    @contextlib.contextmanager
    def on_signals(
        self, *signals: int, notify: Callable[[], None] = lambda: None, unlimited: bool = False
    ) -> Iterator[None]:
        """In the block, let Ctrl-C request a stop, so that the current step is completed.

        A second Ctrl-C raises KeyboardInterrupt. The method has no effect within another block of
        `on_signals`, and in threads other than the main thread.

        Args:
            signals: other signals that request a stop.
            notify: called at the first signal.
            unlimited: True if the step may take any time after Ctrl-C; otherwise `ctrl_c`
                interrupts a step that takes too long.
        """
        before = signal.getsignal(signal.SIGINT)
        main = threading.current_thread() is threading.main_thread()
        if not main or isinstance(before, _Handler):
            yield
            return
        handler = _Handler(self, notify)
        replaced = {number: signal.signal(number, handler) for number in (signal.SIGINT, *signals)}
        try:
            with ctrl_c.unlimited() if unlimited else contextlib.nullcontext():
                yield
        finally:
            for number, previous in replaced.items():
                signal.signal(number, previous)


@dataclass(slots=True)
class _Handler:
    token: StopToken
    notify: Callable[[], None]
    called: bool = False

    def __call__(self, *_: object) -> None:
        if self.called:
            raise KeyboardInterrupt
        self.called = True
        self.token.request_stop()
        self.notify()
