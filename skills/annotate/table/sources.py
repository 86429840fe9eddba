"""What a job annotates: the papers of a table, or those found on a topic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import InputError
from skills.annotate.papers import FEWEST_WORDS
from skills.corpus.tables.reader import Columns, Table, open_table
from skills.nanda.paper import Paper


@dataclass(frozen=True, slots=True)
class Source:
    """Papers to annotate.

    Attributes:
        name: what was given: a path, or a topic.
        papers: goes through them, in order; called several times, so that none are kept in memory.
        id_column: what their id is called in a table.
        rows: how many there are, with those that were left out.
        filtered: how many were left out, by reason.
        path: the file they come from, if they come from one.
    """

    name: str
    papers: Callable[[], Iterator[Paper]]
    id_column: str
    rows: int
    filtered: Mapping[str, int] = field(default_factory=dict)
    path: Path | None = None

    @property
    def title(self) -> str:
        """What a page about them is headed with."""
        return self.path.name if self.path else self.name


def from_table(path: Path, columns: Columns, limit: int | None) -> Source:
    """The papers of a table, every row of which has been read and found sound.

    Rows without an abstract, and rows that repeat an earlier one, are left out.

    Raises:
        InputError: the table cannot be used, or no paper is left.
    """
    table = open_table(path, columns, limit=limit)
    reasons = dict.fromkeys(_REASONS, 0)
    rows, id_field = 0, ""
    for row in table.rows():
        rows += 1
        id_field = id_field or row.paper.id_field
        if why := _left_out(row.paper, repeat=row.repeat):
            reasons[why] += 1
    filtered = {why: count for why, count in reasons.items() if count}
    if rows == sum(filtered.values()):
        raise InputError(
            "has no rows below its header" if not rows else "no row of it has an abstract",
            where=str(path),
        )
    # What is added to the file from now on is left to the next time.
    table = open_table(path, columns, limit=rows)
    return Source(
        str(path),
        lambda: _papers(table),
        table.id_column or id_field,
        rows,
        filtered,
        path,
    )


def from_papers(topic: str, papers: list[Paper]) -> Source:
    """Papers that were found on a topic."""
    return Source(topic, lambda: iter(papers), papers[0].id_field, len(papers))


_REASONS = ("no abstract", f"fewer than {FEWEST_WORDS} words", "repeats an earlier row")


def _left_out(paper: Paper, *, repeat: bool) -> str:
    """Why a row is left out, or ""."""
    if not paper.abstract:
        return _REASONS[0]
    if len(paper.abstract.split()) < FEWEST_WORDS:
        return _REASONS[1]
    return _REASONS[2] if repeat else ""


def _papers(table: Table) -> Iterator[Paper]:
    for row in table.rows():
        if not _left_out(row.paper, repeat=row.repeat):
            yield row.paper
