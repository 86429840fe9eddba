"""How a paper looks in a review, and the keys that are read: rich draws, prompt_toolkit listens.

Everything goes to stderr, since stdout has the result alone.
"""

from __future__ import annotations

import contextlib
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO, cast

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.output.plain_text import PlainTextOutput
from prompt_toolkit.utils import is_dumb_terminal
from pydantic import ValidationError
from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from harness.errors import UsageError
from harness.terminal.console import Screen
from skills.curate.review.input import Candidate
from skills.nanda.checks import check
from skills.nanda.framework import Framework
from skills.nanda.sentences import split_sentences
from skills.nanda.text import flatten

LOW_SUPPORT = 0.6
"""Share of a move's words in the abstract below which it is pointed out. Of the 3,581 moves of
gold_train.csv and gold_dev.csv, 12 are below it."""
WEAK_SOURCE = 0.25
"""Likeness of a move to its nearest sentence below which the sentence is marked with "?". Of the
same moves, one in a hundred is below it."""
_COLOURS = ("cyan", "green", "magenta", "yellow", "bright_blue", "red", "bright_cyan", "bright_red")
_NO_TERMINAL = "Run it where both stdin and stderr are one."


class Terminal:
    """One person at a terminal. `opened` makes it."""

    def __init__(self, screen: Screen) -> None:
        self._console = Console(file=screen.err, highlight=False, emoji=False, markup=False)

    def show(self, what: RenderableType, style: str = "") -> None:
        """Draw a paper, or say a line."""
        self._console.print(what, style=style)

    def key(self, message: str, keys: str) -> str:
        """Wait for one of `keys`, in either case. Ctrl-C and Ctrl-D are "q"."""
        bindings = KeyBindings()
        for key in keys:
            for written in {key, key.upper()}:
                bindings.add(written)(lambda event, key=key: event.app.exit(result=key))
        # A pasted text, and any other key, would be typed into the prompt.
        for other in (Keys.Any, Keys.BracketedPaste):
            bindings.add(other)(_ignore)
        session: PromptSession[str] = PromptSession(key_bindings=bindings, erase_when_done=True)
        pressed = ""
        while pressed not in tuple(keys):  # Enter is ""
            try:
                pressed = session.prompt(f"{message} ")
            except (KeyboardInterrupt, EOFError):
                return "q"
        return pressed

    def line(self, message: str, text: str = "") -> str | None:
        """Let a line be typed, or `text` be changed, until Enter. Ctrl-C and Ctrl-D give None."""
        dumb = is_dumb_terminal()  # what is there to be changed cannot be shown in such a one
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
    """The terminal of this process.

    Args:
        keys, terminal: prompt_toolkit's, for tests; else stdin and stderr.

    Raises:
        UsageError: there is none.
    """
    if keys is None:
        if sys.stdin is None or not sys.stdin.isatty() or not screen.err.isatty():
            raise UsageError("a review needs a terminal", hint=_NO_TERMINAL)
        # Named here, since stdout is not the terminal's while a skill runs.
        keys = create_input(sys.stdin)
        stream = cast("TextIO", screen.err)
        terminal = PlainTextOutput(stream) if is_dumb_terminal() else create_output(stream)
    with create_app_session(keys, terminal):
        yield Terminal(screen)


def _ignore(event: KeyPressEvent) -> None:
    pass


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of a paper.

    Attributes:
        head: how far the review is.
        moves: with the edits made so far.
        faults: of the moves that cannot be accepted, why.
    """

    candidate: Candidate
    framework: Framework
    head: str
    moves: Mapping[str, str]
    faults: Mapping[str, str]

    def drawn(self) -> RenderableType:
        """The paper for a screen of any width, with or without colours."""
        paper = self.candidate.paper
        given = {name: text for name, text in self.moves.items() if text}
        stated = {name: t for name, t in given.items() if t != self.framework.not_stated}
        checks = check(paper.abstract, stated)
        title = Text.assemble((flatten(paper.id), "dim"), "  ", (paper.title, "bold"))
        return Group(
            Rule(self.head, align="left", style="dim"),
            title,
            "",
            self._abstract(checks),
            "",
            self._moves(checks),
            "",
        )

    def _abstract(self, checks: Mapping[str, Any]) -> Text:
        """The abstract, with the moves that come from a sentence in brackets behind it."""
        sources = defaultdict(list)
        for number, move in enumerate(self.framework.moves):
            if source := checks["source"].get(move.name):
                sources[source["index"]].append((number, move.label, source["score"]))
        text = Text()
        for index, sentence in enumerate(split_sentences(self.candidate.paper.abstract)):
            found = sources[index]
            text.append(flatten(sentence), _colour(found[0][0]) if found else "")
            for number, label, score in found:
                mark = "?" if score < WEAK_SOURCE else ""
                text.append(" ")
                # Without a blank, so that it stays on one line.
                text.append(f"[{number + 1}:{label.replace(' ', '-')}{mark}]", _mark(number))
            text.append(" ")
        return text

    def _moves(self, checks: Mapping[str, Any]) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for number, move in enumerate(self.framework.moves):
            text = self.moves[move.name]
            not_stated = text == self.framework.not_stated
            cell = Text(text, "dim" if not_stated else "")
            before = self.candidate.moves[move.name]
            if text != before:
                cell.append(f"\nwas: {before or '(empty)'}", "dim")
            for finding in self._findings(move.name, checks):
                cell.append("\n! " if cell else "! ", "bold yellow")
                cell.append(finding, "yellow")
            style = "dim" if not_stated else _mark(number)
            table.add_row(Text(str(number + 1), style), Text(move.label, style), cell)
        return table

    def _findings(self, name: str, checks: Mapping[str, Any]) -> Iterator[str]:
        """What the checks have found in a move, in words."""
        if name in self.faults:
            yield self.faults[name]
        for what in ("numbers", "names"):
            if found := checks[f"unsupported_{what}"].get(name):
                yield f"{what} that the abstract lacks: {', '.join(found)}"
        if (share := checks["support"].get(name, 1.0)) < LOW_SUPPORT:
            yield f"few of its words are in the abstract ({share:.0%})"
        labels = {move.name: move.label for move in self.framework.moves}
        for one, other, _ in checks["duplicate_moves"]:
            if name in (one, other):
                yield f"says the same as {labels[other if name == one else one]}"


def faults(framework: Framework, moves: Mapping[str, str]) -> dict[str, str]:
    """Why moves cannot be gold, by their names: what the framework's annotation model refuses."""
    try:
        framework.annotation_model().model_validate(moves)
    except ValidationError as exc:
        names = (str(error["loc"][0]) for error in exc.errors())
        return {name: _fault(framework, moves[name]) for name in names}
    return {}


def _fault(framework: Framework, text: str) -> str:
    if not text:
        return f"empty; what the abstract does not say is {framework.not_stated!r}"
    return f"{len(text)} characters, and {framework.max_chars} at most"


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _mark(number: int) -> str:
    return f"bold {_colour(number)}"
