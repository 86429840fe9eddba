"""The two streams: stdout carries results alone, stderr all that is said about the work."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import IO, Protocol

from harness.errors import OutputError, ReaderGone
from harness.terminal import stdout_guard

CONTROLS = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}
"""Control characters, and what stands for them on a terminal: their pictures, where there are."""


class Ticker(Protocol):
    """A running piece of work that can say how far it is."""

    def __call__(self, status: str) -> None: ...


class Screen:
    """Where a run shows what it has and what it is doing.

    Args:
        out: takes results.
        err: takes notices and progress.
        quiet_results: results are kept from `emit` because the door prints them as one JSON object.
    """

    def __init__(
        self, out: IO[str] | None = None, err: IO[str] | None = None, *, quiet_results: bool = False
    ) -> None:
        self.out: IO[str] | None = out or stdout_guard.results()
        self.err = err or sys.stderr or io.StringIO()
        self.quiet_results = quiet_results
        self.emitted = False

    def emit(self, piece: str) -> None:
        """Show a piece of the result as soon as it is there."""
        if not self.quiet_results and piece:
            self.emitted = True
            self._write(piece)

    def result(self, text: str) -> None:
        """Show a whole result, ended by one line feed."""
        if text:
            self._write(text if text.endswith("\n") else text + "\n")

    def _write(self, text: str) -> None:
        """Write to stdout.

        Raises:
            ReaderGone: whoever read it has stopped.
            OutputError: it is closed, or what it leads to is full.
        """
        if self.out is None:
            raise OutputError("stdout is closed")
        try:
            self.out.write(shown_on(self.out, text))
            self.out.flush()
        except BrokenPipeError as exc:
            self._let_go()
            raise ReaderGone("nobody reads stdout any more") from exc
        except OSError as exc:
            self._let_go()
            raise OutputError(f"stdout cannot be written: {exc.strerror or exc}") from exc
        except ValueError as exc:  # a character that its encoding lacks, or it was closed
            raise OutputError(f"stdout cannot be written: {exc}") from exc

    def _let_go(self) -> None:
        """Keep Python from trying again, and complaining, when it ends."""
        if self.out is not None and self.out is stdout_guard.terminal():
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.out.fileno())

    def notice(self, text: str) -> None:
        """Say one line about the work; where nobody listens it is lost, and no reason to stop."""
        with contextlib.suppress(OSError, ValueError):
            self.err.write(shown_on(self.err, text) + "\n")
            self.err.flush()

    @property
    def prints(self) -> IO[str]:
        """Takes what a skill prints: it goes where notices go, and is lost like them."""
        return stdout_guard.prints(self.err)

    @contextlib.contextmanager
    def progress(self, description: str) -> Iterator[Ticker]:
        """Show, on a terminal, that work goes on; the ticker changes what is said of it."""
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
    """The text as this stream takes it.

    A terminal would obey what papers, models and names of files hold: move the cursor, hide what
    was said, set its title. Files and pipes get it as it is.
    """
    return text.translate(CONTROLS) if stream.isatty() else text
