"""Plain tables for results: aligned columns without frames and colours."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence

from harness.terminal import stdout_guard

UNLIMITED = 10_000


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table, as wide as the terminal, or of unlimited width if stdout is not one.

    Long cells are continued in the next line.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="")
    for header in headers:
        drawn.add_column(header, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    stream = stdout_guard.terminal()  # sys.stdout is stderr while a skill runs
    seen = stream is not None and stream.isatty()
    width = shutil.get_terminal_size().columns if seen else UNLIMITED
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(drawn)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in lines)
