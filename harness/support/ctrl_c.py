"""Make Ctrl-C take effect in time, even while native code is running.

Python runs a signal handler in the main thread, between two bytecodes. So native code delays the
handler. A callback may swallow the handler's KeyboardInterrupt, and a wait in a `finally` block may
delay the exception. Therefore another thread, which the signal wakes up directly, repeats the
interruption.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

Last = Literal["end", "interrupt", "none"]
"""The last resort if Ctrl-C has no effect. "end" ends the process of a one-shot command;
"interrupt" interrupts the work of a session again; "none", at a prompt, does nothing.
"""

GRACE = 1.2
"""Seconds from Ctrl-C until the work is interrupted again."""
AGAIN = 0.4
"""Seconds from the repeated interruption, or from a second Ctrl-C, to the last resort."""
BOUNCE = 0.1
"""Seconds within which several signals count as one."""
EXIT_CODE = 130
kill_first: list[Callable[[], None]] = []
"""Functions that kill other processes without waiting; called before this process is ended."""
_ENDED, _LOST = 0, 255
"""Bytes in the pipe of `_Watch` for the end of a block, and for a swallowed KeyboardInterrupt. Any
other byte is the number of a signal.
"""
_started: list[_Watch] = []


@contextlib.contextmanager
def taking_effect(last: Last) -> Iterator[None]:
    """In the block, repeat a Ctrl-C that has no effect, and then apply the last resort.

    The function has no effect on Windows, and in threads other than the main thread.

    Args:
        last: the last resort if Ctrl-C has no effect.
    """
    if threading.current_thread() is not threading.main_thread() or os.name == "nt":
        yield
        return
    watch, hook = _watch(), sys.unraisablehook
    before, watch.last = watch.last, last
    # The previous descriptor is restored at the end, even if a prompt has set its own descriptor.
    fd = signal.set_wakeup_fd(-1 if last == "none" else watch.writer)
    sys.unraisablehook = lambda what: watch.is_lost(what) or hook(what)
    try:
        yield
    finally:
        signal.set_wakeup_fd(fd)
        sys.unraisablehook = hook
        watch.last = before
        os.write(watch.writer, bytes([_ENDED]))


@contextlib.contextmanager
def unlimited() -> Iterator[None]:
    """In the block, let the work take any time after the first Ctrl-C, which is not repeated."""
    watch = _watch()
    before, watch.is_unlimited = watch.is_unlimited, True
    try:
        yield
    finally:
        watch.is_unlimited = before


@contextlib.contextmanager
def left_to_the_system() -> Iterator[None]:
    """Let Ctrl-C kill a one-shot command while native code in the block keeps Python waiting.

    The shell reports exit code 130 in this case too. In a session, Ctrl-C waits for the native
    code.
    """
    if all(watch.last != "end" for watch in _started):
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end_process() -> NoReturn:
    """Call the functions of `kill_first`, report the interruption, and exit with `EXIT_CODE`.

    The cleanup of Python and native libraries is skipped, since this cleanup may block.
    """
    kill_others()
    # A progress bar may have hidden the cursor and written an incomplete line.
    clear = b"\r\x1b[K\x1b[?25h" if os.isatty(2) else b""
    message = b"" if any(watch.is_reported for watch in _started) else b"Interrupted.\n"
    with contextlib.suppress(OSError):
        os.write(2, clear + message)
    os._exit(EXIT_CODE)


def is_cause_of(error: BaseException) -> bool:
    """Return True if Ctrl-C caused an error while a class was created.

    Python 3.11 raises a RuntimeError if a `__set_name__` method is interrupted, for example while a
    dataclass is imported.
    """
    return isinstance(error.__cause__, KeyboardInterrupt)


def kill_others() -> None:
    """Kill the processes that must not outlive this process."""
    for kill in kill_first:
        kill()


def reported() -> None:
    """Record that the user has been informed of the interruption."""
    for watch in _started:
        watch.is_reported = True


class _Watch:
    """The thread that repeats Ctrl-C, and the pipe that wakes it up.

    Attributes:
        writer: the end of the pipe to which Python writes the number of each signal.
    """

    def __init__(self) -> None:
        self.last: Last = "none"
        self.is_unlimited = self.is_reported = False
        self._reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)  # required by `signal.set_wakeup_fd`
        self._presses = 0
        self._pressed, self._due = -math.inf, math.inf
        threading.Thread(target=self._run, name="ctrl-c", daemon=True).start()

    def is_lost(self, what: UnraisableHookArgs) -> bool:
        """Repeat a KeyboardInterrupt that a callback or destructor has swallowed.

        Returns:
            True if the exception is a KeyboardInterrupt.
        """
        if not issubclass(what.exc_type, KeyboardInterrupt):
            return False
        os.write(self.writer, bytes([_LOST]))
        return True

    def _run(self) -> None:
        while True:
            wait = None if self._due == math.inf else max(0.0, self._due - time.monotonic())
            ready, _, _ = select.select([self._reader], [], [], wait)
            if not ready:
                self._repeat()
                continue
            for byte in os.read(self._reader, 512):
                if byte == _ENDED:
                    # Reset the count, which may include a late signal of `_interrupt`.
                    self._presses, self._pressed, self._due = 0, -math.inf, math.inf
                elif byte == _LOST:
                    time.sleep(BOUNCE / 2)  # let the callback that swallowed Ctrl-C end
                    self._interrupt()
                elif byte == signal.SIGINT and time.monotonic() - self._pressed > BOUNCE:
                    self._count()

    def _count(self) -> None:
        self._presses, self._pressed = self._presses + 1, time.monotonic()
        grace = math.inf if self.is_unlimited else GRACE
        self._due = self._pressed + (grace if self._presses == 1 else AGAIN)

    def _repeat(self) -> None:
        if self.last == "end" and self._presses > 1:
            end_process()
        self._count()
        self._interrupt()

    def _interrupt(self) -> None:
        """Interrupt the main thread again, except at a prompt; the signal is not counted."""
        self._pressed = time.monotonic()
        if self.last != "none":
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _watch() -> _Watch:
    """Return the watch of this process, which is started on first use."""
    if not _started:
        _started.append(_Watch())
    return _started[0]
