"""Output streams: results go to stdout, notices and progress to stderr."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self

from harness.errors import OutputError, ReaderGone
from harness.redaction import redact
from harness.terminal import streams

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.terminal.markdown import MarkdownWriter


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run.

    Attributes:
        done: the amount of finished work, such as rows; it may restart during the run.
        total: the amount of all work; None if it is unknown.
        message: a description of the current work.
    """

    done: float
    total: float | None = None
    message: str = ""


OnProgress = Callable[[Progress], None]


class Screen:
    """The output of a run.

    Args:
        out: the stream of results; by default, stdout.
        err: the stream of notices and progress; by default, stderr.
        quiet_results: True to disable `emit`, since the result is printed or saved as a whole.
        on_progress: called with each report of progress, independently of the streams.

    Attributes:
        part: a prefix of every description of progress, such as "stage 2 of 8, ".
        rates: the speeds of the nodes of a cluster, printed after the progress of a job; "" without
            a cluster.
        emitted: True if a piece of the result has been printed.
        line_ended: True if the last printed piece was rendered, and so ends with a line feed.
    """

    def __init__(
        self,
        out: IO[str] | None = None,
        err: IO[str] | None = None,
        *,
        quiet_results: bool = False,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.out: IO[str] | None = out or streams.results()
        self.err = err or sys.stderr or io.StringIO()
        self.quiet_results, self.on_progress = quiet_results, on_progress
        self.part = ""
        self.rates: object = ""
        self.emitted = self.line_ended = False

    def like(
        self,
        out: IO[str] | None = None,
        *,
        quiet_results: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Self:
        """Return a new screen with the streams of this screen.

        Args:
            out: the stream of results; None for the stream of this screen.
            quiet_results: True to disable `emit`.
            on_progress: called with each report of progress; None for the function of this screen.
        """
        other = copy.copy(self)
        other.out, other.on_progress = out or self.out, on_progress or self.on_progress
        other.quiet_results, other.part, other.rates = quiet_results, "", ""
        other.emitted = other.line_ended = False
        return other

    def report(self, done: float, total: float | None = None, message: str = "") -> None:
        """Call `on_progress` with a `Progress` of these values, if there is an `on_progress`."""
        if self.on_progress is not None:
            self.on_progress(Progress(done, total, message))

    @property
    def is_reserved(self) -> bool:
        """True if stdout must receive only the answer, since a program may read stdout."""
        return self.quiet_results or self.out is None or not self.out.isatty()

    def begin_call(self, tool: str, line: str) -> None:
        """Show that the model calls a tool; `line` is the call as one line of text."""
        self.notice(f"-> {line}")

    def end_call(self, content: str, *, failed: bool) -> None:
        """Show that the last call has ended; `content` is the text that the model receives.

        A `Screen` shows nothing; subclasses may show the result.
        """

    def emit(self, piece: str) -> None:
        """Print a piece of the result, unless `quiet_results` is True."""
        if not self.quiet_results and piece:
            self.emitted, self.line_ended = True, False
            self._write(piece)

    def markdown_writer(self) -> PlainWriter | MarkdownWriter:
        """Return a writer for a Markdown text that arrives in pieces.

        On a terminal, the text is rendered: `write(piece)` prints complete blocks, and `close()`
        prints the rest. Otherwise, or if TERM is "dumb", the pieces are printed as plain text.
        """
        if self.is_reserved or not self.is_terminal or os.environ.get("TERM") == "dumb":
            return PlainWriter(self.emit)
        from harness.terminal.markdown import MarkdownWriter

        assert self.out is not None
        return MarkdownWriter(self.out, self._emit_rendered)

    def _emit_rendered(self, text: str) -> None:
        self.emitted = self.line_ended = True
        self.write_raw(text)

    def result(self, text: str) -> None:
        """Print a whole result, and a line feed if the result does not end with one."""
        if text:
            self._write(text if text.endswith("\n") else text + "\n")

    @property
    def is_terminal(self) -> bool:
        """True if results are shown on a terminal."""
        return self.out is not None and self.out.isatty()

    def width(self, most: int) -> int:
        """Return the width of the terminal for results, at most `most` columns.

        The width is `most` if results are not shown on a terminal.
        """
        return min(most, streams.size(self.out).columns) if self.out and self.is_terminal else most

    def clear(self) -> None:
        """Clear the terminal, if results are shown on a terminal."""
        if self.is_terminal:
            self.write_raw("\x1b[H\x1b[2J")

    def show(self, content: RenderableType) -> None:
        """Print a rich renderable to stdout, which must be a terminal."""
        from harness.terminal.rendering import rendered

        assert self.out is not None
        self.write_raw(rendered(content, self.out))

    def _write(self, text: str) -> None:
        """Write text to stdout with visible control characters (see `shown_on`)."""
        self.write_raw(text if self.out is None else streams.shown_on(self.out, text))

    def write_raw(self, text: str) -> None:
        """Write text to stdout unchanged; the text may contain escape sequences.

        Raises:
            OutputError: stdout is closed, or cannot be written.
        """
        if self.out is None:
            raise OutputError("stdout is closed")
        try:
            self.out.write(text)
            self.out.flush()
        except BrokenPipeError as exc:
            self._discard_output()
            raise ReaderGone("the reader of stdout has closed it") from exc
        except OSError as exc:
            self._discard_output()
            raise OutputError(f"stdout cannot be written: {exc.strerror or exc}") from exc
        except ValueError as exc:  # raised for an unencodable character, or a closed stream
            raise OutputError(f"stdout cannot be written: {exc}") from exc

    def _discard_output(self) -> None:
        """Redirect stdout to the null device, so that flushing it at exit cannot fail again."""
        if self.out is not None and self.out is streams.terminal():
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.out.fileno())

    def notice(self, text: str) -> None:
        """Print a line about the work to stderr; errors of the stream are ignored."""
        with contextlib.suppress(OSError, ValueError):
            shown = streams.shown_on(self.err, redact(text))
            self.err.write(streams.wrapped(shown, self.err) + "\n")
            self.err.flush()

    def hint(self, text: str) -> None:
        """Print a dim line to stderr if stderr is a terminal."""
        if self.err.isatty():
            from rich.text import Text

            from harness.terminal.rendering import rendered

            with contextlib.suppress(OSError, ValueError):
                self.err.write(rendered(Text(text, "dim"), self.err))
                self.err.flush()

    @property
    def prints(self) -> IO[str]:
        """The stream that replaces stdout while a skill runs; its text goes to stderr."""
        return streams.prints(self.err)

    @contextlib.contextmanager
    def in_part(self, part: str) -> Iterator[None]:
        """Put `part`, such as "stage 2 of 8", before each progress description in the block."""
        before, self.part = self.part, f"{part}, "
        try:
            yield
        finally:
            self.part = before

    @contextlib.contextmanager
    def progress(
        self, description: str, *, reported: bool = True
    ) -> Iterator[Callable[[str], None]]:
        """Show progress within the block; yield a function that shows a new status text.

        Args:
            description: the work in the block.
            reported: False to show the progress only on the terminal, without calling `report`.
        """
        description = self.part + description
        ticks = itertools.count(1)
        if reported:
            self.report(0, message=description)

        def report(status: str) -> None:
            if reported:
                self.report(next(ticks), message=f"{description}: {status}")

        if not self.err.isatty() or os.environ.get("TERM") == "dumb":
            yield report
            return
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        parts = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
        with Progress(*parts, console=Console(file=self.err), transient=True) as bar:
            task = bar.add_task(description)

            def update(status: str) -> None:
                bar.update(task, description=f"{description}: {status}")
                report(status)

            yield update


class PlainWriter:
    """A writer that prints the pieces of a text as they arrive."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write

    def close(self) -> None:
        """Do nothing, since all pieces have been printed."""


def render_markdown(text: str) -> RenderableType:
    """Return a Markdown text as a rich renderable, for `Result.terminal`."""
    from harness.terminal.markdown import RenderedMarkdown

    return RenderedMarkdown(text)
