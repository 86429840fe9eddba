"""What keys of a review do, and how a move is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from skills.curate.review.terminal.screen import Terminal
from skills.nanda.framework import Move

STAY = -1
"""Instead of the index of a paper: the screen stays as it is."""
Act = Callable[[int], int | None]
"""Takes the index of the shown paper and returns that of the paper to show next: the same index to
redraw it, `STAY` to leave the screen as it is, None if none is left."""


def asked_move(terminal: Terminal, question: str, moves: Sequence[Move]) -> Move | None:
    """Return the move that the user names, by its number or first letters; None for none."""
    typed = terminal.line(f"{question} (1-{len(moves)}, or a name)")
    while typed:
        found = _named(typed, moves)
        if len(found) == 1:
            return found[0]
        which = " or ".join(move.label for move in found) or "no move"
        typed = terminal.line(f"{typed!r} is {which}. Which move?")
    return None


def _named(typed: str, moves: Sequence[Move]) -> list[Move]:
    """Return the moves that the user may mean: by number, or by the beginning of the label."""
    if typed.isdecimal():
        return [move for number, move in enumerate(moves, start=1) if number == int(typed)]
    begins = [m for m in moves if m.label.casefold().startswith(typed.casefold())]
    exact = [move for move in begins if move.label.casefold() == typed.casefold()]
    return exact or begins
