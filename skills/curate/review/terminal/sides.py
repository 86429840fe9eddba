"""A disagreement on a terminal: the paper, and the texts of its reviewers side by side."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from skills.curate.review.dispute import Dispute, Row, outline
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

DIFFERS = "bold underline yellow"
"""Underlined, so that the differences are visible without colours."""
NARROW = 70
"""Columns of a terminal below which the texts are one below the other."""


def drawn_dispute(paper: Paper, dispute: Dispute, head: str) -> RenderableType:
    """Return a paper, what each reviewer decided, and the moves as far as they are chosen.

    Args:
        head: the progress.
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
    """Return the moves that reviewers have alike, and those that are chosen."""
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
    """Return the texts of a move, what differs marked; in columns if the terminal is wide enough.

    A text of one's own follows them.
    """
    parts: list[RenderableType] = [Text(row.move.label, "bold"), _Sides(row, names_of(dispute))]
    if isinstance(row.chosen, str):
        parts.append(Text.assemble(("> another text\n", "green"), row.chosen or "(empty)"))
    return Group(*parts, "")


def names_of(dispute: Dispute) -> list[str]:
    """Return the keys that choose a text, with the reviewer of each."""
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
