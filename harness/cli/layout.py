"""Layout of help texts: titled lists in two columns, wrapped to the width of the terminal."""

from __future__ import annotations

import itertools
import textwrap

WIDTH = 96
"""Columns of a help text where the width of the terminal is not known."""


def section(title: str, rows: list[tuple[str, str]], width: int) -> str:
    """Return a title with a list below it."""
    return f"{textwrap.fill(f'{title}:', width)}\n{_columns(rows, width)}"


def _columns(rows: list[tuple[str, str]], width: int) -> str:
    """Return two aligned columns, the second one wrapped; one below the other if it is narrow."""
    left = max(len(name) for name, _ in rows) + 4
    stacked = left > width // 2
    lines: list[str] = []
    for name, about in rows:
        if stacked:
            below = textwrap.indent(textwrap.fill(about, width - 6), " " * 6)
            lines += filter(None, (f"  {name}", below))
        else:
            first = f"  {name}".ljust(left)
            lines += textwrap.wrap(
                about, width, initial_indent=first, subsequent_indent=" " * left
            ) or [f"  {name}"]
    return "\n".join(lines)


def reflowed(text: str, width: int) -> str:
    """Return text that is formatted for `WIDTH`, with its lines joined and wrapped if narrower.

    An indented line, as of an example, is wrapped by itself.
    """
    if width >= WIDTH:
        return text
    parts: list[str] = []
    for indented, lines in itertools.groupby(text.splitlines(), lambda line: line[:1] in " "):
        if indented:
            parts += [_wrapped(line, width) for line in lines]
        else:
            parts.append(textwrap.fill(" ".join(lines), width))
    return "\n".join(parts)


def _wrapped(line: str, width: int) -> str:
    blanks = min(len(line) - len(line.lstrip()), 6)
    words = " ".join(line.split())
    return textwrap.fill(words, width, initial_indent=" " * blanks, subsequent_indent=" " * 6)
