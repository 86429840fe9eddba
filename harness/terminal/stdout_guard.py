"""stdout kept for results: whatever else is printed, by whomever and whenever, goes to stderr.

Replacing `sys.stdout` while a plugin's code runs does not do: a thread that it left behind prints
later, a process that it starts writes to the descriptor, and one that closes stdout closes it for
all. So results have a descriptor of their own, and the one that everybody knows leads to stderr.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections import deque
from typing import IO

STDOUT, STDERR = 1, 2
_own: IO[str] | None = None


class Prints(io.TextIOWrapper):
    """A text stream over another one, which no write can break and nobody can close."""

    def __init__(self, stream: IO[str] | None) -> None:
        super().__init__(io.BytesIO(), write_through=True)
        self.over = stream or io.StringIO()

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self.over.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.over.flush()

    def close(self) -> None:
        self.flush()


_used: deque[Prints] = deque(maxlen=16)


def prints(stream: IO[str] | None) -> Prints:
    """A `Prints` over the stream: the same one each time, kept although nothing refers to it.

    The interpreter does not hold on to `sys.stdout` while it prints, and crashes where that is
    replaced and freed meanwhile: by a `redirect_stdout` that ends while a thread goes on printing.
    """
    for used in _used:
        if stream is not None and used.over is stream:
            return used
    _used.append(made := Prints(stream))
    return made


def results() -> IO[str] | None:
    """Where results go; None where stdout is closed."""
    return _own or sys.stdout


def terminal() -> IO[str] | None:
    """The stream that tells whether results are looked at, whatever stands for stdout now."""
    return _own or sys.__stdout__


def set_apart() -> None:
    """Give results a descriptor of their own, until the process ends; all else goes to stderr."""
    global _own
    real = sys.__stdout__
    if real is None or sys.stdout is not real or real.fileno() != STDOUT:
        return  # closed, or somebody has taken it already: a test, or a program around this one
    _own = os.fdopen(os.dup(STDOUT), "w", encoding=real.encoding, errors=real.errors)
    to_stderr()
    sys.stdout = prints(sys.stderr)


def to_stderr() -> None:
    """Let the descriptor that everybody knows lead to stderr, or nowhere where that is closed."""
    try:
        os.dup2(STDERR, STDOUT)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
