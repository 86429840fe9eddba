"""Settle a disagreement on a terminal: choose a text for each differing move, then decide."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from harness.errors import UsageError
from skills.curate.review.disagreement import Dispute, Row, outline
from skills.curate.review.reviewer import Desk
from skills.curate.review.screen import STAY, Act, Terminal, asked_move
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

HELP = """\
1, 2  choose the text of this reviewer for the move that is asked for
e     write another text for it
c     choose again for a move, by its number or the first letters of its name;
      also one that both reviewers have alike
a     accept the moves as chosen: the paper becomes a row of the gold table
r     reject the annotation; a reason can be given
s     skip: it is shown again at the end, and next time
u     undo your last decision, and show its paper again
q     quit, as Ctrl-C and Ctrl-D do: what you have chosen is kept
"""
DIFFERS = "bold underline yellow"
"""The style of differences: underlined, so that they are visible without colours."""
NARROW = 70
"""Width of a terminal below which the texts are placed below each other."""


@dataclass(slots=True)
class Settling:
    """The screen of a disagreement. Each chosen text is stored immediately.

    Attributes:
        following: returns the index of the next paper to show, from an index on.
    """

    desk: Desk
    terminal: Terminal
    dispute: Dispute
    following: Callable[[int], int | None]

    def show(self, at: int, head: str) -> None:
        """Show the paper and the choices that were made."""
        paper = self.desk.papers.items[at].paper
        self.terminal.show(drawn_dispute(paper, self.dispute, head))

    def go_on(self) -> None:
        """Show the texts of the next move to choose, or all chosen moves if no choice is left."""
        row = self.dispute.to_choose
        if row is not None:
            self.terminal.show(drawn_sides(row, self.dispute))
        elif self.dispute.choices:
            self.terminal.show(drawn_choices(self.dispute))

    @property
    def message(self) -> str:
        """The help text of the keys."""
        row = self.dispute.to_choose
        own = "a accept as chosen  c choose again" if row is None else self._sides(row)
        return f"{own}  r reject  s skip  u undo  q quit  ? help"

    def acts(self) -> dict[str, Act]:
        """Return the action of each key."""
        row = self.dispute.to_choose
        sides = {} if row is None else self._choosing(row)
        return {**sides, "a": self._accept, "c": self._again, "r": self._reject}

    def _sides(self, row: Row) -> str:
        return f"{row.move.label}: {'  '.join(names_of(self.dispute))}  e another text"

    def _choosing(self, row: Row) -> dict[str, Act]:
        texts = {
            f"{place}": functools.partial(self._choose, row, text)
            for place, text in enumerate(row.texts, start=1)
        }
        return {**texts, "e": functools.partial(self._write, row)}

    def _choose(self, row: Row, text: str, at: int) -> int:
        self.desk.draft(at, row.move.name, text)
        return at

    def _write(self, row: Row, at: int) -> int:
        """Read and store another text; store it as a draft while it is typed."""
        name, before = row.move.name, self.desk.drafts(at).get(row.move.name)
        text = row.texts[0] if row.chosen is None else row.chosen_text
        typed = self.terminal.line(
            f"{row.move.label}:", text, lambda typing: self.desk.draft(at, name, typing)
        )
        chosen = before if typed is None else self.desk.framework.canonical(typed)
        self.desk.draft(at, name, chosen)
        return at

    def _again(self, at: int) -> int | None:
        move = asked_move(self.terminal, "Choose again for which move?", self.desk.framework.moves)
        if move is None:
            return STAY
        row = next(row for row in self.dispute.rows if row.move == move)
        acts = self._choosing(row)
        self.terminal.show(drawn_sides(row, self.dispute))
        key = self.terminal.key(f"{self._sides(row)}  (Ctrl-C: as it is)", "".join(acts))
        return acts[key](at) if key in acts else STAY

    def _accept(self, at: int) -> int | None:
        try:
            self.desk.resolve(at, *self.dispute.settled(self.dispute.choices))
        except UsageError as exc:
            self.terminal.show(exc.message, "yellow")
            return STAY
        return self.following(at + 1)

    def _reject(self, at: int) -> int | None:
        reason = self.terminal.line("Why? (Enter: no reason, Ctrl-C: do not reject)")
        if reason is None:
            return STAY
        self.desk.resolve(at, None, reason=reason)
        return self.following(at + 1)


def drawn_dispute(paper: Paper, dispute: Dispute, head: str) -> RenderableType:
    """Return a paper with the decision of each reviewer, and the chosen moves.

    Args:
        head: the progress of the review.
    """
    title = Text.assemble((flatten(paper.id), "dim"), "  ", (paper.title, "bold"))
    verdicts = []
    for place, one in enumerate(dispute.decisions, start=1):
        reason = f": {one.reason}" if one.reason else ""
        verdicts.append(Text.assemble((f"{place} ", "bold"), flatten(f"{outline(one)}{reason}")))
    rule = Rule(head, align="left", style="dim")
    abstract = Text(flatten(paper.abstract))
    return Group(rule, title, "", abstract, "", *verdicts, "", drawn_choices(dispute), "")


def drawn_choices(dispute: Dispute) -> RenderableType:
    """Return the moves on which reviewers agree, and the chosen moves."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in dispute.rows:
        if row.chosen is not None and (row.differs or isinstance(row.chosen, str)):
            is_own = isinstance(row.chosen, str)
            by = "another text" if is_own else names_of(dispute)[int(row.chosen)]
            cell = Text.assemble(row.chosen_text or "(empty)", (f"  {by}", "green"))
        elif row.differs:
            cell = Text("differs", "yellow")
        else:
            cell = Text(row.texts[0] or "(empty)", "dim")
        style = "bold" if row.differs else "dim"
        table.add_row(Text(str(row.number), style), Text(row.move.label, style), cell)
    return table


def drawn_sides(row: Row, dispute: Dispute) -> RenderableType:
    """Return the texts of a move with the differences marked, in columns on a wide terminal.

    A text that differs from the texts of both reviewers follows them.
    """
    parts: list[RenderableType] = [Text(row.move.label, "bold"), _Sides(row, names_of(dispute))]
    if isinstance(row.chosen, str):
        parts.append(Text.assemble(("> another text\n", "green"), row.chosen or "(empty)"))
    return Group(*parts, "")


def names_of(dispute: Dispute) -> list[str]:
    """Return each key that chooses a text, with the name of the reviewer."""
    numbered = enumerate(dispute.decisions, start=1)
    return [f"{place} {flatten(one.reviewer) or '(no name)'}" for place, one in numbered]


class _Sides:
    def __init__(self, row: Row, names: list[str]) -> None:
        self._row, self._names = row, names

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        cells = [self._cell(place) for place in range(len(self._names))]
        if options.max_width < NARROW:
            yield Group(*cells)
            return
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        for _ in cells:
            grid.add_column(overflow="fold", ratio=1)
        grid.add_row(*cells)
        yield grid

    def _cell(self, place: int) -> Text:
        is_chosen = self._row.chosen == place
        name = f"{'> ' * is_chosen}{self._names[place]}\n"
        cell = Text.assemble((name, "bold green" if is_chosen else "dim"))
        for kind, text in self._row.side(place):
            words = text.rstrip()
            cell.append(words, "" if kind == "same" else DIFFERS).append(text[len(words) :])
        return cell if self._row.texts[place] else cell.append("(empty)", "dim")
