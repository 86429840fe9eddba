"""Output streams: results go to stdout, notices and progress to stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO

from harness.errors import OutputError, ReaderGone
from harness.terminal import stdout_guard

CONTROLS = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}
"""Replacements of control characters on a terminal: their Unicode pictures, if they have one."""


class Screen:
    """Output of a run.

    Args:
        out: stream of results.
        err: stream of notices and progress.
        quiet_results: make `emit` do nothing, since the result is printed or saved as a whole.
    """

    def __init__(
        self, out: IO[str] | None = None, err: IO[str] | None = None, *, quiet_results: bool = False
    ) -> None:
        self.out: IO[str] | None = out or stdout_guard.results()
        self.err = err or sys.stderr or io.StringIO()
        self.quiet_results = quiet_results
        self.emitted = False

    def emit(self, piece: str) -> None:
        """Print a piece of the result."""
        if not self.quiet_results and piece:
            self.emitted = True
            self._write(piece)

    def result(self, text: str) -> None:
        """Print a whole result, ended by one line feed."""
        if text:
            self._write(text if text.endswith("\n") else text + "\n")

    def _write(self, text: str) -> None:
        """Write to stdout.

        Raises:
            ReaderGone: the pipe is closed by its reader.
            OutputError: stdout is closed, or the disk is full.
        """
        if self.out is None:
            raise OutputError("stdout is closed")
        try:
            self.out.write(shown_on(self.out, text))
            self.out.flush()
        except BrokenPipeError as exc:
            self._discard_output()
            raise ReaderGone("the reader of stdout has closed it") from exc
        except OSError as exc:
            self._discard_output()
            raise OutputError(f"stdout cannot be written: {exc.strerror or exc}") from exc
        except ValueError as exc:  # an unencodable character, or a closed stream
            raise OutputError(f"stdout cannot be written: {exc}") from exc

    def _discard_output(self) -> None:
        """Prevent another failure when Python flushes stdout at exit."""
        if self.out is not None and self.out is stdout_guard.terminal():
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.out.fileno())

    def notice(self, text: str) -> None:
        """Print one line about the work to stderr; errors are ignored."""
        with contextlib.suppress(OSError, ValueError):
            self.err.write(shown_on(self.err, text) + "\n")
            self.err.flush()

    @property
    def prints(self) -> IO[str]:
        """Stream for the prints of skills, which go to stderr."""
        return stdout_guard.prints(self.err)

    @contextlib.contextmanager
    def progress(self, description: str) -> Iterator[Callable[[str], None]]:
        """Show progress on a terminal; the ticker updates the status."""
        if not self.err.isatty() or os.environ.get("TERM") == "dumb":
            yield lambda status: None
            return
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        with Progress(*columns, console=Console(file=self.err), transient=True) as bar:
            task = bar.add_task(description)
            yield lambda status: bar.update(task, description=f"{description}: {status}")


def shown_on(stream: IO[str], text: str) -> str:
    """Return text without control characters if the stream is a terminal.

    Papers, models and file names may contain control sequences, which move the cursor or hide text.
    """
    return text.translate(CONTROLS) if stream.isatty() else text
