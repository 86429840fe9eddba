"""The standard streams: stdout is reserved for results, other printed text goes to stderr.

Replacing `sys.stdout` while the code of a plugin runs is not enough: threads of the plugin may
print later, its child processes write to descriptor 1, and its code may close stdout. Therefore
results are written to a separate descriptor, and descriptor 1 refers to the same stream as stderr.

`shown_on` replaces the control characters of a text, and `wrapped` wraps lines for a terminal.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import textwrap
from collections import deque
from typing import IO

from harness.errors import OutputError

STDOUT, STDERR = 1, 2
_BIDI = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x2070))
"""Characters that change the direction or the order of the text after them."""
CONTROLS = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    **{code: f"\\u{code:04x}" for code in _BIDI},
}
"""Replacements of control characters on a terminal, by code point: Unicode control pictures, the
replacement character, or escape sequences.
"""
ESCAPES = {
    code: f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), *_BIDI)
    if chr(code) not in "\t\n\r"
}
"""Replacements of control characters in files and pipes, by code point: escape sequences, which a
JSON parser decodes to the same characters.
"""
_own: IO[str] | None = None
_used: deque[Prints] = deque(maxlen=16)


class Prints(io.TextIOWrapper):
    """A text stream that writes to another stream, ignores errors, and cannot be closed."""

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


def prints(stream: IO[str] | None) -> Prints:
    """Return the `Prints` object of a stream; the last 16 objects are kept and used again.

    At the end of a `redirect_stdout` block, `sys.stdout` is replaced. CPython crashes if the
    replaced object is freed while a thread prints to it.
    """
    for used in _used:
        if stream is not None and used.over is stream:
            return used
    _used.append(made := Prints(stream))
    return made


def results() -> IO[str] | None:
    """Return the stream for results, or None if stdout is closed."""
    return _own or sys.stdout


def terminal() -> IO[str] | None:
    """Return the original stdout, to check if it is a terminal; None if stdout is closed."""
    return _own or sys.__stdout__


def for_client(client: str, page: str) -> IO[str] | None:
    """Return the stream for messages to a client on stdin and stdout; None if stdin is closed.

    If stdin is a terminal, a notice on stderr names the page of the documentation.

    Raises:
        OutputError: stdout is closed.
    """
    if (out := results()) is None:
        raise OutputError(f"stdout is closed, and {client} reads the answers there")
    if sys.stdin is None:
        return None
    if sys.stdin.isatty():
        about = f"Serving {client} on stdin and stdout ({page}). Ctrl-D ends it.\n"
        prints(sys.stderr).write(about)
    return out


def set_apart() -> None:
    """Create a separate descriptor for results, and redirect descriptor 1 to stderr.

    Nothing is changed if stdout is closed, or if a test or another program has replaced stdout.
    """
    global _own
    real = sys.__stdout__
    if real is None or sys.stdout is not real or real.fileno() != STDOUT:
        return
    _own = os.fdopen(os.dup(STDOUT), "w", encoding=real.encoding, errors=real.errors)
    try:
        os.dup2(STDERR, STDOUT)
    except OSError:  # stderr is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    sys.stdout = prints(sys.stderr)


def size(stream: IO[str]) -> os.terminal_size:
    """Return columns and lines of the terminal of `stream`; COLUMNS overrides the columns."""
    # `shutil.get_terminal_size` measures only descriptor 1, which the harness redirects to stderr.
    if "COLUMNS" not in os.environ:
        with contextlib.suppress(OSError, ValueError):
            found = os.get_terminal_size(stream.fileno())
            if found.columns and found.lines:
                return found
    return shutil.get_terminal_size()


def wrapped(text: str, stream: IO[str]) -> str:
    """Return a text whose lines are wrapped to the width of the terminal `stream`.

    Lines are wrapped only between words. If `stream` is not a terminal, the text is unchanged.
    """
    width = size(stream).columns if stream.isatty() else 0
    if not width or len(text) <= width:
        return text
    return "\n".join(
        textwrap.fill(
            line, width, break_long_words=False, break_on_hyphens=False, expand_tabs=False
        )
        for line in text.split("\n")
    )


def shown_on(stream: IO[str], text: str) -> str:
    """Return `text` with visible replacements of its control characters.

    Papers, answers of models and file names may contain control characters, which move the cursor,
    hide text or change its order. Control characters are also replaced in files and pipes, since
    their content may be shown on a terminal later.
    """
    return text.translate(CONTROLS if stream.isatty() else ESCAPES)
