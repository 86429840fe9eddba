"""Render texts and tables with rich, with visible control characters.

rich applies the environment variables NO_COLOR and TERM. Markup in data ("[red]") is printed
unchanged.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from harness.terminal.streams import CONTROLS, size, terminal

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.table import Table
    from rich.text import Text

TEXT_WIDTH = 100
"""Maximum width of text in columns, since longer lines are hard to read."""
UNLIMITED = 10_000
GAP = 2
LONG_WORD = 24
"""The columns of a table do not break words of up to this number of characters."""


def console(stream: IO[str], into: IO[str] | None = None) -> Console:
    """Return a console of rich for the terminal `stream`.

    Renderables must be wrapped in `Plain` before the console prints them.

    Args:
        into: a stream that receives the output instead of the terminal.
    """
    from rich.console import Console

    width, height = size(stream)  # both are passed, since rich assumes 80 columns if TERM is "dumb"
    return Console(
        file=into or stream,
        force_terminal=True,
        width=width,
        height=height,
        markup=False,
        emoji=False,
        highlight=False,
    )


def rendered(content: RenderableType, stream: IO[str]) -> str:
    """Return `content` as text with escape sequences for the terminal `stream`."""
    drawn = console(stream)
    with drawn.capture() as captured:
        drawn.print(Plain(content))
    return captured.get()


@dataclass(frozen=True, slots=True)
class Plain:
    """A renderable that shows `content` without links, and with control characters replaced."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        from rich.segment import Segment

        drawn = Segment.strip_links(console.render(self.content, options))
        for line in Segment.split_lines(drawn):
            # Trailing blanks are removed, since a line that is padded to the width of the terminal
            # could be followed by an empty line.
            while line and not line[-1].control and not line[-1].text.strip(" "):
                line.pop()
            for place, (text, style, control) in enumerate(line, start=1):
                if not control:
                    text = text.translate(CONTROLS)
                    text = text.rstrip(" ") if place == len(line) else text
                yield Segment(text, style, control)
            yield Segment.line()


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table as text, at most as wide as the terminal of the results.

    If the results do not go to a terminal, the width is unlimited. A cell may have any type; None
    is an empty cell.
    """
    from rich.console import Console

    stream = terminal()  # sys.stdout is stderr while a skill runs
    width = size(stream).columns if stream is not None and stream.isatty() else UNLIMITED
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(FittedTable.of(headers, rows))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


@dataclass(frozen=True, slots=True)
class FittedTable:
    """A renderable table without frames and colours; long cells continue on the next line.

    If the terminal is too narrow for the longest words of all columns, each row is shown as a block
    with a line for each cell that is not empty.
    """

    headers: Sequence[Text]
    rows: Sequence[Sequence[Text]]

    @classmethod
    def of(cls, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> FittedTable:
        """Return a table whose cells may have any type; None is an empty cell."""
        from rich.text import Text

        cells = [[Text("" if cell is None else str(cell)) for cell in row] for row in rows]
        return cls([Text(header) for header in headers], cells)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterable[RenderableType]:
        words = [
            max(_longest_word(header), *(min(LONG_WORD, _longest_word(cell)) for cell in cells), 1)
            for header, *cells in zip(self.headers, *self.rows, strict=True)
        ]
        if sum(words) + GAP * (len(words) - 1) <= options.max_width:
            yield _grid([self.headers, *self.rows], words)
            return
        label = max(header.cell_len for header in self.headers)
        for number, row in enumerate(self.rows):
            pairs = [
                [_left_aligned(header), _left_aligned(cell)]
                for header, cell in zip(self.headers, row, strict=True)
                if cell
            ]
            yield from [""] * bool(number)
            yield _grid(pairs, [label, options.max_width - label - GAP], fixed=True)


def _left_aligned(cell: Text) -> Text:
    cell = cell.copy()
    cell.justify = "left"
    return cell


def _longest_word(cell: Text) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, cell.plain.split()), default=0)


def _grid(rows: Iterable[Sequence[Text]], widths: Iterable[int], *, fixed: bool = False) -> Table:
    from rich.table import Table

    grid = Table.grid(padding=(0, GAP, 0, 0))
    for width in widths:
        grid.add_column(overflow="fold", min_width=width, width=width if fixed else None)
    for row in rows:
        grid.add_row(*row)
    return grid
