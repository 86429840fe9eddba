"""The papers of a job: those of a table, or those found on a topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import InputError
from skills.annotate.papers import FEWEST_WORDS
from skills.corpus.tables.reader import Columns, Table, TableRow, open_table
from skills.nanda.paper import Paper


@dataclass(frozen=True, slots=True)
class Source:
    """Papers to annotate.

    Attributes:
        name: the path or the topic.
        id_column: the name of the id column in a table of these papers.
        rows: the number of rows, including those that were left out.
        filtered: the number of rows that were left out, by reason.
        path: the file that the papers were read from, if any.
    """

    name: str
    papers: Sequence[Paper]
    id_column: str
    rows: int
    filtered: Mapping[str, int] = field(default_factory=dict)
    path: Path | None = None

    @property
    def title(self) -> str:
        """The heading of a page about these papers."""
        return self.path.name if self.path else self.name


def from_table(path: Path, columns: Columns, limit: int | None) -> Source:
    """Read a table; rows without an abstract, and rows that repeat an earlier one, are left out.

    Raises:
        InputError: the table cannot be read, or no paper is left.
    """
    table = open_table(path, columns, limit=limit)
    return from_rows(table, table.rows())


def from_rows(table: Table, table_rows: Iterable[TableRow]) -> Source:
    """Return the papers of a table's rows, as `from_table` does."""
    filtered: Counter[str] = Counter()
    papers: list[Paper] = []
    for row in table_rows:
        if reason := _reason_to_leave_out(row.paper, repeat=row.repeat):
            filtered[reason] += 1
        else:
            papers.append(row.paper)
    rows = len(papers) + filtered.total()
    if not papers:
        raise InputError(
            "no row has an abstract" if rows else "has no rows below its header",
            where=str(table.path),
        )
    return Source(str(table.path), papers, table.id_column or "id", rows, filtered, table.path)


def from_papers(topic: str, papers: Sequence[Paper]) -> Source:
    """Return papers that were found on a topic."""
    return Source(topic, papers, papers[0].id_field, len(papers))


def _reason_to_leave_out(paper: Paper, *, repeat: bool) -> str:
    if not paper.abstract:
        return "no abstract"
    if len(paper.abstract.split()) < FEWEST_WORDS:
        return f"fewer than {FEWEST_WORDS} words"
    return "repeats an earlier row" if repeat else ""
