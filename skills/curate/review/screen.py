"""Show papers under review on a terminal: rich draws a paper, prompt_toolkit reads keys.

Everything is written to stderr, since stdout is reserved for the result.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TextIO, cast

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.output.plain_text import PlainTextOutput
from prompt_toolkit.utils import is_dumb_terminal
from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from harness.errors import UsageError
from harness.terminal.console import Screen
from harness.terminal.rendering import Plain
from skills.curate.review.disagreement import Dispute, Row, outline
from skills.curate.review.form import MoveView, Sheet
from skills.nanda.framework import Move
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

_COLOURS = ("cyan", "green", "magenta", "yellow", "bright_blue", "red", "bright_cyan", "bright_red")
_NO_TERMINAL = "Run the line where both stdin and stderr are a terminal."
STAY = -1
"""The result of an `Act` that leaves the screen unchanged."""
Act = Callable[[int], int | None]
"""The action of a key on the paper at an index; the result is the index of the next paper.

The result is the same index to redraw the paper, `STAY` to leave the screen unchanged, or None if
no paper is left.
"""
DIFFERS = "bold underline yellow"
"""The style of words that differ: underlined, so that it is visible without colours."""
NARROW = 70
"""Minimum width of a terminal on which the texts of reviewers are placed side by side."""


class Terminal:
    """The user's terminal, created by `opened`."""

    def __init__(self, screen: Screen) -> None:
        self._console = Console(file=screen.err, highlight=False, emoji=False, markup=False)

    def show(self, what: RenderableType, style: str = "", *, whole: bool = False) -> None:
        """Print a text or another renderable.

        Args:
            whole: True to print a long line without line breaks, so that it can be copied.
        """
        self._console.print(Plain(what), style=style, soft_wrap=whole)

    @property
    def width(self) -> int:
        return self._console.width

    def key(self, message: str, keys: str) -> str:
        """Wait until the user presses one of `keys`, and return the key as written in `keys`.

        The keys work in upper and lower case. Ctrl-C and Ctrl-D return "q".
        """
        bindings = KeyBindings()
        for key in keys:
            for written in {key, key.upper()}:
                bindings.add(written)(lambda event, key=key: event.app.exit(result=key))
        # Without these bindings, other keys and pasted texts would be typed into the prompt.
        for other in (Keys.Any, Keys.BracketedPaste):
            bindings.add(other)(lambda event: None)
        session: PromptSession[str] = PromptSession(key_bindings=bindings, erase_when_done=True)
        pressed = ""
        while pressed not in tuple(keys):  # the Enter key returns ""
            try:
                pressed = session.prompt(f"{message} ")
            except (KeyboardInterrupt, EOFError):
                return "q"
        return pressed

    def line(
        self, message: str, text: str = "", typing: Callable[[str], None] | None = None
    ) -> str | None:
        """Let the user edit `text` until Enter, and return the text; None after Ctrl-C or Ctrl-D.

        Args:
            typing: called with the text after every change; None for no call.
        """
        dumb = is_dumb_terminal()  # a dumb terminal cannot show a text to be edited
        session: PromptSession[str] = PromptSession()
        if typing is not None:
            session.default_buffer.on_text_changed += lambda buffer: typing(buffer.text)
        try:
            typed = session.prompt(f"{message} ", default="" if dumb else text)
        except (KeyboardInterrupt, EOFError):
            return None
        return text if dumb and not typed.strip() else flatten(typed)


@contextlib.contextmanager
def opened(
    screen: Screen, keys: Input | None = None, terminal: Output | None = None
) -> Iterator[Terminal]:
    """Open the terminal of this process.

    Args:
        keys, terminal: input and output of prompt_toolkit, for tests; by default stdin and stderr.

    Raises:
        UsageError: stdin or stderr is not a terminal.
    """
    if keys is None:
        if sys.stdin is None or not sys.stdin.isatty() or not screen.err.isatty():
            raise UsageError("a review needs a terminal", hint=_NO_TERMINAL)
        # stdin is passed explicitly, since stdout is redirected while a skill runs.
        keys = create_input(sys.stdin)
        stream = cast("TextIO", screen.err)
        terminal = PlainTextOutput(stream) if is_dumb_terminal() else create_output(stream)
    with create_app_session(keys, terminal):
        yield Terminal(screen)


def drawn(sheet: Sheet, head: str) -> RenderableType:
    """Return the view of a paper under review: title, abstract, and table of moves.

    The view fits any width, and needs no colours.

    Args:
        head: the heading, which states the progress of the review.
    """
    return _page(sheet.paper, head, _abstract(sheet), "", _moves(sheet), "")


def _page(paper: Paper, head: str, *parts: RenderableType) -> RenderableType:
    """Return the view of a paper: heading, title and parts."""
    title = Text.assemble((flatten(paper.id), "dim"), "  ", (paper.title, "bold"))
    return Group(Rule(head, align="left", style="dim"), title, "", *parts)


def _abstract(sheet: Sheet) -> Text:
    """Return the abstract, with each move in brackets after its sentence or passage."""
    views, text = {view.name: view for view in sheet.moves}, Text()

    def name(moves: Iterable[str]) -> None:
        for one in (views[move] for move in moves):
            text.append(" ")
            # Blanks are replaced, so that no line break divides the label.
            label = f"[{one.number}:{one.label.replace(' ', '-')}{'?' * one.is_weak}]"
            text.append(label, _mark(one))

    for sentence in sheet.sentences:
        for piece in sentence.segments:
            moves = piece.moves or sentence.moves
            text.append(piece.text, _colour(views[moves[0]]) if moves else "")
            name(piece.moves)
        name(sentence.moves)
        text.append(" ")
    return text


def _grid() -> Table:
    """Return an empty table with columns for the number, the label and the text of moves."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _moves(sheet: Sheet) -> Table:
    table = _grid()
    for view in sheet.moves:
        cell = Text(view.text, "" if view.is_stated else "dim")
        if view.is_changed:
            cell.append(f"\nwas: {view.before or '(empty)'}", "dim")
        for finding in view.findings:
            cell.append("\n! " if cell else "! ", "bold yellow")
            cell.append(finding, "yellow")
        if view.suggested:
            cell.append(f"\n? {view.suggested}", "yellow")
        style = _mark(view) if view.is_stated else "dim"
        table.add_row(Text(str(view.number), style), Text(view.label, style), cell)
    return table


def _colour(view: MoveView) -> str:
    return _COLOURS[(view.number - 1) % len(_COLOURS)]


def _mark(view: MoveView) -> str:
    return f"bold {_colour(view)}"


def drawn_dispute(paper: Paper, dispute: Dispute, head: str) -> RenderableType:
    """Return the view of a disputed paper: abstract, decisions, and table of moves.

    Args:
        head: the heading, which states the progress of the review.
    """
    verdicts = []
    for place, one in enumerate(dispute.decisions, start=1):
        reason = f": {one.reason}" if one.reason else ""
        verdicts.append(Text.assemble((f"{place} ", "bold"), flatten(f"{outline(one)}{reason}")))
    abstract = Text(flatten(paper.abstract))
    return _page(paper, head, abstract, "", *verdicts, "", drawn_choices(dispute), "")


def drawn_choices(dispute: Dispute) -> RenderableType:
    """Return a table with the chosen text of each move.

    If no text is chosen, the table shows the text on which the reviewers agree, or "differs".
    """
    table = _grid()
    for row in dispute.rows:
        if row.chosen is not None and (row.differs or row.place is None):
            by = "another text" if row.place is None else names_of(dispute)[row.place]
            cell = Text.assemble(row.chosen or "(empty)", (f"  {by}", "green"))
        elif row.differs:
            cell = Text("differs", "yellow")
        else:
            cell = Text(row.texts[0] or "(empty)", "dim")
        style = "bold" if row.differs else "dim"
        table.add_row(Text(str(row.number), style), Text(row.move.label, style), cell)
    return table


def drawn_sides(row: Row, dispute: Dispute, width: int) -> RenderableType:
    """Return the texts of the reviewers for a move, with marked differences.

    The texts are side by side if `width` is at least `NARROW`. If the user has chosen another text
    for the move, this text follows the texts of the reviewers.

    Args:
        width: the width of the terminal, in characters.
    """
    cells = []
    for place, name in enumerate(names_of(dispute)):
        is_chosen = row.place == place
        cell = Text.assemble((f"{'> ' * is_chosen}{name}\n", "bold green" if is_chosen else "dim"))
        for kind, text in row.side(place):
            words = text.rstrip()
            cell.append(words, "" if kind == "same" else DIFFERS).append(text[len(words) :])
        cells.append(cell if row.texts[place] else cell.append("(empty)", "dim"))
    sides = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for _ in cells:
        sides.add_column(overflow="fold", ratio=1)
    sides.add_row(*cells)
    parts: list[RenderableType] = [Text(row.move.label, "bold")]
    parts += cells if width < NARROW else [sides]
    if row.chosen is not None and row.place is None:
        parts.append(Text.assemble(("> another text\n", "green"), row.chosen or "(empty)"))
    return Group(*parts, "")


def names_of(dispute: Dispute) -> list[str]:
    """Return the number and the name of each reviewer of a disagreement, such as "1 ada".

    The number is the key that chooses the texts of the reviewer.
    """
    numbered = enumerate(dispute.decisions, start=1)
    return [f"{place} {flatten(one.reviewer) or '(no name)'}" for place, one in numbered]


def asked_move(terminal: Terminal, question: str, moves: Sequence[Move]) -> Move | None:
    """Prompt until the user enters the number or the first letters of exactly one move.

    Returns:
        The move, or None if the user enters nothing or presses Ctrl-C or Ctrl-D.
    """
    typed = terminal.line(f"{question} (1-{len(moves)}, or a name)")
    while typed:
        given = typed.casefold()
        begun = [move for move in moves if move.label.casefold().startswith(given)]
        found = [move for move in begun if move.label.casefold() == given] or begun
        if typed.isdecimal():
            found = [move for number, move in enumerate(moves, 1) if number == int(typed)]
        if len(found) == 1:
            return found[0]
        which = " or ".join(move.label for move in found) or "no move"
        typed = terminal.line(f"{typed!r} is {which}. Which move?")
    return None
