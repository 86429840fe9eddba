"""The two streams: stdout carries results alone, stderr all that is said about the work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol


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
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.quiet_results = quiet_results
        self.emitted = False

    def emit(self, piece: str) -> None:
        """Show a piece of the result as soon as it is there."""
        if not self.quiet_results and piece:
            self.emitted = True
            self.out.write(piece)
            self.out.flush()

    def result(self, text: str) -> None:
        """Show a whole result, ended by one line feed."""
        if text:
            self.out.write(text if text.endswith("\n") else text + "\n")
            self.out.flush()

    def notice(self, text: str) -> None:
        """Say one line about the work."""
        self.err.write(text + "\n")
        self.err.flush()

    @contextmanager
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
