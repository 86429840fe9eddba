"""The screen of a review: rich draws the paper, prompt_toolkit reads the keys.

Everything is written to stderr, since stdout is reserved for the result.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO, cast

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
from skills.curate.inputs.items import Item
from skills.nanda.anchors.lexical import Anchor
from skills.nanda.anchors.marking import marked
from skills.nanda.anchors.stored import read_anchors
from skills.nanda.checks import check, findings
from skills.nanda.framework import Framework
from skills.nanda.text import flatten

WEAK_SOURCE = 0.25
"""Similarity of a move to its nearest sentence below which the sentence is marked with "?". Of the
3,581 moves of gold_train.csv and gold_dev.csv, 1% are below it."""
_COLOURS = ("cyan", "green", "magenta", "yellow", "bright_blue", "red", "bright_cyan", "bright_red")
_NO_TERMINAL = "Run it where both stdin and stderr are a terminal."


class Terminal:
    """The user's terminal, created by `opened`."""

    def __init__(self, screen: Screen) -> None:
        self._console = Console(file=screen.err, highlight=False, emoji=False, markup=False)

    def show(self, what: RenderableType, style: str = "") -> None:
        """Print a paper or a line."""
        self._console.print(what, style=style)

    def key(self, message: str, keys: str) -> str:
        """Wait for one of `keys`, in upper or lower case. Ctrl-C and Ctrl-D return "q"."""
        bindings = KeyBindings()
        for key in keys:
            for written in {key, key.upper()}:
                bindings.add(written)(lambda event, key=key: event.app.exit(result=key))
        # A pasted text, and any other key, would be typed into the prompt.
        for other in (Keys.Any, Keys.BracketedPaste):
            bindings.add(other)(lambda event: None)
        session: PromptSession[str] = PromptSession(key_bindings=bindings, erase_when_done=True)
        pressed = ""
        while pressed not in tuple(keys):  # Enter is ""
            try:
                pressed = session.prompt(f"{message} ")
            except (KeyboardInterrupt, EOFError):
                return "q"
        return pressed

    def line(self, message: str, text: str = "") -> str | None:
        """Read a line, or edit `text`, until Enter. Ctrl-C and Ctrl-D return None."""
        dumb = is_dumb_terminal()  # it cannot show a text to be edited
        session: PromptSession[str] = PromptSession()
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
        keys, terminal: of prompt_toolkit, for tests; by default stdin and stderr.

    Raises:
        UsageError: stdin or stderr is not a terminal.
    """
    if keys is None:
        if sys.stdin is None or not sys.stdin.isatty() or not screen.err.isatty():
            raise UsageError("a review needs a terminal", hint=_NO_TERMINAL)
        # Given explicitly, since stdout is redirected while a skill runs.
        keys = create_input(sys.stdin)
        stream = cast("TextIO", screen.err)
        terminal = PlainTextOutput(stream) if is_dumb_terminal() else create_output(stream)
    with create_app_session(keys, terminal):
        yield Terminal(screen)


@dataclass(frozen=True, slots=True)
class View:
    """The view of a paper.

    Attributes:
        head: the progress of the review.
        moves: with the edits made so far.
    """

    item: Item
    framework: Framework
    head: str
    moves: Mapping[str, str]

    def drawn(self) -> RenderableType:
        """Return the paper for a screen of any width, with or without colours."""
        paper = self.item.paper
        given = {name: text for name, text in self.moves.items() if text}
        stated = {name: t for name, t in given.items() if t != self.framework.not_stated}
        entry = self.item.entry
        anchors = read_anchors(
            paper.abstract, stated, self._unchanged(entry.anchors if entry else None)
        )
        checks = check(paper.abstract, stated, anchors)
        confidence = self._unchanged(entry.confidence if entry else None)
        title = Text.assemble((flatten(paper.id), "dim"), "  ", (paper.title, "bold"))
        return Group(
            Rule(self.head, align="left", style="dim"),
            title,
            "",
            self._abstract(checks, anchors),
            "",
            self._moves({"checks": checks, "confidence": confidence}),
            "",
        )

    def _unchanged(self, stored: Any) -> dict[str, Any]:
        """Return what is stored by move, for the moves that are as they were annotated."""
        given = stored if isinstance(stored, Mapping) else {}
        return {
            name: one
            for name, one in given.items()
            if self.moves.get(name) == self.item.moves.get(name)
        }

    def _abstract(self, checks: Mapping[str, Any], anchors: Mapping[str, Anchor]) -> Text:
        """Return the abstract, with moves in brackets after the sentence or passage of each."""
        numbers = {move.name: number for number, move in enumerate(self.framework.moves)}
        labels, text = self.framework.labels, Text()

        def name(moves: Iterable[str]) -> None:
            for one in moves:
                mark = "?" if checks["source"][one]["score"] < WEAK_SOURCE else ""
                text.append(" ")
                # Without a blank, so that it is not wrapped.
                label = f"[{numbers[one] + 1}:{labels[one].replace(' ', '-')}{mark}]"
                text.append(label, _mark(numbers[one]))

        for sentence in marked(self.item.paper.abstract, anchors):
            for piece in sentence.segments:
                moves = piece.moves or sentence.moves
                text.append(piece.text, _colour(numbers[moves[0]]) if moves else "")
                name(piece.moves)
            name(sentence.moves)
            text.append(" ")
        return text

    def _moves(self, record: Mapping[str, Any]) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for number, move in enumerate(self.framework.moves):
            text = self.moves[move.name]
            not_stated = text == self.framework.not_stated
            cell = Text(text, "dim" if not_stated else "")
            before = self.item.moves[move.name]
            if text != before:
                cell.append(f"\nwas: {before or '(empty)'}", "dim")
            for finding in self._findings(move.name, record):
                cell.append("\n! " if cell else "! ", "bold yellow")
                cell.append(finding, "yellow")
            style = "dim" if not_stated else _mark(number)
            table.add_row(Text(str(number + 1), style), Text(move.label, style), cell)
        return table

    def _findings(self, name: str, record: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is doubtful about a move."""
        if fault := faults(self.framework, self.moves).get(name):
            yield fault
        yield from findings(name, record, self.framework.labels)


def faults(framework: Framework, moves: Mapping[str, str]) -> dict[str, str]:
    """Return why moves are not valid in the framework's annotations, by their names."""
    found = {}
    for name, text in moves.items():
        if not text:
            found[name] = f"empty; use {framework.not_stated!r} if the abstract does not state it"
        elif len(text) > framework.max_chars:
            found[name] = f"{len(text)} characters, more than {framework.max_chars}"
    return found


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _mark(number: int) -> str:
    return f"bold {_colour(number)}"
