"""What the process shares with a stranger's code, put back as it was once that code has run."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from harness.terminal import stdout_guard

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGALRM", "SIGUSR1", "SIGUSR2")


@contextlib.contextmanager
def put_back(say: Callable[[str], None]) -> Iterator[None]:
    """Put back the working folder, the handlers of signals and the standard streams.

    Without the first, the paths of the next line mean other files; without the second, Ctrl-C does
    not end the work any more.

    Args:
        say: told what had been changed, if anything had: "changed the working folder, ...".
    """
    folder, handlers, given = _folder(), _handlers(), (sys.stdin, sys.stderr)
    try:
        yield
    finally:
        changed = []
        if folder is not None and _folder() != folder:
            with contextlib.suppress(OSError):
                os.chdir(folder)
            changed.append("the working folder")
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
                changed.append(f"the handler of {number.name}")
        if (sys.stdin, sys.stderr) != given:
            sys.stdin, sys.stderr = given
            changed.append("the standard streams")
        if stdout_guard.mend():
            changed.append("stdout, by closing it")
        if changed:
            say(f"changed {', '.join(changed)}; that was put back")


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109  as it is, for os.chdir
    except OSError:  # it has been deleted
        return None


def _handlers() -> dict[signal.Signals, signal.Handlers | Callable[..., object] | int]:
    """The handlers that Python knows; only the main thread may set them."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    return {number: handler for number, handler in handlers.items() if handler is not None}
