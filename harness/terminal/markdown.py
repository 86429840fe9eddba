"""Render Markdown on a terminal: whole texts, and the pieces of an answer as they arrive."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, ClassVar

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.live import Live
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement, TableElement
from rich.padding import Padding
from rich.segment import Segment
from rich.text import Text
from rich.theme import Theme

from harness.terminal.rendering import TEXT_WIDTH, FittedTable, Plain, console
from harness.terminal.streams import CONTROLS

REFRESH = 0.1
"""Minimum number of seconds between two drawings of an answer that arrives in pieces."""
# The default styles of rich have a black background, which does not suit a light terminal.
THEME = Theme({"markdown.code": "bold", "markdown.code_block": "none", "markdown.h1": "bold"})
PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])


class _Heading(Heading):
    LEVEL_ALIGN: ClassVar = {}


class _Code(CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Padding(Text(str(self.text).rstrip()), (0, 0, 0, 4))


class _Table(TableElement):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        head = self.header.row.cells if self.header and self.header.row else []
        rows = self.body.rows if self.body else []
        headers = [cell.content.copy() for cell in head]
        for header in headers:
            header.stylize("bold")
        yield FittedTable(headers, [[cell.content for cell in row.cells] for row in rows])


class _Rendered(Markdown):
    """A rich renderable of Markdown; HTML is shown as text, and `<URL>` as the bare address."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
        "table_open": _Table,
    }

    def __init__(self, text: str) -> None:
        super().__init__("", hyperlinks=False)
        self.parsed = PARSER.parse(text)
        for token in self.parsed:
            if token.children:  # rich would show the address of `<URL>` twice
                token.children = [one for one in token.children if one.info != "auto"]


@dataclass(frozen=True, slots=True)
class RenderedMarkdown:
    """A Markdown text as a rich renderable."""

    text: str

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterable[RenderableType | Segment]:
        with console.use_theme(THEME):
            drawn = console.render(Constrain(_Rendered(self.text), TEXT_WIDTH), options)
            # rich begins lists with an empty line.
            yield from itertools.dropwhile(lambda segment: segment.text == "\n", drawn)


class MarkdownWriter:
    """Renders the pieces of an answer as they arrive.

    A finished block is printed once. The last block, which the next piece may change, is drawn
    repeatedly until it is finished.

    Args:
        out: the terminal.
        print_raw: writes text with escape sequences to the terminal.
    """

    def __init__(self, out: IO[str], print_raw: Callable[[str], None]) -> None:
        self._print_raw = print_raw
        # rich writes into this buffer. Otherwise, rich would print a text again if Ctrl-C
        # interrupts the output of the text.
        self._unwritten = io.StringIO()
        self._console = console(out, self._unwritten)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._text = ""
        self._drawn = -REFRESH
        self._begun = False

    def write(self, piece: str) -> None:
        """Add a piece of the answer: print finished blocks, and draw the last block again.

        Nothing is printed within `REFRESH` seconds after the last drawing.
        """
        self._text += piece.translate(CONTROLS)
        if time.monotonic() - self._drawn < REFRESH or not self._text.strip():
            return
        self._drawn = time.monotonic()
        finished = _finished(self._text)
        if finished.strip():
            self._print(finished)
            self._text = self._text[len(finished) :]
        self._live.start()
        self._live.update(_End(self._text, self._console.height - 2), refresh=True)
        self._write()

    def close(self) -> None:
        """Print the text that has not been printed yet; called after the last piece."""
        self._live.stop()
        if self._text.strip():
            self._print(self._text)
        self._text = ""
        self._write()

    def _print(self, text: str) -> None:
        if self._begun:
            self._console.print()
        self._begun = True
        self._console.print(Plain(RenderedMarkdown(text)))

    def _write(self) -> None:
        text = self._unwritten.getvalue()
        self._unwritten.seek(0)
        self._unwritten.truncate()
        if text:
            self._print_raw(text)


@dataclass(frozen=True, slots=True)
class _End:
    """The last lines of an unfinished text, as many as fit on the screen."""

    text: str
    height: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        lines = console.render_lines(Plain(RenderedMarkdown(self.text)), options, pad=False)
        for line in lines[-max(1, self.height) :]:
            yield from (*line, Segment.line())


def _finished(text: str) -> str:
    """Return the part of a text before its last block."""
    starts = [t.map[0] for t in PARSER.parse(text) if t.level == 0 and t.map and t.nesting >= 0]
    lines = text.splitlines(keepends=True)
    return "".join(lines[: starts[-1]]) if starts else ""
