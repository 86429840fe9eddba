"""Plain tables for results: aligned columns without frames and colours."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.terminal import stdout_guard
from harness.terminal.rendering import columns

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table
    from rich.text import Text

UNLIMITED = 10_000
GAP = 2
LONG_WORD = 24
"""A longer word of a cell, such as a path, may be broken."""


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table, as wide as the terminal, or of unlimited width if stdout is not one."""
    from rich.console import Console

    stream = stdout_guard.terminal()  # sys.stdout is stderr while a skill runs
    width = columns(stream) if stream is not None and stream.isatty() else UNLIMITED
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(FittedTable.of(headers, rows))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in lines)


@dataclass(frozen=True, slots=True)
class FittedTable:
    """A table for rich, whose long cells are continued in the next line.

    Where it is too narrow for the words of all columns, each row becomes a block with a line for
    each column.
    """

    headers: Sequence[Text]
    rows: Sequence[Sequence[Text]]

    @classmethod
    def of(cls, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> FittedTable:
        """Return the table of any cells; None is an empty one."""
        from rich.text import Text

        cells = [[Text("" if cell is None else str(cell)) for cell in row] for row in rows]
        return cls([Text(header) for header in headers], cells)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterable[RenderableType]:
        widths = self._widths(options.max_width)
        if widths is not None:
            yield _grid([self.headers, *self.rows], widths)
            return
        label = max(header.cell_len for header in self.headers)
        for number, row in enumerate(self.rows):
            pairs = [
                (_left(header), _left(cell))
                for header, cell in zip(self.headers, row, strict=True)
                if cell
            ]
            yield from [""] * bool(number)
            yield _grid(pairs, (label, options.max_width - label - GAP))

    def _widths(self, width: int) -> list[int] | None:
        """Return the widths at which no word is broken; None if `width` is too small."""
        columns = list(zip(self.headers, *self.rows, strict=True))
        wanted = [max(map(_length, column)) for column in columns]
        widths = [
            max(_word(header), min(LONG_WORD, max(map(_word, cells), default=0)))
            for header, *cells in columns
        ]
        left = width - sum(widths) - GAP * (len(widths) - 1)
        if left < 0:
            return None
        # The columns that need least are widened first, so that sentences get the rest.
        places = sorted(range(len(widths)), key=lambda place: wanted[place] - widths[place])
        for number, place in enumerate(places):
            more = min(wanted[place] - widths[place], left // (len(places) - number))
            widths[place] += more
            left -= more
        return widths


def _left(cell: Text) -> Text:
    """Return a cell that is not centered."""
    cell = cell.copy()
    cell.justify = "left"
    return cell


def _length(cell: Text) -> int:
    return max((line.cell_len for line in cell.split()), default=0)


def _word(cell: Text) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, cell.plain.split()), default=0)


def _grid(rows: Iterable[Sequence[Text]], widths: Sequence[int]) -> Table:
    from rich.table import Table

    drawn = Table.grid(padding=(0, GAP, 0, 0))
    for width in widths:
        drawn.add_column(overflow="fold", width=width)
    for row in rows:
        drawn.add_row(*row)
    return drawn
